"""Brokers that die, data that rot: what was acknowledged is received, whatever happens.

Every test has a broker of its own, since it is killed, stopped or its files are broken.
"""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest

from agent.bus.port import Record
from agent.bus.topics import INBOX
from agent.errors import Unavailable
from tests.contract.bus_contract import Receiver, a_record, consuming, until
from tests.e2e.bed.kafka import Broker
from tests.e2e.kafka_stage import KafkaStage, staged

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

KEYS: Final = [b"key-%d" % number for number in range(12)]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    broker = Broker(tmp_path / "kafka")
    broker.start()
    yield broker
    broker.kill()


async def test_what_was_acknowledged_is_received_although_the_broker_was_killed(
    broker: Broker,
) -> None:
    acknowledged: list[bytes] = []
    unknown, longest = 0, 0.0
    receiver = Receiver()
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    async with staged(broker.address, publish_seconds=1) as stage:

        async def publish(name: int) -> None:
            nonlocal unknown, longest
            number = 0
            while not stop.is_set():
                number += 1
                value = b"%d-%d" % (name, number)
                began = loop.time()
                try:
                    await stage.bus.publish(
                        Record(topic=INBOX, key=KEYS[name % len(KEYS)], value=value)
                    )
                    acknowledged.append(value)
                except Unavailable:
                    unknown += 1
                longest = max(longest, loop.time() - began)
                await asyncio.sleep(0.005)

        async with consuming(stage.bus, receiver):
            publishers = [asyncio.create_task(publish(name)) for name in range(8)]
            await until(lambda: len(acknowledged) > 300, "load")
            await asyncio.to_thread(broker.kill)
            before = len(acknowledged)
            await until(lambda: unknown >= 16, "every publisher was told twice that nobody answers")
            await asyncio.to_thread(broker.start)
            await until(lambda: len(acknowledged) > before + 300, "load again")
            stop.set()
            await asyncio.gather(*publishers)
            await until(
                lambda: set(acknowledged) <= set(receiver.taken), "all that was acknowledged"
            )
    print(f"\nacknowledged {len(acknowledged)}, told nothing {unknown}, received {len(receiver.taken)}, "
          f"longest publication {longest:.2f} s")  # fmt: skip
    # Its deadline is 1 s; the rest is this machine. Without it a publication would last for the outage.
    assert longest < 4


async def until_published(stage: KafkaStage, value: str) -> None:
    """Publish it as a client does, again while nobody acknowledges: a broker that starts may take its time."""

    async def published() -> bool:
        with suppress(Unavailable):
            await stage.bus.publish(a_record(value))
            return True
        return False

    await until(published, f"{value} is published")


async def test_a_broker_that_is_down_for_long_ends_nothing(broker: Broker) -> None:
    receiver = Receiver()
    async with staged(broker.address, publish_seconds=0.5) as stage:
        async with consuming(stage.bus, receiver):
            await until_published(stage, "before")
            await receiver.until_taken(1)
            await asyncio.to_thread(broker.terminate)
            for _ in range(4):
                with pytest.raises(Unavailable, match="the record may still come"):
                    await stage.bus.publish(a_record("meanwhile"))
            await asyncio.to_thread(broker.start)
            await until_published(stage, "after")
            await until(lambda: b"after" in receiver.taken, "receives again")
        assert b"meanwhile" in receiver.taken, "what was under way then came, as it was said"


async def test_a_stop_without_brokers_is_bounded_and_leaves_nothing_behind(broker: Broker) -> None:
    before, loop = asyncio.all_tasks(), asyncio.get_running_loop()
    began = loop.time()
    async with staged(broker.address, publish_seconds=0.5) as stage:
        receiver = Receiver()
        async with consuming(stage.bus, receiver):
            await until_published(stage, "a")
            await receiver.until_taken(1)
            await asyncio.to_thread(broker.kill)
            with pytest.raises(Unavailable):
                await stage.bus.publish(a_record("b"))
            began = loop.time()
    # Every step of it has a deadline; the longest ones together are 18 s.
    assert loop.time() - began < 25
    assert asyncio.all_tasks() == before


async def test_a_batch_that_rotted_on_the_disk_is_passed_over_by_name(broker: Broker) -> None:
    receiver = Receiver()
    async with staged(broker.address, partitions=1) as stage:
        async with stage.foreign_producer() as producer:
            for value in (b"first", b"second"):
                await producer.send_and_wait(stage.name(INBOX), value, key=b"k")
            batch = producer.create_batch()
            for value in (b"rotten-1", b"rotten-2", b"rotten-3"):
                batch.append(key=b"k", value=value, timestamp=None)
            await (await producer.send_batch(batch, stage.name(INBOX), partition=0))
            await producer.send_and_wait(stage.name(INBOX), b"last", key=b"k")
        await asyncio.to_thread(broker.terminate)
        _rot(broker, stage.name(INBOX), b"rotten-2")
        await asyncio.to_thread(broker.start)
        async with consuming(stage.bus, receiver):
            await receiver.until_taken(3)

            async def all_done() -> bool:
                return await stage.committed(INBOX) == 6

            await until(all_done, "it is committed past the broken batch")
        letters = await stage.records(f"{stage.name(INBOX)}.dlq")
    assert receiver.taken == [b"first", b"second", b"last"]
    told = [dict(letter.headers) for letter in letters]
    assert [each["dlq-offset"] for each in told] == [b"2", b"3", b"4"]
    assert all(b"CorruptRecord" in (each["dlq-reason"] or b"") for each in told)
    assert stage.meter.seen.count(("unreadable", "CorruptRecordException")) == 3


def _rot(broker: Broker, topic: str, text: bytes) -> None:
    """Change one byte of this text on the broker's disk."""
    (segment,) = broker.data.glob(f"{topic}-0/*.log")
    content = segment.read_bytes()
    assert content.count(text) == 1
    segment.write_bytes(content.replace(text, text[:-1] + b"X"))
