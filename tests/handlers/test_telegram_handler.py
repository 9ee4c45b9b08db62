"""Rollouts in a chat, over the real engine: the live message, alarms, and a chat that is away."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from agent.api.names import TELEGRAM_MESSAGE
from agent.errors import Refused, Unavailable
from agent.events.catalogue import RolloutEvent
from agent.events.decode import from_http
from agent.events.event import Event
from agent.events.registry import read_data
from handlers.telegram import Client, TelegramHandler
from handlers.telegram import handler as module
from tests.engine.shop import new_set, shop
from tests.simulation.manifests import KEY
from tests.simulation.scenario import alert, is_rolled_back, set_image
from tests.simulation.virtual import run
from tests.simulation.world import World


class Chat:
    """A Bot API with one chat: what stands in it, and troubles that come first."""

    def __init__(self) -> None:
        self.texts: dict[int, str] = {}
        self.calls: list[str] = []
        self.troubles: list[tuple[int, dict[str, Any]]] = []
        self.is_away = False

    async def post(self, url: str, body: bytes) -> tuple[int, bytes]:
        method, asked = url.rpartition("/")[2], msgspec.json.decode(body)
        if self.is_away:
            raise Unavailable("no answer")
        if self.troubles:
            status, answer = self.troubles.pop(0)
            return status, msgspec.json.encode({"ok": False, **answer})
        self.calls.append(method)
        id_ = asked.get("message_id") or self.calls.count("sendMessage")
        if method == "editMessageText" and id_ not in self.texts:
            gone = {"ok": False, "description": "Bad Request: message to edit not found"}
            return 400, msgspec.json.encode(gone)
        self.texts[id_] = asked["text"]
        return 200, msgspec.json.encode({"ok": True, "result": {"message_id": id_}})

    def alarms(self) -> list[str]:
        return [text for text in self.texts.values() if "Rollback" in text]

    def live(self) -> list[str]:
        return [text for text in self.texts.values() if "Rollback" not in text]


class Counts:
    """What the handler counts."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []

    def __call__(self, kind: str, outcome: str) -> None:
        self.seen.append((kind, outcome))


@asynccontextmanager
async def telling(
    world: World, chat: Chat, counts: Counts | None = None
) -> AsyncIterator[TelegramHandler]:
    """A handler that runs."""
    client = Client(chat.post, token="1:s", chat_id="-1", base_url="http://127.0.0.1:1")
    handler = TelegramHandler(world.engine, client, world.clock, counted=counts or Counts())
    task = asyncio.create_task(handler.run())
    try:
        yield handler
        assert not task.done(), task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def announced(world: World, transition: str) -> Sequence[Event]:
    """What the engine announced, as an event."""
    found = [event for event in world.bus.events() if f".{transition}." in event["type"]]
    headers = [("content-type", "application/cloudevents+json")]
    return [from_http(headers, msgspec.json.encode(event))[0] for event in found]


async def _aborted(world: World) -> Event:
    await world.engine.abort(KEY, alert("Down"))
    await world.until(
        lambda: is_rolled_back(world) and bool(announced(world, "aborted")),
        within=10,
        what="the announcement",
    )
    return announced(world, "aborted")[0]


def another(event: Event, id_: str = "another") -> Event:
    """The same news as an event of its own."""
    return msgspec.structs.replace(event, id=id_)


def test_one_message_follows_a_run_and_an_alarm_tells_its_end() -> None:
    async def main() -> None:
        chat = Chat()
        async with shop() as world, telling(world, chat) as handler:
            await world.until(lambda: len(chat.texts) == 1, within=5, what="the live message")
            assert "20 %" in chat.texts[1]
            await world.until(
                lambda: new_set(world)["metadata"]["annotations"].get(TELEGRAM_MESSAGE) == "1",
                within=5,
                what="the message's id on the ReplicaSet",
            )
            handler.take(await _aborted(world))
            await world.until(
                lambda: "RolloutAborted" in chat.texts[1] and bool(chat.alarms()),
                within=10,
                what="alarm and edit",
            )
            assert "alert Down (critical): 5xx above 5 %" in chat.alarms()[0]
            assert len(chat.live()) == 1

    run(main())


