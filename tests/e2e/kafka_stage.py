"""Buses on a real broker, each with topics and groups of its own."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    NotCoordinatorForGroupError,
)

from agent.bus.kafka.bus import KafkaBus
from agent.bus.kafka.topics import names
from agent.bus.metrics import BusMeter
from agent.bus.port import Record
from agent.settings import BusSettings
from tests.e2e.announcements import Announcements
from tests.e2e.processes import until

PARTITIONS: Final = 4
NO_COORDINATOR: Final = (
    GroupCoordinatorNotAvailableError, GroupLoadInProgressError, NotCoordinatorForGroupError,
)  # fmt: skip
"""A broker has none for a moment when the first group of all comes, and when it starts."""


class Counting(BusMeter):
    """Remembers what was counted."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, ...]] = []

    def unreadable(self, topic: str, reason: str) -> None:
        self.seen.append(("unreadable", reason))

    def rebuilt(self, part: str, reason: str) -> None:
        self.seen.append(("rebuilt", part, reason))


class Readings(Announcements):
    """What was read off a topic."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        super().__init__()
        self._consumer = consumer

    async def until_caught_up(self) -> None:
        ends = await self._consumer.end_offsets(list(self._consumer.assignment()))
        await until(lambda: self._is_at(ends), "the topic is read to its end")

    async def _is_at(self, ends: dict[TopicPartition, int]) -> bool:
        # Transactions leave marks that are no records: the position counts, not what was taken.
        return all([await self._consumer.position(place) >= end for place, end in ends.items()])


class KafkaStage:
    """One bus, and what can be seen of its topics from outside. Made by `staged`."""

    partitions = PARTITIONS

    def __init__(self, settings: BusSettings) -> None:
        self.settings = settings
        self.meter = Counting()
        self.bus = KafkaBus(settings, meter=self.meter)

    def name(self, topic: str) -> str:
        """The topic's name on the broker."""
        return names(self.settings)[topic]

    @asynccontextmanager
    async def another_bus(self, **changes: Any) -> AsyncIterator[KafkaBus]:
        """Another replica."""
        bus = KafkaBus(msgspec.structs.replace(self.settings, **changes))
        try:
            await bus.start()
            yield bus
        finally:
            await bus.aclose()

    @asynccontextmanager
    async def foreign_producer(self, **options: Any) -> AsyncIterator[AIOKafkaProducer]:
        """A producer that is none of ours."""
        producer = AIOKafkaProducer(
            bootstrap_servers=list(self.settings.brokers), acks="all", **options
        )
        await producer.start()
        try:
            yield producer
        finally:
            await producer.stop()

    async def committed(self, topic: str) -> int:
        """How many records of the topic are committed, over all partitions."""
        group = f"{self.settings.group}.{topic.rpartition('.')[2]}"
        admin = AIOKafkaAdminClient(bootstrap_servers=list(self.settings.brokers))
        await admin.start()
        try:

            async def offsets() -> tuple[dict[TopicPartition, Any], ...]:
                with contextlib.suppress(*NO_COORDINATOR):
                    return (await admin.list_consumer_group_offsets(group),)
                return ()

            (found,) = await until(offsets, f"{group} has a coordinator")
        finally:
            await admin.close()
        return sum(
            max(0, offset.offset)
            for place, offset in found.items()
            if place.topic == self.name(topic)
        )

    @asynccontextmanager
    async def reading(self, topic: str) -> AsyncIterator[Announcements]:
        """What is on a topic of ours and comes to it while the block lasts, brokers' deaths included."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=list(self.settings.brokers), auto_offset_reset="earliest"
        )
        found = Readings(consumer)
        await consumer.start()

        async def read() -> None:
            while True:
                for batch in (await consumer.getmany(timeout_ms=200)).values():
                    for record in batch:
                        found.take(record.value)

        try:
            name = self.name(topic)
            await consumer._client._wait_on_metadata(name)
            places = [TopicPartition(name, n) for n in range(PARTITIONS)]
            consumer.assign(places)
            for place in places:
                # To ask a young topic for its beginning may be refused, and is not asked again for minutes.
                consumer.seek(place, 0)
            task = asyncio.create_task(read(), name=f"read {name}")
            try:
                yield found
            finally:
                task.cancel()
                ended = await asyncio.gather(task, return_exceptions=True)
            assert isinstance(ended[0], asyncio.CancelledError), ended[0]
        finally:
            await consumer.stop()

    async def records(self, topic: str) -> list[Record]:
        """Everything that is on the topic now; `topic` as on the broker."""
        # Not "latest" and a seek: the answer to the first question for an offset may come after the seek.
        consumer = AIOKafkaConsumer(
            bootstrap_servers=list(self.settings.brokers), auto_offset_reset="earliest"
        )
        await consumer.start()
        try:
            await consumer._client._wait_on_metadata(topic)
            places = [TopicPartition(topic, n) for n in consumer.partitions_for_topic(topic) or ()]
            consumer.assign(places)
            ends = await consumer.end_offsets(places)
            found: list[Record] = []
            while len(found) < sum(ends.values()):
                for batch in (await consumer.getmany(timeout_ms=200)).values():
                    found += [
                        Record(topic=r.topic, key=r.key, value=r.value, headers=tuple(r.headers),
                               partition=r.partition, offset=r.offset)
                        for r in batch
                    ]  # fmt: skip
            return found
        finally:
            await consumer.stop()


@asynccontextmanager
async def staged(address: str, **changes: Any) -> AsyncIterator[KafkaStage]:
    """A bus that is started, on topics that no other test uses."""
    prefix = f"t{uuid.uuid4().hex[:12]}"
    settings = BusSettings(
        kind="kafka",
        brokers=(address,),
        prefix=prefix,
        group=prefix,
        create_topics=True,
        partitions=PARTITIONS,
        session_timeout_seconds=3,
    )
    stage = KafkaStage(msgspec.structs.replace(settings, **changes))
    try:
        await stage.bus.start()
        yield stage
    finally:
        with contextlib.suppress(asyncio.CancelledError):
            await stage.bus.aclose()
