"""Transactions of other people's producers: what was taken back is never received, what is open waits."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiokafka import AIOKafkaProducer
from structlog.testing import capture_logs

from agent.bus.kafka import open_transactions
from agent.bus.kafka.tail import tail
from agent.bus.topics import INBOX, URGENT
from tests.contract.bus_contract import Receiver, consuming, until
from tests.e2e import brokers
from tests.e2e.bed.kafka import Broker
from tests.e2e.kafka_stage import KafkaStage, staged

pytestmark = pytest.mark.e2e
broker = brokers.of_module


@asynccontextmanager
async def producing(
    broker: Broker, name: str, **options: object
) -> AsyncIterator[tuple[KafkaStage, AIOKafkaProducer]]:
    """A stage with one partition a topic, and a transactional producer that is none of ours."""
    async with (
        staged(broker.address, partitions=1) as stage,
        stage.foreign_producer(transactional_id=name, **options) as producer,
    ):
        yield stage, producer


async def send(producer: AIOKafkaProducer, topic: str, *values: bytes) -> None:
    """Send values under one key, each acknowledged before the next."""
    for value in values:
        await producer.send_and_wait(topic, value, key=b"k")


async def aborted(producer: AIOKafkaProducer, topic: str, *values: bytes) -> None:
    """A transaction that is taken back when its records are on the broker."""
    await producer.begin_transaction()
    await send(producer, topic, *values)
    await producer.abort_transaction()


async def until_committed(stage: KafkaStage, offset: int, topic: str = INBOX) -> None:
    async def there() -> bool:
        return await stage.committed(topic) == offset

    await until(there, f"offset {offset} is committed")


def held(stage: KafkaStage) -> int:
    return sum(entry.held for entry in stage.bus.backlog())


def behind(stage: KafkaStage) -> int:
    return sum(entry.records for entry in stage.bus.backlog())


async def test_records_of_transactions_come_in_order_and_markers_are_committed_past(
    broker: Broker,
) -> None:
    receiver = Receiver()
    async with producing(broker, "t1") as (stage, producer):
        for number in range(3):
            async with producer.transaction():
                await send(producer, stage.name(INBOX), b"%d" % number)
        async with consuming(stage.bus, receiver):
            await receiver.until_taken(3)
            # Three records, and a marker after each.
            await until_committed(stage, 6)
            assert behind(stage) == 0
    assert receiver.taken == [b"0", b"1", b"2"]


async def test_what_was_aborted_is_never_received_and_what_is_around_it_is(broker: Broker) -> None:
    """One producer, so that the abort and the commits after it come in one fetch under one producer id."""
    receiver = Receiver()
    async with producing(broker, "t2") as (stage, producer), stage.foreign_producer() as plain:
        topic = stage.name(INBOX)
        await send(plain, topic, b"plain-0")
        await aborted(producer, topic, b"taken-back-1", b"taken-back-2")
        async with producer.transaction():
            await send(producer, topic, b"kept-1")
        await producer.begin_transaction()
        await send(producer, topic, b"taken-back-3")
        await send(plain, topic, b"plain-1")
        await producer.abort_transaction()
        async with producer.transaction():
            await send(producer, topic, b"kept-2")
        await send(plain, topic, b"plain-2")
        async with consuming(stage.bus, receiver):
            await receiver.until_taken(5)
            await until_committed(stage, 12)
    assert receiver.taken == [b"plain-0", b"kept-1", b"plain-1", b"kept-2", b"plain-2"]


async def test_a_topic_that_ends_in_what_was_aborted_is_no_lag_and_is_not_read_again(
    broker: Broker,
) -> None:
    first, second = Receiver(), Receiver()
    async with producing(broker, "t3") as (stage, producer):
        topic = stage.name(INBOX)
        async with producer.transaction():
            await send(producer, topic, b"kept")
        await aborted(producer, topic, *(b"taken-back" for _ in range(5)))
        async with consuming(stage.bus, first):
            # One record and its marker, five records and theirs.
            await until_committed(stage, 8)
            await until(lambda: behind(stage) == 0, "no lag")
        async with consuming(stage.bus, second):
            await aborted(producer, topic, b"taken-back")
            async with producer.transaction():
                await send(producer, topic, b"after")
            await second.until_taken(1)
            await until_committed(stage, 12)
    assert (first.taken, second.taken) == ([b"kept"], [b"after"])


async def test_a_restart_amid_an_aborted_transaction_begins_right(broker: Broker) -> None:
    """The mark stands at a record between two aborted ones of a transaction that began before it."""
    first, second = Receiver(failures=1, after=1000), Receiver()
    async with producing(broker, "t4") as (stage, producer), stage.foreign_producer() as plain:
        topic = stage.name(INBOX)
        await producer.begin_transaction()
        await send(producer, topic, b"taken-back-1")
        await send(plain, topic, b"stuck")
        await send(producer, topic, b"taken-back-2")
        await producer.abort_transaction()
        async with consuming(stage.bus, first):
            await until(lambda: len(first.asked) == 1, "the record is refused for now")
        assert await stage.committed(INBOX) == 1
        async with consuming(stage.bus, second):
            await second.until_taken(1)
            await until_committed(stage, 4)
    assert (first.taken, second.taken) == ([], [b"stuck"])


@pytest.mark.parametrize("end", ["commit", "abort"])
async def test_an_open_transaction_holds_back_its_partition_only_until_it_ends(
    end: str, broker: Broker
) -> None:
    receiver = Receiver()
    async with (
        staged(broker.address, partitions=2) as stage,
        stage.foreign_producer(transactional_id=f"t5-{end}") as producer,
        stage.foreign_producer() as plain,
        consuming(stage.bus, receiver, INBOX, URGENT),
    ):
        topic = stage.name(INBOX)
        await plain.send_and_wait(topic, b"before", key=b"k", partition=0)
        await receiver.until_taken(1)
        await producer.begin_transaction()
        await producer.send_and_wait(topic, b"open", key=b"k", partition=0)
        await plain.send_and_wait(topic, b"behind", key=b"k", partition=0)
        await plain.send_and_wait(topic, b"beside", key=b"k", partition=1)
        await plain.send_and_wait(stage.name(URGENT), b"urgent", key=b"k", partition=0)
        await until(lambda: held(stage) == 2, "both wait behind the last stable offset")
        await receiver.until_taken(3)
        assert set(receiver.taken) == {b"before", b"beside", b"urgent"}
        assert behind(stage) == 2, "what is held back is lag"
        await (producer.commit_transaction() if end == "commit" else producer.abort_transaction())
        expected = [b"open", b"behind"] if end == "commit" else [b"behind"]
        await receiver.until_taken(3 + len(expected))
        assert receiver.taken[3:] == expected
        # before, open, behind and a marker; and the one of the other partition.
        await until_committed(stage, 5)
        await until(lambda: (held(stage), behind(stage)) == (0, 0), "nothing is held back")


async def test_a_producer_that_died_within_its_transaction_holds_nothing_back_for_ever(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_transactions, "TOLD_AFTER_SECONDS", 0.5)
    receiver = Receiver()
    async with (
        staged(broker.address, partitions=1) as stage,
        stage.foreign_producer() as plain,
        consuming(stage.bus, receiver),
    ):
        topic = stage.name(INBOX)
        options = {"transactional_id": "t6", "transaction_timeout_ms": 3000}
        async with stage.foreign_producer(**options) as producer:
            await producer.begin_transaction()
            await send(producer, topic, b"of the dead")
            # It leaves without ending it.
        await send(plain, topic, b"behind")
        with capture_logs() as logs:
            await receiver.until_taken(1)
        await until_committed(stage, 3)
    (told,) = (line for line in logs if line["event"] == "bus.transaction_open")
    assert (told["topic"], told["partition"], told["offset"]) == (topic, 0, 0)
    assert receiver.taken == [b"behind"]


async def test_the_tail_prints_what_consumers_get(broker: Broker) -> None:
    async with producing(broker, "t7") as (stage, producer):
        await aborted(producer, stage.name(INBOX), b"taken-back")
        async with producer.transaction():
            await send(producer, stage.name(INBOX), b"kept")
        lines = tail(stage.settings, ["inbox"], begin=None, from_beginning=True)
        async with asyncio.timeout(30):
            seen = await anext(lines)
        await lines.aclose()
    assert (seen.record.value, seen.record.offset) == (b"kept", 2)