def test_a_version_that_follows_at_once_does_not_leave_the_message_before_as_it_was() -> None:
    """The chat takes a message a second, and the alarm goes first."""

    async def main() -> None:
        chat = Chat()
        async with shop() as world, telling(world, chat) as handler:
            await world.until(lambda: len(chat.texts) == 1, within=5, what="the live message")
            aborted = await _aborted(world)
            handler.take(aborted)
            await set_image(world, "web:3")
            await world.until(
                lambda: world.status()["currentPodHash"] != aborted_hash(aborted),
                within=5,
                what="the next version",
            )
            handler.take(another(announced(world, "started")[-1]))
            await world.until(lambda: len(chat.live()) == 2, within=10, what="the next message")
            assert "RolloutAborted" in chat.texts[1]
            assert "web:3" in chat.live()[1]

    run(main())


def aborted_hash(event: Event) -> str:
    data = read_data(RolloutEvent, event)
    assert data.new is not None
    return data.new.hash


def test_an_abort_that_nobody_carries_out_rings_by_itself() -> None:
    async def main() -> None:
        chat = Chat()
        async with shop() as world, telling(world, chat) as handler:
            aborted = await _aborted(world)
            unheeded = msgspec.structs.replace(
                aborted, id="u", type="dev.serinus.rollout.unheeded.v1"
            )
            for event in (aborted, unheeded, unheeded):
                handler.take(event)
            await world.until(
                lambda: any("Not taken off: shop/web" in text for text in chat.texts.values()),
                within=10,
                what="the alarm",
            )
            await world.clock.sleep(10)
            assert len(chat.alarms()) == 1
            assert sum("Not taken off" in text for text in chat.texts.values()) == 1

    run(main())


@pytest.mark.parametrize("has_message", [True, False])
def test_what_was_aborted_before_a_restart_is_shown_if_it_has_a_message(has_message: bool) -> None:
    async def main() -> None:
        chat = Chat()
        async with shop() as world:
            if has_message:
                async with telling(world, chat):
                    await world.until(
                        lambda: bool(new_set(world)["metadata"]["annotations"].get(TELEGRAM_MESSAGE)),
                        within=5,
                        what="the message's id on the ReplicaSet",
                    )  # fmt: skip
            await _aborted(world)
            async with telling(world, chat):
                await world.clock.sleep(10)
            assert len(chat.texts) == has_message
            if has_message:
                assert "RolloutAborted" in chat.texts[1]

    run(main())


def test_after_a_restart_the_message_is_edited_not_sent_again() -> None:
    async def main() -> None:
        chat = Chat()
        async with shop() as world:
            async with telling(world, chat):
                await world.until(
                    lambda: TELEGRAM_MESSAGE in new_set(world)["metadata"]["annotations"],
                    within=5,
                    what="the message's id on the ReplicaSet",
                )
            async with telling(world, chat):
                await world.until(lambda: len(chat.calls) == 2, within=5, what="the second call")
            assert chat.calls == ["sendMessage", "editMessageText"]

    run(main())


def test_a_message_that_is_gone_is_replaced() -> None:
    async def main() -> None:
        chat = Chat()
        async with shop() as world, telling(world, chat) as handler:
            await world.until(lambda: len(chat.texts) == 1, within=5, what="the live message")
            chat.texts.clear()
            handler.take(await _aborted(world))
            await world.until(lambda: bool(chat.live()), within=10, what="another live message")
            assert "RolloutAborted" in chat.live()[0]
            assert chat.calls[-2:] == ["editMessageText", "sendMessage"]

    run(main())


