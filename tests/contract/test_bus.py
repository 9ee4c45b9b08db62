"""One contract for every bus."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import pairwise

import pytest

from agent.bus.inbox import Inbox
from agent.bus.memory import KEPT, PARTITIONS, MemoryBus
from agent.bus.partition import partition_of
from agent.bus.port import Receive, Record
from agent.bus.topics import INBOX, URGENT, record_of
from agent.clock import SystemClock
from agent.errors import Conflict, Forbidden, Refused, Retry, Unavailable
from agent.events.event import Event

pytestmark = pytest.mark.looptime(start=0)


def an_event(id_: str, type_: str = "dev.test") -> Event:
    return Event(
        id=id_,
        source="/t",
        type=type_,
        time=datetime(2026, 1, 1, tzinfo=UTC),
        extensions={"partitionkey": "k"},
    )


class Receiver:
    """Takes records; fails as often as it is told to, and remembers when it was asked."""

    def __init__(self, failures: int = 0, *, after: float | None = None) -> None:
        self.failures = failures
        self.after = after
        self.taken: list[bytes] = []
        self.asked: list[float] = []

    async def __call__(self, record: Record) -> None:
        self.asked.append(asyncio.get_running_loop().time())
        if self.failures:
            self.failures -= 1
            raise Unavailable("later", retry_after_seconds=self.after)
        self.taken.append(record.value or b"")


@pytest.fixture
def bus() -> MemoryBus:
    return MemoryBus(SystemClock())


@asynccontextmanager
async def consuming(bus: MemoryBus, receive: Receive, *topics: str) -> AsyncIterator[None]:
    """A consumer for the time of the block; it is gone afterwards."""
    bus.declare(topics or (INBOX,))
    task = asyncio.create_task(bus.consume(topics or (INBOX,), receive))
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def a_record(value: int | str, key: bytes = b"k", topic: str = INBOX) -> Record:
    return Record(topic=topic, key=key, value=str(value).encode(), headers=(("h", None),))


def keys_of_different_partitions() -> tuple[bytes, bytes]:
    other = next(
        key
        for key in (str(n).encode() for n in range(100))
        if partition_of(key, PARTITIONS) != partition_of(b"k", PARTITIONS)
    )
    return b"k", other


async def test_records_of_a_key_arrive_in_order_one_at_a_time(bus: MemoryBus) -> None:
    taken: list[int] = []
    running = 0

    async def receive(record: Record) -> None:
        nonlocal running
        running += 1
        assert running == 1
        await asyncio.sleep(0.01)
        running -= 1
        taken.append(int(record.value or b""))

    async with consuming(bus, receive):
        for number in range(50):
            await bus.publish(a_record(number))
        await asyncio.sleep(1)
    assert taken == list(range(50))


async def test_a_record_arrives_as_it_was_published(bus: MemoryBus) -> None:
    got: list[Record] = []

    async def receive(record: Record) -> None:
        got.append(record)

    async with consuming(bus, receive):
        await bus.publish(a_record("a"))
        await bus.publish(Record(topic=INBOX))
        await asyncio.sleep(1)
    keyed = next(record for record in got if record.key)
    assert (keyed.value, keyed.headers, keyed.offset) == (b"a", (("h", None),), 0)
    assert (Record(topic=INBOX, partition=0, offset=0) in got) is (keyed.partition != 0)


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


async def test_one_key_s_trouble_holds_up_no_other(bus: MemoryBus) -> None:
    stuck, free = keys_of_different_partitions()
    taken: list[bytes] = []

    async def receive(record: Record) -> None:
        if record.key == stuck:
            raise Unavailable("later")
        taken.append(record.value or b"")

    async with consuming(bus, receive, INBOX, URGENT):
        await bus.publish(a_record(1, stuck))
        await bus.publish(a_record(2, free))
        await bus.publish(a_record(3, free, URGENT))
        await asyncio.sleep(1)
    assert sorted(taken) == [b"2", b"3"]
    assert (INBOX, partition_of(stuck, PARTITIONS)) not in bus.committed


async def test_what_a_consumer_died_on_comes_to_the_next_one(bus: MemoryBus) -> None:
    async def die(record: Record) -> None:
        await asyncio.Event().wait()

    async with consuming(bus, die):
        await bus.publish(a_record("a"))
        await bus.publish(a_record("b"))
        await asyncio.sleep(1)
    assert bus.committed == {}
    receiver = Receiver()
    async with consuming(bus, receiver):
        await asyncio.sleep(1)
    assert receiver.taken == [b"a", b"b"]


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
