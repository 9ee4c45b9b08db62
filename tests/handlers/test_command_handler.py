"""Commands over the real engine: who may give them, and what they do or why not."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from agent.clock import Clock
from agent.errors import Refused
from agent.events.catalogue import Command, command_type
from agent.events.event import Event
from handlers.command import CommandHandler
from tests.engine.shop import shop
from tests.simulation.scenario import is_promoted, is_rolled_back, set_image
from tests.simulation.virtual import run
from tests.simulation.world import World


def an_event(clock: Clock, command: Command, *, source: str = "/ci/deploy", **data: Any) -> Event:
    body = {"namespace": "shop", "name": "web", "actor": "ann", **data}
    return Event(
        id="c-1",
        source=source,
        type=command_type(command),
        time=clock.now(),
        datacontenttype="application/json",
        data=msgspec.json.encode(body),
    )


class Given:
    """A handler in a shop, and what it counted."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.counted: list[tuple[str, str]] = []
        self._handler = CommandHandler(
            world.engine,
            world.clock,
            allowed_sources=["/ci/*"],
            counted=lambda command, outcome: self.counted.append((command, outcome)),
        )

    async def command(self, command: Command, **data: Any) -> None:
        await self.take(an_event(self.world.clock, command, **data))

    async def take(self, event: Event) -> None:
        await self._handler.handle(event)
        self.world.checker.remember()


def in_shop(test: Callable[[Given], Awaitable[None]], *, at_weight: int | None = 20) -> None:
    async def main() -> None:
        async with shop(at_weight=at_weight) as world:
            await test(Given(world))

    run(main())


def test_a_doubled_promote_with_what_was_seen_promotes_once() -> None:
    async def test(given: Given) -> None:
        world = given.world
        (pause,) = world.status()["pauseConditions"]
        seen = {"stepIndex": 1, "pauseStartTime": pause["startTime"]}
        await given.command("promote", expect=seen)
        await world.until(lambda: world.weight() == 60, within=30, what="the next weight")
        await given.command("promote", expect=seen)
        await world.clock.sleep(30)
        assert world.weight() == 60
        assert given.counted == [("promote", "done"), ("promote", "refused")]

    in_shop(test)


def test_anybody_may_abort() -> None:
    async def test(given: Given) -> None:
        world = given.world
        await given.command("abort", source="/anywhere", reason="empty carts")
        await world.until(lambda: is_rolled_back(world), within=5, what="the rollback")
        await given.command("abort", source="/anywhere")
        await world.clock.sleep(3)
        (aborted,) = [event for event in world.bus.events() if ".aborted." in event["type"]]
        assert aborted["data"]["cause"]["summary"] == "abort by ann: empty carts"
        assert given.counted == [("abort", "done"), ("abort", "unchanged")]

    in_shop(test)


def test_an_abort_of_another_revision_aborts_nothing() -> None:
    """I4: it may come late, or again."""

    async def test(given: Given) -> None:
        world = given.world
        await given.command("abort", expect={"revision": "1"})
        await given.command("abort", expect={"stepIndex": 3})
        await world.clock.sleep(3)
        assert (world.status().get("abort"), world.weight()) == (None, 20)
        await given.command("abort", expect={"revision": "2", "stepIndex": 1})
        await world.until(lambda: is_rolled_back(world), within=5, what="the rollback")
        await given.command("abort", expect={"revision": "2"})
        outcomes = [outcome for _, outcome in given.counted]
        assert outcomes == ["refused", "refused", "done", "unchanged"]

    in_shop(test)