def test_alarms_wait_for_a_chat_that_is_away_and_come_first() -> None:
    async def main() -> None:
        chat, counts = Chat(), Counts()
        chat.is_away = True
        async with shop() as world, telling(world, chat, counts) as handler:
            handler.take(await _aborted(world))
            await world.clock.sleep(60)
            assert ("alarm", "later") in counts.seen
            assert await handler.drain(1) == 1
            chat.is_away = False
            assert await handler.drain(60) == 0
            assert "Rollback" in chat.texts[1]
            await world.until(lambda: len(chat.live()) == 1, within=10, what="the live message")
            assert len(chat.alarms()) == 1

    run(main())


def test_telegram_s_own_delay_is_kept() -> None:
    async def main() -> None:
        chat = Chat()
        async with shop() as world:
            event = await _aborted(world)
            chat.troubles = [(429, {"parameters": {"retry_after": 40}})]
            async with telling(world, chat) as handler:
                handler.take(event)
                began = world.clock.monotonic()
                assert await handler.drain(120) == 0
                assert world.clock.monotonic() - began >= 40

    run(main())


def test_an_alarm_that_is_refused_does_not_hold_up_the_next() -> None:
    async def main() -> None:
        chat, counts = Chat(), Counts()
        async with shop() as world:
            event = await _aborted(world)
            chat.troubles = [(403, {"description": "Forbidden: bot was kicked"})]
            async with telling(world, chat, counts) as handler:
                handler.take(event)
                handler.take(another(event))
                assert await handler.drain(60) == 0
                assert len(chat.alarms()) == 1
                assert ("alarm", "refused") in counts.seen

    run(main())


def test_alarms_that_wait_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ALARMS", 3)

    async def main() -> None:
        chat, counts = Chat(), Counts()
        chat.is_away = True
        async with shop() as world, telling(world, chat, counts) as handler:
            event = await _aborted(world)
            for number in range(5):
                handler.take(another(event, str(number)))
            assert counts.seen.count(("alarm", "dropped")) == 2
            chat.is_away = False
            assert await handler.drain(120) == 0
            assert len(chat.alarms()) == 3

    run(main())


def test_a_bug_about_one_message_stops_neither_the_chat_nor_the_agent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: Any) -> str:
        raise KeyError("x")

    async def main() -> None:
        chat, counts = Chat(), Counts()
        async with shop() as world, telling(world, chat, counts) as handler:
            event = await _aborted(world)
            with monkeypatch.context() as patched:
                patched.setattr(module, "alarm", broken)
                patched.setattr(module, "live", broken)
                handler.take(event)
                await world.clock.sleep(10)
            assert {("alarm", "failed"), ("live", "failed")} <= set(counts.seen)
            handler.take(another(event))
            assert await handler.drain(10) == 0
            assert len(chat.alarms()) == 1

    run(main())


def test_an_event_that_comes_again_rings_no_second_alarm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KNOWN_ALARMS", 2)

    async def main() -> None:
        chat = Chat()
        async with shop() as world, telling(world, chat) as handler:
            event = await _aborted(world)
            for again in (event, event, another(event), event):
                handler.take(again)
            assert await handler.drain(60) == 0
            assert len(chat.alarms()) == 2
            handler.take(another(event, "3"))  # what is remembered is bounded
            handler.take(event)
            assert await handler.drain(60) == 0
            assert len(chat.alarms()) == 4

    run(main())


def test_one_burst_of_news_is_one_edit() -> None:
    async def main() -> None:
        chat = Chat()
        async with shop() as world, telling(world, chat) as handler:
            await world.until(lambda: len(chat.texts) == 1, within=5, what="the live message")
            await world.clock.sleep(10)
            before = len(chat.calls)
            event = await _aborted(world)
            for _ in range(20):
                handler.look_again(KEY)
            handler.take(msgspec.structs.replace(event, type="dev.serinus.rollout.step.v1"))
            await world.clock.sleep(30)
            assert chat.calls[before:] == ["editMessageText"]

    run(main())


def test_what_is_no_event_of_ours_is_refused() -> None:
    async def main() -> None:
        async with shop() as world, telling(world, Chat()) as handler:
            event = msgspec.structs.replace(await _aborted(world), data=b'{"name": 7}')
            with pytest.raises(Refused, match="name"):
                handler.take(event)

    run(main())
