"""What real brokers and other people's producers do to records."""

import asyncio

import pytest

from agent.bus.inbox import Inbox
from agent.bus.kafka import leaders
from agent.bus.kafka.connection import client_options
from agent.bus.kafka.topics import Topics
from agent.bus.metrics import Backlog
from agent.bus.port import Record
from agent.bus.topics import INBOX, ROLLOUTS, URGENT
from agent.errors import Refused, Unavailable
from tests.contract.bus_contract import Receiver, a_record, consuming, until
from tests.e2e import brokers
from tests.e2e.bed.kafka import Broker
from tests.e2e.kafka_stage import PARTITIONS, staged

pytestmark = pytest.mark.e2e
broker = brokers.of_module


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
async def test_a_batch_of_every_codec_is_read(codec: str, broker: Broker) -> None:
    receiver = Receiver()
    async with (
        staged(broker.address) as stage,
        stage.foreign_producer(compression_type=codec, linger_ms=50) as producer,
    ):
        sent = [
            await producer.send(stage.name(INBOX), b"%d" % number + b" " * 500, key=b"k")
            for number in range(20)
        ]
        await asyncio.gather(*sent)
        async with consuming(stage.bus, receiver):
            await receiver.until_taken(20)
    assert [int(value) for value in receiver.taken] == list(range(20))


async def test_a_topic_that_does_not_exist_is_named_at_once(broker: Broker) -> None:
    async with staged(broker.address) as stage:
        began = asyncio.get_running_loop().time()
        with pytest.raises(Unavailable, match=r"topic nowhere does not exist.*kafka init"):
            await stage.bus.publish(Record(topic="nowhere", key=b"k", value=b"v"))
        # aiokafka would ask on for 40 s, and ours gives up after 5.
        assert asyncio.get_running_loop().time() - began < stage.settings.publish_seconds
        await stage.bus.publish(a_record("fine"))


async def test_the_first_records_of_a_client_find_their_topics(broker: Broker) -> None:
    """aiokafka answers who asks for a second topic with the answer to what was asked about the first one."""
    async with staged(broker.address) as stage:
        for steps in range(8):
            async with stage.another_bus() as bus, asyncio.TaskGroup() as group:
                group.create_task(bus.publish(a_record("first")))
                # The second one comes at every moment of the first one's question.
                for _ in range(steps):
                    await asyncio.sleep(0)
                group.create_task(bus.publish(a_record("second", topic=URGENT)))


async def test_created_topics_are_waited_for_until_they_can_be_used(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaders, "WAIT_SECONDS", 1.0)
    async with (
        staged(broker.address) as stage,
        Topics(stage.settings, client_options(stage.settings)) as topics,
    ):
        await leaders.until_led(topics._admin, list(await topics.existing()))
        missing = f"{stage.settings.prefix}.missing"
        with pytest.raises(Unavailable, match=f"topic {missing}: not every partition has"):
            await leaders.until_led(topics._admin, [stage.name(INBOX), missing])


@pytest.mark.parametrize("size", [1_200_000, 3_000_000], ids=["for the broker", "for the client"])
async def test_a_record_that_is_too_large_is_refused_and_the_next_one_is_not(
    size: int, broker: Broker
) -> None:
    receiver = Receiver()
    async with staged(broker.address) as stage, consuming(stage.bus, receiver):
        await stage.bus.publish(a_record("before"))
        with pytest.raises(Refused, match=f"too large \\({size} bytes\\)"):
            await stage.bus.publish(Record(topic=INBOX, key=b"k", value=b"x" * size))
        # The refused one has used up a sequence number: without a new producer this one would fail.
        await stage.bus.publish(a_record("after"))
        await receiver.until_taken(2)
    assert receiver.taken == [b"before", b"after"]


async def test_what_is_too_large_for_a_dead_letter_is_buried_without_its_value(
    broker: Broker,
) -> None:
    async with staged(broker.address) as stage:
        inbox = Inbox(stage.bus, {})
        large = Record(
            topic=stage.name(INBOX), key=b"k", value=b"x" * 3_000_000, partition=1, offset=2
        )
        await inbox.receive(large)
        (letter,) = await stage.records(f"{stage.name(INBOX)}.dlq")
    told = dict(letter.headers)
    assert told["dlq-value-left-out"] == b"3000000"
    assert (told["dlq-partition"], told["dlq-offset"]) == (b"1", b"2")
    assert b"longer than" in (told["dlq-reason"] or b"")


