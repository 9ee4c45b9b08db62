"""One contract for every bus."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from agent.bus.inbox import Inbox
from agent.bus.memory import MemoryBus
from agent.bus.port import Record
from agent.bus.topics import INBOX, URGENT, record_of
from agent.clock import SystemClock
from agent.errors import Conflict, Forbidden, Refused, Retry, Unavailable
from agent.events.event import Event


def an_event(id_: str, type_: str = "dev.test") -> Event:
    return Event(
        id=id_,
        source="/t",
        type=type_,
        time=datetime(2026, 1, 1, tzinfo=UTC),
        extensions={"partitionkey": "k"},
    )


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


class Receiver:
    """Takes records; fails as often as it is told to."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.taken: list[bytes] = []

    async def __call__(self, record: Record) -> None:
        if self.failures:
            self.failures -= 1
            raise Unavailable("later", retry_after_seconds=0.01)
        self.taken.append(record.value or b"")


@pytest.fixture
def bus() -> MemoryBus:
    return MemoryBus(SystemClock())


async def test_records_of_a_key_arrive_in_order(bus: MemoryBus) -> None:
    receiver = Receiver()
    task = asyncio.create_task(bus.consume([INBOX], receiver))
    await asyncio.sleep(0)
    for index in range(50):
        await bus.publish(Record(topic=INBOX, key=b"k", value=str(index).encode()))
    await _until(lambda: len(receiver.taken) == 50)
    assert receiver.taken == [str(index).encode() for index in range(50)]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_record_comes_again_until_it_is_taken_and_counts_then(bus: MemoryBus) -> None:
    receiver = Receiver(failures=3)
    bus.declare([INBOX])
    await bus.publish(Record(topic=INBOX, key=b"k", value=b"a"))
    await bus.publish(Record(topic=INBOX, key=b"k", value=b"b"))
    assert bus.committed == {}
    task = asyncio.create_task(bus.consume([INBOX], receiver))
    await _until(lambda: len(receiver.taken) == 2)
    await _until(lambda: list(bus.committed.values()) == [2])
    assert receiver.taken == [b"a", b"b"]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_full_topic_says_so() -> None:
    bus = MemoryBus(SystemClock(), capacity=2)
    bus.declare([INBOX])
    for _ in range(2):
        await bus.publish(Record(topic=INBOX, key=b"k", value=b"x"))
    with pytest.raises(Unavailable):
        await bus.publish(Record(topic=INBOX, key=b"k", value=b"x"))


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
