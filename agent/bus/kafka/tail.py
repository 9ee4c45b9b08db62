"""Reading topics without a group: nothing is committed, nobody's share changes."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from agent.bus.kafka.connection import (
    ISOLATION,
    START_SECONDS,
    STOP_SECONDS,
    client_options,
    explained,
)
from agent.bus.kafka.reader import is_unreadable, record_of
from agent.bus.kafka.topics import Topics
from agent.bus.port import Record
from agent.errors import Refused
from agent.settings import BusSettings

POLL_MS: Final = 500
PROBE_MS: Final = 100


class Seen(msgspec.Struct, frozen=True):
    """A record; `unreadable` says why it could not be read off the brokers."""

    record: Record
    unreadable: str = ""


async def topics_to_read(
    settings: BusSettings, asked: Sequence[str], options: Mapping[str, Any]
) -> tuple[str, ...]:
    """Full names of topics that exist: those asked for, by full or short name, or all of ours.

    Raises Refused for one that is none of ours or does not exist, Unavailable.
    """
    async with Topics(settings, options) as topics:
        existing = sorted(await topics.existing())
    if not asked:
        if not existing:
            raise Refused(
                "none of our topics exists; `serinus kafka init` creates them", field="TOPIC"
            )
        return tuple(existing)
    found = []
    for name in asked:
        full = name if name in existing else f"{settings.prefix}.{name}"
        if full not in existing:
            raise Refused(
                f"{name!r} is none of our topics: {', '.join(existing) or 'none exists'}",
                field="TOPIC",
            )
        found.append(full)
    return tuple(dict.fromkeys(found))


async def tail(
    settings: BusSettings,
    asked: Sequence[str],
    *,
    begin: datetime | None,
    from_beginning: bool,
    environment: Mapping[str, str] | None = None,
) -> AsyncGenerator[Seen, None]:
    """Records of these topics as they come, for ever; in order within a partition.

    Args:
        begin: only what was published since then; None: from now on, or all there is with `from_beginning`.

    Raises Refused, or Unavailable when the brokers do not answer at the start.
    """
    options = client_options(settings, environment)
    names = await topics_to_read(settings, asked, options)
    async with _reading(settings, options, names, begin, from_beginning) as consumer:
        while True:
            try:
                fetched = await consumer.getmany(timeout_ms=POLL_MS, max_records=500)
            except Exception as error:
                if not is_unreadable(error):
                    raise await explained(error, settings, options) from error
                async for seen in _past_unreadable(consumer):
                    yield seen
                continue
            records = [record for batch in fetched.values() for record in batch]
            for record in sorted(records, key=lambda record: record.timestamp):
                yield Seen(record_of(record))


async def _past_unreadable(consumer: AIOKafkaConsumer) -> AsyncIterator[Seen]:
    """One record at a time, until one that cannot be read was found and passed over."""
    passed = False
    while not passed:
        for place in sorted(consumer.assignment()):
            try:
                fetched = await consumer.getmany(place, timeout_ms=PROBE_MS, max_records=1)
            except Exception as error:
                if not is_unreadable(error):
                    raise
                offset = await consumer.position(place)
                consumer.seek(place, offset + 1)
                record = Record(topic=place.topic, partition=place.partition, offset=offset)
                yield Seen(record, f"{type(error).__name__}: {error}")
                passed = True
            else:
                for record in fetched.get(place, ()):
                    yield Seen(record_of(record))


@asynccontextmanager
async def _reading(
    settings: BusSettings,
    options: Mapping[str, Any],
    names: Sequence[str],
    begin: datetime | None,
    from_beginning: bool,
) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(
        enable_auto_commit=False,
        auto_offset_reset="earliest" if from_beginning else "latest",
        isolation_level=ISOLATION,
        **options,
    )
    try:
        try:
            async with asyncio.timeout(START_SECONDS):
                await consumer.start()
                await _begin(consumer, names, begin, from_beginning)
        except (KafkaError, OSError) as error:
            raise await explained(error, settings, options) from error
        yield consumer
    finally:
        # The process ends now: what does not stop in time is nobody's business any more.
        with contextlib.suppress(KafkaError, TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await consumer.stop()


async def _begin(
    consumer: AIOKafkaConsumer,
    names: Sequence[str],
    begin: datetime | None,
    from_beginning: bool,
) -> None:
    """Have every partition of these topics read from where it is to begin."""
    places = []
    for name in names:
        # Assigning learns nothing about topics: without this there would be no leader to ask.
        await consumer._client._wait_on_metadata(name)  # noqa: SLF001
        places += [
            TopicPartition(name, number) for number in consumer.partitions_for_topic(name) or ()
        ]
    consumer.assign(places)
    if begin is None:
        await (consumer.seek_to_beginning if from_beginning else consumer.seek_to_end)(*places)
        return
    wanted = dict.fromkeys(places, int(begin.timestamp() * 1000))
    for place, found in (await consumer.offsets_for_times(wanted)).items():
        if found is None:
            await consumer.seek_to_end(place)
        else:
            consumer.seek(place, found.offset)