async def test_what_is_no_event_is_a_dead_letter_and_holds_nothing_up(broker: Broker) -> None:
    done: list[str] = []

    async def handle(event: object) -> None:
        done.append("event")

    async with staged(broker.address) as stage:
        inbox = Inbox(stage.bus, {"dev.test": handle})
        event = b'{"specversion":"1.0","id":"1","source":"/t","type":"dev.test","time":"2026-01-01T00:00:00Z"}'
        async with (
            stage.foreign_producer() as producer,
            consuming(stage.bus, inbox.receive, INBOX, URGENT),
        ):
            headers = [("content-type", b"application/cloudevents+json")]
            for topic, value in ((INBOX, b"\x00\xff"), (URGENT, b"<html>"), (INBOX, event)):
                await producer.send_and_wait(stage.name(topic), value, key=b"k", headers=headers)
            await until(lambda: bool(done), "the event behind the broken record")

            async def all_done() -> bool:
                return await stage.committed(INBOX) == 2 and await stage.committed(URGENT) == 1

            await until(all_done, "all are committed")
        (letter,) = await stage.records(f"{stage.name(INBOX)}.dlq")
        assert (letter.key, letter.value) == (b"k", b"\x00\xff")
        assert dict(letter.headers)["dlq-topic"] == stage.name(INBOX).encode()
        (urgent,) = await stage.records(f"{stage.name(URGENT)}.dlq")
        assert urgent.value == b"<html>"


async def test_a_busy_inbox_does_not_delay_what_is_urgent(broker: Broker) -> None:
    released, urgent = asyncio.Event(), Receiver()

    async def receive(record: Record) -> None:
        if record.topic.endswith(".urgent"):
            await urgent(record)
        else:
            await released.wait()

    async with staged(broker.address) as stage, consuming(stage.bus, receive, INBOX, URGENT):
        for number in range(400):
            await stage.bus.publish(a_record(number, b"%d" % number))
        await until(lambda: _under_way(stage.bus.backlog()) >= 400, "the inbox is behind")
        await stage.bus.publish(a_record("alert", topic=URGENT))
        await urgent.until_taken(1)
        assert _under_way(stage.bus.backlog()) >= 400, "and the inbox still is"
        oldest = max(entry.oldest_seconds for entry in stage.bus.backlog())
        assert 0 < oldest < 60
        released.set()

        async def all_done() -> bool:
            return await stage.committed(INBOX) == 400

        await until(all_done, "everything is committed")
        assert _under_way(stage.bus.backlog()) == 0


async def test_what_is_done_behind_a_stuck_record_is_not_committed(broker: Broker) -> None:
    """The low-water mark: a commit covers what is before it, not what was done first."""
    stuck, taken = asyncio.Event(), []

    async def receive(record: Record) -> None:
        if record.key == b"stuck":
            stuck.set()
            raise Unavailable("later", retry_after_seconds=1000)
        taken.append(record.value)

    async with staged(broker.address, partitions=1) as stage:
        async with consuming(stage.bus, receive):
            await stage.bus.publish(a_record("first", b"free"))
            await stage.bus.publish(a_record("stuck", b"stuck"))
            for number in range(10):
                await stage.bus.publish(a_record(number, b"free"))
            await until(lambda: len(taken) == 11, "other keys of the partition go on")

            async def first_done() -> bool:
                return await stage.committed(INBOX) == 1

            await until(first_done, "the one before it is committed")
        assert await stage.committed(INBOX) == 1
        receiver = Receiver()
        async with consuming(stage.bus, receiver):
            await receiver.until_taken(11)
        assert b"first" not in receiver.taken


async def test_the_topics_are_as_they_are_documented(broker: Broker) -> None:
    async with staged(broker.address) as stage, stage.foreign_producer() as producer:
        partitions = {
            topic: len(await producer.partitions_for(name))
            for topic, name in (
                *((topic, stage.name(topic)) for topic in (INBOX, URGENT, ROLLOUTS)),
                ("dead", f"{stage.name(INBOX)}.dlq"),
            )
        }
    assert partitions == {INBOX: PARTITIONS, URGENT: PARTITIONS, ROLLOUTS: PARTITIONS, "dead": 1}


def _under_way(backlog: list[Backlog]) -> int:
    return sum(entry.records for entry in backlog)
