"""Brokers and replicas that die, data that rot: what was acknowledged is received, whatever happens.

Every test has a broker of its own, since it is killed, stopped or its files are broken.
"""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
import pytest

from agent.api.meta import Key
from agent.bus.kafka import consumer as consumer_module
from agent.bus.kafka.bus import KafkaBus
from agent.bus.ownership import PartitionOwner
from agent.bus.port import Record
from agent.bus.topics import INBOX
from agent.errors import Unavailable
from tests.contract.bus_contract import Receiver, a_record, consuming, until
from tests.e2e.bed.kafka import Broker
from tests.e2e.kafka_stage import PARTITIONS, KafkaStage, staged
from tests.e2e.processes import Process

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

SESSION_SECONDS: Final = 3.0
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


class Members:
    """Consumers as processes of their own, and what they say."""

    def __init__(self, directory: Path, stage: KafkaStage) -> None:
        self._directory = directory
        self._settings = directory / "bus.json"
        self._settings.write_bytes(msgspec.json.encode(stage.settings))

    def member(self, name: str, slow_seconds: float = 0.0) -> Process:
        return Process(
            name, "-m", "tests.e2e.kafka_member", str(self._settings), str(slow_seconds),
            directory=self._directory,
        )  # fmt: skip


def said(process: Process, word: str) -> list[str]:
    return [
        line.partition(" ")[2]
        for line in process.output().splitlines()
        if line.split(" ")[0] == word
    ]


def owned(process: Process) -> set[str]:
    shares = said(process, "owns")
    return set(shares[-1].split(" ")[0].split(",")) - {"-"} if shares else set()


async def shared_out(*members: Process) -> None:
    """Wait until the members hold all partitions between them, each some."""

    def there() -> bool:
        held = [owned(member) for member in members]
        return (
            all(held) and len(set.union(*held)) == PARTITIONS and sum(map(len, held)) == PARTITIONS
        )

    await until(there, "the partitions are shared out")


@pytest.mark.parametrize("killed", [True, False], ids=["killed", "stopped in order"])
async def test_what_a_replica_leaves_is_taken_over_and_nothing_is_lost(
    killed: bool, broker: Broker, tmp_path: Path
) -> None:
    published: list[str] = []
    loop = asyncio.get_running_loop()
    async with staged(broker.address, session_timeout_seconds=SESSION_SECONDS) as stage:
        members = Members(tmp_path, stage)
        async with members.member("first") as first, members.member("second") as second:
            await shared_out(first, second)

            async def publish(count: int) -> None:
                for _ in range(count):
                    value = f"v{len(published)}"
                    key = KEYS[len(published) % len(KEYS)]
                    await stage.bus.publish(Record(topic=INBOX, key=key, value=value.encode()))
                    published.append(value)
                    await asyncio.sleep(0.002)

            await publish(200)
            began = loop.time()
            if killed:
                first.kill()
            else:
                await first.terminate()
            await publish(200)
            await until(lambda: len(owned(second)) == PARTITIONS, "the other owns everything")
            took_over = loop.time() - began
            await publish(50)
            await until(
                lambda: set(published) <= {*said(first, "took"), *said(second, "took")},
                "all records are received",
            )
            received = said(first, "took") + said(second, "took")
    print(f"\ntaken over after {took_over:.2f} s (session {SESSION_SECONDS:g} s); "
          f"{len(received) - len(set(received))} of {len(published)} received twice")  # fmt: skip
    if not killed:
        assert said(first, "left") == [""]
        assert len(received) == len(set(received)), (
            "what a replica that leaves has done is committed"
        )


async def test_work_that_is_under_way_in_a_rebalance_is_finished_or_comes_again(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer_module, "DRAIN_SECONDS", 1.0)
    began: list[bytes] = []
    first_took: list[bytes] = []
    second = Receiver()

    async def receive(record: Record) -> None:
        value = record.value or b""
        began.append(value)
        # A quick one ends while the partitions are let go, a slow one is cut off.
        await asyncio.sleep(0.4 if value.startswith(b"quick") else 100)
        first_took.append(value)

    async with staged(broker.address) as stage, stage.another_bus() as other:
        async with consuming(stage.bus, receive):
            for number in range(PARTITIONS * 4):
                await stage.bus.publish(a_record(f"slow-{number}", b"s%d" % number))
            await until(lambda: len(began) == PARTITIONS * 4, "the slow ones have begun")
            for number in range(PARTITIONS):
                await stage.bus.publish(a_record(f"quick-{number}", b"q%d" % number))
            await until(lambda: len(began) == PARTITIONS * 5, "the quick ones have begun")
            async with consuming(other, second):
                await until(
                    lambda: not stage.bus.waits_for([INBOX]) and bool(second.taken), "a share"
                )

            async def none_left() -> bool:
                return await stage.committed(INBOX) <= PARTITIONS * 5

            await until(none_left, "nothing that is not done is committed")
        third = Receiver()
        async with consuming(stage.bus, third):
            everything = {f"slow-{n}".encode() for n in range(PARTITIONS * 4)}
            await until(
                lambda: everything <= {*second.taken, *third.taken}, "every slow record comes again"
            )
    assert all(value.startswith(b"quick") for value in first_took)


def _rot(broker: Broker, topic: str, text: bytes) -> None:
    """Change one byte of this text on the broker's disk."""
    (segment,) = broker.data.glob(f"{topic}-0/*.log")
    content = segment.read_bytes()
    assert content.count(text) == 1
    segment.write_bytes(content.replace(text, text[:-1] + b"X"))


async def test_gained_and_lost_partitions_are_gained_and_lost_rollouts(broker: Broker) -> None:
    async with staged(broker.address) as stage:
        owners = [PartitionOwner(), PartitionOwner()]
        changes: list[str] = []
        owners[0].on_change(lambda: changes.append("first"))
        buses = [KafkaBus(stage.settings, assigned=owner.assigned) for owner in owners]
        keys = [Key("shop", f"web-{number}") for number in range(40)]
        async with consuming(buses[0], Receiver()):
            await until(lambda: all(owners[0].owns(key) for key in keys), "one owns everything")
            async with consuming(buses[1], Receiver()):
                await until(
                    lambda: (
                        all(owners[0].owns(key) != owners[1].owns(key) for key in keys)
                        and any(owners[1].owns(key) for key in keys)
                    ),
                    "each rollout has one owner",
                )
            await until(lambda: all(owners[0].owns(key) for key in keys), "and one again")
        assert len(changes) >= 3
        for bus in buses:
            await bus.aclose()
