"""One contract for every bus."""

import asyncio
import contextlib
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise

import msgspec
import pytest

from agent.bus.inbox import Inbox
from agent.bus.memory import KEPT, PARTITIONS, MemoryBus
from agent.bus.port import Receive, Record
from agent.bus.topics import INBOX, URGENT, record_of
from agent.clock import SystemClock
from agent.errors import Conflict, Forbidden, Refused, Retry, Unavailable
from agent.events.event import Event
from agent.events.recorded import recorded
from tests.contract.bus_contract import (
    CONTRACT,
    Clause,
    Receiver,
    a_consumer_begins_with_what_was_published_before_it,
    a_record,
    a_record_arrives_as_it_was_published,
    a_record_comes_again_until_it_is_taken,
    consuming,
    records_of_a_key_arrive_in_order_one_at_a_time,
    what_a_consumer_ended_on_comes_to_the_next_one_and_nothing_else_does,
)

pytestmark = pytest.mark.looptime(start=0)


def an_event(id_: str, type_: str = "dev.test") -> Event:
    return Event(
        id=id_,
        source="/t",
        type=type_,
        time=datetime(2026, 1, 1, tzinfo=UTC),
        extensions={"partitionkey": "k"},
    )


@pytest.fixture
def bus() -> MemoryBus:
    return MemoryBus(SystemClock())


class MemoryStage:
    """The memory bus as the contract wants to see it."""

    partitions = PARTITIONS

    def __init__(self, bus: MemoryBus) -> None:
        self.bus = bus

    async def committed(self, topic: str) -> int:
        return sum(next_ for (name, _), next_ in self.bus.committed.items() if name == topic)


@pytest.mark.parametrize("clause", CONTRACT, ids=lambda clause: clause.__name__)
async def test_contract(clause: Clause, bus: MemoryBus) -> None:
    await clause(MemoryStage(bus))


class Forgetful(MemoryBus):
    """Broken: what could not be received is gone."""

    async def consume(self, topics: Sequence[str], receive: Receive) -> None:
        async def once(record: Record) -> None:
            with contextlib.suppress(Unavailable):
                await receive(record)

        await super().consume(topics, once)


class Hasty(MemoryBus):
    """Broken: records of one key are received side by side."""

    async def consume(self, topics: Sequence[str], receive: Receive) -> None:
        async with asyncio.TaskGroup() as group:

            async def begin(record: Record) -> None:
                group.create_task(self._ignoring(receive, record))

            await super().consume(topics, begin)

    async def _ignoring(self, receive: Receive, record: Record) -> None:
        with contextlib.suppress(Unavailable, AssertionError):
            await receive(record)


class Late(MemoryBus):
    """Broken: a consumer sees only what is published after it came."""

    async def publish(self, record: Record) -> None:
        if record.topic in self._consumed:
            await super().publish(record)


class Bare(MemoryBus):
    """Broken: headers are lost."""

    async def publish(self, record: Record) -> None:
        await super().publish(msgspec.structs.replace(record, headers=()))


@pytest.mark.parametrize(
    ("double", "clause"),
    [
        (Forgetful, a_record_comes_again_until_it_is_taken),
        (Forgetful, what_a_consumer_ended_on_comes_to_the_next_one_and_nothing_else_does),
        (Hasty, records_of_a_key_arrive_in_order_one_at_a_time),
        (Late, a_consumer_begins_with_what_was_published_before_it),
        (Bare, a_record_arrives_as_it_was_published),
    ],
)
async def test_the_contract_catches_a_broken_bus(double: type[MemoryBus], clause: Clause) -> None:
    with pytest.raises(AssertionError):
        await clause(MemoryStage(double(SystemClock())))


@pytest.mark.parametrize(
    ("after", "asked"),
    [(None, [0, 0.1, 0.3, 0.7, 1.5]), (2.0, [0, 2, 4, 6, 8])],
    ids=["backs off", "as long as the receiver asks"],
)
async def test_a_record_comes_again_until_it_is_taken(
    bus: MemoryBus, after: float | None, asked: list[float]
) -> None:
    receiver = Receiver(failures=4, after=after)
    bus.declare([INBOX])
    await bus.publish(a_record("a"))
    await bus.publish(a_record("b"))
    async with consuming(bus, receiver):
        await asyncio.sleep(asked[-1] - 0.01)
        assert bus.committed == {}
        await asyncio.sleep(1)
    assert receiver.asked[:5] == pytest.approx(asked)
    assert receiver.taken == [b"a", b"b"]
    assert list(bus.committed.values()) == [2]


async def test_the_wait_between_two_tries_is_bounded_and_starts_over(bus: MemoryBus) -> None:
    receiver = Receiver(failures=12)
    bus.declare([INBOX])
    await bus.publish(a_record("a"))
    async with consuming(bus, receiver):
        await asyncio.sleep(100)
        pauses = [b - a for a, b in pairwise(receiver.asked)]
        assert max(pauses) == pytest.approx(5)
        receiver.failures = 1
        await bus.publish(a_record("b"))
        await asyncio.sleep(1)
    assert receiver.asked[-1] - receiver.asked[-2] == pytest.approx(0.1)