def test_an_abort_that_is_delivered_again_does_not_abort_the_next_version() -> None:
    """I4: who had carried it out died before it had committed it."""

    async def test(given: Given) -> None:
        world = given.world
        abort = an_event(world.clock, "abort")
        await given.take(abort)
        await world.until(lambda: is_rolled_back(world), within=5, what="the rollback")
        await world.clock.sleep(10)
        await set_image(world, "web:3")
        await world.until(
            lambda: world.weight() == 20, within=60, what="the next version's traffic"
        )
        await given.take(abort)
        await world.clock.sleep(3)
        assert (world.status().get("abort"), world.weight()) == (None, 20)
        # One that waited for its delivery, but not for longer than the version is there.
        late = an_event(world.clock, "abort")
        await world.clock.sleep(60)
        await given.take(late)
        await world.until(lambda: is_rolled_back(world), within=5, what="the rollback")
        assert [outcome for _, outcome in given.counted] == ["done", "refused", "done"]

    in_shop(test)


@pytest.mark.parametrize(
    "command", ["promote", "promote-full", "retry", "pause", "resume", "restart", "undo"]
)
def test_a_source_that_is_not_listed_may_do_nothing_else(command: Command) -> None:
    async def test(given: Given) -> None:
        before = given.world.rollout()
        with pytest.raises(Refused) as refused:
            await given.command(command, source="/elsewhere/ci/x")
        assert str(refused.value) == (
            "source: source '/elsewhere/ci/x' may only abort; add it to commands.allowed_sources"
        )
        assert given.world.rollout() == before
        assert given.counted == [(command, "forbidden")]

    in_shop(test)


def test_a_full_promote_ends_the_run() -> None:
    async def test(given: Given) -> None:
        await given.command("promote-full")
        await given.world.until(lambda: is_promoted(given.world), within=60, what="promotion")
        given.world.checker.violations.clear()  # a person's leave to go past the steps

    in_shop(test)


def test_retry_undo_pause_and_resume_do_what_argo_s_own_tools_do() -> None:
    async def test(given: Given) -> None:
        world = given.world
        await given.command("pause")
        assert world.rollout()["spec"]["paused"] is True
        await given.command("resume")
        assert not world.rollout()["spec"].get("paused")
        await given.command("abort")
        await world.until(lambda: is_rolled_back(world), within=5, what="the rollback")
        await given.command("retry")
        await world.until(lambda: world.weight() == 20, within=60, what="the first weight again")
        await given.command("undo", toRevision="1")
        image = world.rollout()["spec"]["template"]["spec"]["containers"][0]["image"]
        assert image == "web:1"
        await given.command("restart", restartAt="2026-05-01T11:00:00Z")
        assert world.rollout()["spec"]["restartAt"] == "2026-05-01T11:00:00Z"
        assert {outcome for _, outcome in given.counted} == {"done"}
        world.checker.violations.clear()  # the spec has changed by the user's own wish

    in_shop(test)


def test_a_command_that_cannot_be_done_now_is_counted_and_over() -> None:
    async def test(given: Given) -> None:
        await given.command("abort")
        await given.command("retry")
        await given.command("abort", name="nobody")
        assert [outcome for _, outcome in given.counted] == ["refused", "unchanged", "refused"]

    in_shop(test, at_weight=None)


@pytest.mark.parametrize(
    ("command", "data", "says"),
    [
        ("abort", {"namespace": ""}, "data.namespace: must name the rollout"),
        ("abort", {"name": ""}, "data.name: must name the rollout"),
        ("abort", {"name": 7}, "data.name: "),
        ("pause", {"skip": True}, "data.skip: is only for promote"),
        ("promote", {"toRevision": "1"}, "data.toRevision: is only for undo"),
        ("promote", {"restartAt": "2026-05-01T11:00:00Z"}, "data.restartAt: is only for restart"),
        ("restart", {"restartAt": "soon"}, "data.restartAt: 'soon' is not an RFC 3339 time"),
        ("promote", {"expect": {"stepIndex": "one"}}, "data.expect.stepIndex: "),
    ],
)
def test_a_request_that_makes_no_sense_names_its_field(
    command: Command, data: dict[str, Any], says: str
) -> None:
    async def test(given: Given) -> None:
        with pytest.raises(Refused) as refused:
            await given.command(command, **data)
        assert str(refused.value).startswith(says)

    in_shop(test, at_weight=None)
