"""What every bus keeps, as functions over a stage; run on memory in virtual time and on real Kafka.

Nothing here waits for a time: only for a condition, with a deadline.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Final, Protocol

import pytest

from agent.bus.partition import partition_of
from agent.bus.port import Bus, Receive, Record
from agent.bus.topics import INBOX, URGENT
from agent.errors import Refused, Unavailable

DEADLINE_SECONDS: Final = 30.0


class BusStage(Protocol):
    """A bus with topics of its own, which no other test uses."""

    partitions: int

    @property
    def bus(self) -> Bus: ...

    async def committed(self, topic: str) -> int:
        """How many records of the topic are committed, over all partitions."""
        ...


async def until(condition: Callable[[], bool | Awaitable[bool]], what: str) -> None:
    """Ask again and again; an AssertionError after the deadline."""
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while True:
                answer = condition()
                if answer if isinstance(answer, bool) else await answer:
                    return
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"not within {DEADLINE_SECONDS:g} s: {what}") from None


@asynccontextmanager
async def consuming(bus: Bus, receive: Receive, *topics: str) -> AsyncIterator[None]:
    """A consumer for the time of the block; it is gone afterwards."""
    task = asyncio.create_task(bus.consume(topics or (INBOX,), receive))
    try:
        yield
        assert not task.done(), task.exception()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class Receiver:
    """Takes records, after some failures, and remembers when it was asked."""

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

    async def until_taken(self, count: int) -> None:
        await until(lambda: len(self.taken) >= count, f"{count} records; there are {self.taken}")


def a_record(value: int | str, key: bytes | None = b"k", topic: str = INBOX) -> Record:
    return Record(
        topic=topic, key=key, value=str(value).encode(), headers=(("h", None), ("i", b""))
    )


def another_key(stage: BusStage) -> bytes:
    """A key whose partition is not that of `k`."""
    return next(
        key
        for key in (str(n).encode() for n in range(100))
        if partition_of(key, stage.partitions) != partition_of(b"k", stage.partitions)
    )


async def records_of_a_key_arrive_in_order_one_at_a_time(stage: BusStage) -> None:
    taken: list[int] = []
    running = 0

    async def receive(record: Record) -> None:
        nonlocal running
        running += 1
        assert running == 1, "two records of one key at the same time"
        await asyncio.sleep(0.002)
        running -= 1
        taken.append(int(record.value or b""))

    async with consuming(stage.bus, receive):
        for number in range(50):
            await stage.bus.publish(a_record(number))
        await until(lambda: len(taken) >= 50, "50 records")
    assert taken == list(range(50))


async def a_record_arrives_as_it_was_published(stage: BusStage) -> None:
    got: list[Record] = []

    async def receive(record: Record) -> None:
        got.append(record)

    published = [
        Record(
            topic=INBOX, key=b"k", value=bytes(range(256)), headers=(("a", None), ("b", b"\xff"))
        ),
        Record(topic=INBOX, key=None, value=b"v"),
        Record(topic=INBOX, key=b"", value=b"w"),
        Record(topic=INBOX, key=b"k", value=None),
        Record(topic=INBOX, key=b"k", value=b""),
    ]
    async with consuming(stage.bus, receive):
        for record in published:
            await stage.bus.publish(record)
        await until(lambda: len(got) >= len(published), "all of them")
    assert all(record.offset >= 0 and 0 <= record.partition < stage.partitions for record in got)
    seen = {(record.key, record.value, record.headers) for record in got}
    assert seen == {(record.key, record.value, record.headers) for record in published}
    now = datetime.now(UTC)
    for record in got:
        assert record.published_at is not None
        assert abs((now - record.published_at).total_seconds()) < DEADLINE_SECONDS
    keyed = next(record for record in got if record.key == b"k")
    assert keyed.partition == partition_of(b"k", stage.partitions), "as Kafka's Java client does it"


async def a_consumer_begins_with_what_was_published_before_it(stage: BusStage) -> None:
    await stage.bus.publish(a_record("before"))
    receiver = Receiver()
    async with consuming(stage.bus, receiver):
        await receiver.until_taken(1)
    assert receiver.taken == [b"before"]


async def a_record_comes_again_until_it_is_taken(stage: BusStage) -> None:
    receiver = Receiver(failures=3)
    async with consuming(stage.bus, receiver):
        await stage.bus.publish(a_record("a"))
        await stage.bus.publish(a_record("b"))
        await until(lambda: len(receiver.asked) >= 2, "a second try")
        assert await stage.committed(INBOX) == 0
        await receiver.until_taken(2)
        await until(lambda: _is(stage, INBOX, 2), "both are committed")
    assert receiver.taken == [b"a", b"b"], "in order, once each"
    pauses = [b - a for a, b in zip(receiver.asked, receiver.asked[1:4], strict=False)]
    assert all(
        pause >= wanted * 0.9 for pause, wanted in zip(pauses, (0.1, 0.2, 0.4), strict=True)
    ), "it backs off"


async def a_receiver_that_names_a_time_is_left_alone_for_it(stage: BusStage) -> None:
    receiver = Receiver(failures=1, after=0.7)
    async with consuming(stage.bus, receiver):
        await stage.bus.publish(a_record("a"))
        await receiver.until_taken(1)
    assert receiver.asked[1] - receiver.asked[0] >= 0.69


async def one_key_s_trouble_holds_up_no_other_partition_and_no_other_topic(stage: BusStage) -> None:
    free, taken = another_key(stage), []

    async def receive(record: Record) -> None:
        if record.key == b"k":
            raise Unavailable("later")
        taken.append(record.value or b"")

    async with consuming(stage.bus, receive, INBOX, URGENT):
        await stage.bus.publish(a_record(1))
        await stage.bus.publish(a_record(2, free))
        await stage.bus.publish(a_record(3, free, URGENT))
        await until(lambda: len(taken) >= 2, "the others")
        await until(lambda: _is(stage, INBOX, 1), "the other partition is committed")
    assert sorted(taken) == [b"2", b"3"]
    assert await stage.committed(INBOX) == 1


async def what_a_consumer_ended_on_comes_to_the_next_one_and_nothing_else_does(
    stage: BusStage,
) -> None:
    begun = asyncio.Event()

    async def stuck(record: Record) -> None:
        if record.value != b"done":
            begun.set()
            raise Unavailable("later", retry_after_seconds=1000)

    async with consuming(stage.bus, stuck):
        for value in ("done", "a", "b"):
            await stage.bus.publish(a_record(value))
        async with asyncio.timeout(DEADLINE_SECONDS):
            await begun.wait()
    assert await stage.committed(INBOX) == 1
    receiver = Receiver()
    async with consuming(stage.bus, receiver):
        await receiver.until_taken(2)
        await until(lambda: _is(stage, INBOX, 3), "all are committed")
    assert receiver.taken == [b"a", b"b"]


async def a_record_without_key_and_value_is_refused(stage: BusStage) -> None:
    with pytest.raises(Refused, match="key or a value"):
        await stage.bus.publish(Record(topic=INBOX))


async def _is(stage: BusStage, topic: str, count: int) -> bool:
    return await stage.committed(topic) == count


CONTRACT: Final = (
    records_of_a_key_arrive_in_order_one_at_a_time,
    a_record_arrives_as_it_was_published,
    a_consumer_begins_with_what_was_published_before_it,
    a_record_comes_again_until_it_is_taken,
    a_receiver_that_names_a_time_is_left_alone_for_it,
    one_key_s_trouble_holds_up_no_other_partition_and_no_other_topic,
    what_a_consumer_ended_on_comes_to_the_next_one_and_nothing_else_does,
    a_record_without_key_and_value_is_refused,
)
Clause = Callable[[BusStage], Awaitable[None]]