async def test_a_consumer_begins_with_what_was_published_before_it(bus: MemoryBus) -> None:
    for number in range(KEPT + 2):
        await bus.publish(a_record(number))
    receiver = Receiver()
    async with consuming(bus, receiver):
        await asyncio.sleep(1)
    assert receiver.taken == [str(number).encode() for number in range(2, KEPT + 2)]


async def test_a_full_topic_says_so_and_takes_again_when_it_has_room() -> None:
    bus = MemoryBus(SystemClock(), capacity=2)
    bus.declare([INBOX])
    for number in range(2):
        await bus.publish(a_record(number))
    with pytest.raises(Unavailable, match=r"serinus\.inbox is full"):
        await bus.publish(a_record(2))
    receiver = Receiver()
    async with consuming(bus, receiver):
        await asyncio.sleep(1)
        await bus.publish(a_record(3))
        await asyncio.sleep(1)
    assert receiver.taken == [b"0", b"1", b"3"]


async def test_a_topic_nobody_consumes_never_fills(bus: MemoryBus) -> None:
    for number in range(KEPT + 1):
        await bus.publish(a_record(number, topic="serinus.rollouts"))
    assert [record.offset for record in bus.kept["serinus.rollouts"]][:: KEPT - 1] == [1, KEPT]


async def test_what_cannot_be_used_is_a_dead_letter_with_its_bytes_and_the_reason(
    bus: MemoryBus,
) -> None:
    async def refuse(_event: Event) -> None:
        raise Refused("no such rollout", field="data.name")

    inbox = Inbox(bus, {"dev.test": refuse})
    broken = Record(
        topic=URGENT,
        key=b"k",
        value=b"<html>",
        headers=(("content-type", b"application/cloudevents+json"), ("x", None)),
        partition=1,
        offset=7,
    )
    await inbox.receive(broken)
    await inbox.receive(record_of(an_event("1")))
    first = bus.kept[f"{URGENT}.dlq"][0]
    assert (first.key, first.value, first.headers[:2]) == (broken.key, broken.value, broken.headers)
    told = dict(first.headers)
    assert (told["dlq-topic"], told["dlq-partition"], told["dlq-offset"]) == (
        URGENT.encode(),
        b"1",
        b"7",
    )
    assert b"not JSON" in (told["dlq-reason"] or b"")
    (second,) = bus.kept[f"{INBOX}.dlq"]
    assert b"no such rollout" in (dict(second.headers)["dlq-reason"] or b"")


async def test_what_does_not_state_when_it_came_in_did_so_when_it_was_published(
    bus: MemoryBus,
) -> None:
    seen: list[str] = []

    async def take(event: Event) -> None:
        seen.append(event.extensions["recordedtime"])

    inbox, published_at = Inbox(bus, {"dev.test": take}), datetime(2026, 1, 2, tzinfo=UTC)
    for event in (an_event("1"), recorded(an_event("2"), datetime(2026, 1, 1, tzinfo=UTC))):
        record = msgspec.structs.replace(record_of(event), published_at=published_at)
        # However often it is delivered.
        await inbox.receive(record)
        await inbox.receive(record)
    assert seen == ["2026-01-02T00:00:00.000Z"] * 2 + ["2026-01-01T00:00:00.000Z"] * 2


async def test_a_bug_of_ours_stops_nothing_behind_it(bus: MemoryBus) -> None:
    async def broken(event: Event) -> None:
        raise KeyError(event.id)

    await Inbox(bus, {"dev.test": broken}).receive(record_of(an_event("1")))
    (letter,) = bus.kept[f"{INBOX}.dlq"]
    assert dict(letter.headers)["dlq-reason"] == b"internal error: KeyError: '1'"


@pytest.mark.parametrize(
    "error", [Forbidden("no role"), Conflict("lost"), Retry("", after_seconds=3)]
)
async def test_what_a_person_or_time_can_mend_is_later(bus: MemoryBus, error: Exception) -> None:
    async def trouble(_event: Event) -> None:
        raise error

    with pytest.raises(Unavailable) as later:
        await Inbox(bus, {"dev.test": trouble}).receive(record_of(an_event("1")))
    assert later.value.retry_after_seconds == (3 if isinstance(error, Retry) else None)
    assert not bus.kept


async def test_an_unknown_type_is_done_and_counted(bus: MemoryBus) -> None:
    counted: list[tuple[str, str, str]] = []
    inbox = Inbox(bus, {}, counted=lambda *what: counted.append(what))
    await inbox.receive(record_of(an_event("1")))
    assert counted == [("unknown", "bus", "ignored")]
    assert not bus.kept


async def test_when_the_dead_letter_cannot_be_kept_nothing_is_done() -> None:
    bus = MemoryBus(SystemClock(), capacity=0)
    bus.declare([f"{INBOX}.dlq"])
    with pytest.raises(Unavailable):
        await Inbox(bus, {}).receive(Record(topic=INBOX, value=b"<"))
