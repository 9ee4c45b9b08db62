"""What came in through a door becomes durable, or is carried out, before the sender is answered."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import msgspec
import pytest

from agent.bus.codec import from_record
from agent.bus.port import Receive, Record
from agent.bus.topics import INBOX, URGENT
from agent.clock import LoopClock
from agent.errors import Refused, Unavailable
from agent.events.catalogue import ALERT_FIRING, ALERT_RESOLVED
from agent.events.event import Event
from agent.intake import Intake

pytestmark = pytest.mark.looptime(start=0)
ORDINARY = "dev.serinus.deployment.synced.v1"
NOW = datetime(2026, 1, 2, tzinfo=UTC)


class Topics:
    """A bus that keeps what is published, after a while, or says why not."""

    def __init__(self, *, durable: bool, trouble: Exception | None = None) -> None:
        self.durable = durable
        self.trouble = trouble
        self.published: list[tuple[str, bytes | None]] = []
        self.records: list[Record] = []

    async def publish(self, record: Record) -> None:
        await asyncio.sleep(1)
        if self.trouble is not None:
            raise self.trouble
        self.published.append((record.topic, record.key))
        self.records.append(record)

    async def consume(self, topics: Sequence[str], receive: Receive) -> None:
        raise AssertionError("nothing is consumed here")

    async def aclose(self) -> None: ...


class Handlers:
    """Carries events out after a second; some fail."""

    def __init__(self, trouble: dict[str, Exception] | None = None) -> None:
        self.trouble = trouble or {}
        self.done: list[tuple[float, str]] = []
        self.seen: list[Event] = []

    async def __call__(self, event: Event, door: str) -> None:
        await asyncio.sleep(1)
        self.seen.append(event)
        if event.id in self.trouble:
            raise self.trouble[event.id]
        self.done.append((asyncio.get_running_loop().time(), event.id))


def an_event(id_: str, key: str = "", type_: str = ALERT_FIRING) -> Event:
    return Event(
        id=id_,
        source="/t",
        type=type_,
        time=datetime(2026, 1, 1, tzinfo=UTC),
        extensions={"partitionkey": key or id_},
    )


def opened(bus: Topics, handlers: Handlers) -> Intake:
    intake = Intake(bus, handlers, LoopClock(NOW))
    intake.open = True
    return intake


async def test_events_of_a_key_are_carried_out_in_order_and_keys_side_by_side() -> None:
    handlers = Handlers()
    events = [an_event("1", "a"), an_event("2", "a"), an_event("3", "b"), an_event("4", "a")]
    await opened(Topics(durable=False), handlers).accept(events, "d")
    assert handlers.done == [(1, "1"), (1, "3"), (2, "2"), (3, "4")]


async def test_what_is_not_urgent_is_on_the_bus_and_left_to_its_consumer() -> None:
    bus, handlers = Topics(durable=True), Handlers()
    await opened(bus, handlers).accept([an_event("1", "a", ORDINARY)], "d")
    assert (bus.published, handlers.done) == ([(INBOX, b"a")], [])


async def test_what_is_urgent_is_published_and_carried_out_at_once() -> None:
    bus, handlers = Topics(durable=True), Handlers()
    await opened(bus, handlers).accept([an_event("1", "a")], "d")
    assert (bus.published, handlers.done) == ([(URGENT, b"a")], [(1, "1")])


@pytest.mark.parametrize(
    ("type_", "on_bus", "carried_out", "answer"),
    [
        (ALERT_FIRING, None, None, None),
        (ALERT_FIRING, Unavailable("no broker"), None, None),
        (ALERT_FIRING, None, Unavailable("no API server"), None),
        (ALERT_FIRING, Unavailable("no broker"), Unavailable("no API server"), Unavailable),
        (ALERT_FIRING, None, Refused("no rollout"), Refused),
        (ALERT_FIRING, Unavailable("no broker"), Refused("no rollout"), Refused),
        (ALERT_FIRING, None, KeyError("bug"), KeyError),
        (ALERT_FIRING, ValueError("bug"), None, ValueError),
        (ALERT_RESOLVED, None, None, None),
        (ALERT_RESOLVED, Unavailable("no broker"), None, Unavailable),
        (ALERT_RESOLVED, Refused("too large"), None, None),
        (ORDINARY, Unavailable("no broker"), None, Unavailable),
        (ORDINARY, Refused("too large"), None, Refused),
    ],
    ids=[
        "an alert",
        "an alert without brokers is done when it is on the object",
        "an alert without the API server is done when it is on the bus",
        "an alert without both comes again",
        "an alert that is refused is refused",
        "an alert that is refused without brokers is refused",
        "a bug of ours is none of the sender's",
        "a bug of the bus is none of the sender's",
        "the end of an alert",
        "the end of an alert is on the bus, behind its beginning",
        "the end of an alert that no bus takes is carried out",
        "other events need the bus",
        "other events that no bus takes are refused",
    ],
)
async def test_the_answer_to(
    type_: str,
    on_bus: Exception | None,
    carried_out: Exception | None,
    answer: type[Exception] | None,
) -> None:
    handlers = Handlers({"1": carried_out} if carried_out else None)
    intake = opened(Topics(durable=True, trouble=on_bus), handlers)
    if answer is None:
        await intake.accept([an_event("1", "a", type_)], "d")
    else:
        with pytest.raises(answer):
            await intake.accept([an_event("1", "a", type_)], "d")


async def test_one_that_is_refused_keeps_none_behind_it_out() -> None:
    handlers = Handlers({"1": Refused("no")})
    with pytest.raises(Refused):
        await opened(Topics(durable=False), handlers).accept(
            [an_event("1", "a"), an_event("2", "a")], "d"
        )
    assert [id_ for _, id_ in handlers.done] == ["2"]


async def test_one_that_is_later_keeps_those_behind_it_back() -> None:
    handlers = Handlers({"1": Unavailable("later")})
    with pytest.raises(Unavailable):
        await opened(Topics(durable=False), handlers).accept(
            [an_event("1", "a"), an_event("2", "a"), an_event("3", "b")], "d"
        )
    assert [id_ for _, id_ in handlers.done] == ["3"]


@pytest.mark.parametrize(
    "order", [lambda events: events, lambda events: events[::-1]], ids=["first", "last"]
)
async def test_later_wins_over_never(order: Callable[[list[Event]], list[Event]]) -> None:
    handlers = Handlers({"1": Refused("no"), "2": Unavailable("later")})
    with pytest.raises(Unavailable, match="later"):
        await opened(Topics(durable=False), handlers).accept(
            order([an_event("1", "a"), an_event("2", "b")]), "d"
        )


async def test_before_and_after_its_work_it_says_later() -> None:
    with pytest.raises(Unavailable, match="starting or stopping"):
        await Intake(Topics(durable=False), Handlers(), LoopClock(NOW)).accept([an_event("1")], "d")


async def test_everything_states_when_it_came_in() -> None:
    bus, handlers = Topics(durable=True), Handlers()
    stated = an_event("2")
    stated = msgspec.structs.replace(
        stated, extensions={**stated.extensions, "recordedtime": "2026-01-01T09:00:00.125Z"}
    )
    unreadable = msgspec.structs.replace(stated, id="3", extensions={"recordedtime": "just now"})
    await opened(bus, handlers).accept([an_event("1"), stated, unreadable], "d")
    assert {event.id: event.extensions["recordedtime"] for event in handlers.seen} == {
        "1": "2026-01-02T00:00:00.000Z",
        "2": "2026-01-01T09:00:00.125Z",
        "3": "2026-01-02T00:00:00.000Z",
    }
    on_bus = [from_record(record) for record in bus.records]
    assert sorted(on_bus, key=str) == sorted(handlers.seen, key=str), "and does so on the bus"
