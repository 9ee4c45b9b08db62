"""Replicas that come, leave and die: their partitions change hands, and nothing is lost."""

import asyncio
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
from tests.contract.bus_contract import Receiver, a_record, consuming, until
from tests.e2e import brokers
from tests.e2e.bed.kafka import Broker
from tests.e2e.kafka_stage import PARTITIONS, KafkaStage, staged
from tests.e2e.processes import Process

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]
broker = brokers.of_module

SESSION_SECONDS: Final = 3.0
KEYS: Final = [b"key-%d" % number for number in range(12)]


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
                    # Paced, so that some come before, in and after the change of hands.
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
        # The work itself: a quick one ends while the partitions are let go, a slow one is cut off.
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
