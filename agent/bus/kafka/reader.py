"""One partition off the brokers into its lanes, past what cannot be read."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import (
    ConsumerStoppedError,
    CorruptRecordException,
    KafkaError,
    RecordTooLargeError,
    UnsupportedCodecError,
)

from agent.bus.kafka.lanes import PartitionLanes
from agent.bus.metrics import BusMeter
from agent.bus.pauses import Pauses
from agent.bus.port import Record
from agent.errors import SerinusError

log = structlog.get_logger(__name__)

POLL_MS: Final = 1_000
BATCH: Final = 100
RETRY_SECONDS: Final = 0.2
TRIES: Final = 4
"""Times a record is read before it counts as unreadable: a broken byte on the wire is none on the disk."""

_UNREADABLE: Final = (CorruptRecordException, UnsupportedCodecError, RecordTooLargeError)
_CLIENT: Final = (KafkaError, ConsumerStoppedError, OSError)

Bury = Callable[[Record, str], Awaitable[None]]
"""Dead-letters a record with the reason. Raises Unavailable: then it must not be passed over."""


class Reader:
    """Reads one partition while it is ours.

    Args:
        failed: called when the whole consumer is of no use any more.
    """

    def __init__(
        self,
        consumer: AIOKafkaConsumer,
        place: TopicPartition,
        lanes: PartitionLanes,
        bury: Bury,
        meter: BusMeter,
        *,
        failed: Callable[[Exception], None],
    ) -> None:
        self.lanes = lanes
        self.begin = 0
        """The first offset that is ours to receive."""
        self.reading_since: float | None = None
        """Wall time (as aiokafka's own) since when records are asked for; None while the lanes are full."""
        self._consumer = consumer
        self._place = place
        self._bury = bury
        self._meter = meter
        self._failed = failed
        self._task: asyncio.Task[None] | None = None
        self._careful = False
        self._stuck_at = self._buried = -1
        self._tries = 0

    def start(self) -> None:
        """Begin; `stop` ends it."""
        self._task = asyncio.get_running_loop().create_task(
            self._run(), name=f"read {self._place.topic}/{self._place.partition}"
        )

    async def stop(self, seconds: float) -> bool:
        """Read no more and let the lanes finish what they have begun; whether they did."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        return await self.lanes.stop(seconds)

    async def _run(self) -> None:
        try:
            self.reading_since = time.time()
            self.begin = await self._consumer.position(self._place)
            while True:
                if self.lanes.free <= 0:
                    self.reading_since = None
                    await self.lanes.room()
                    self.reading_since = time.time()
                for record in await self._read():
                    self.lanes.put(record_of(record), record.timestamp / 1000)
                if not self._careful:
                    await self._pass_nobodys()
        except (KafkaError, ConsumerStoppedError) as error:
            self._failed(error)
        except Exception as error:
            log.exception("bus.reader_failed", topic=self._place.topic)
            self._failed(error)

    async def _pass_nobodys(self) -> None:
        """Commit past what aiokafka leaves out: markers of transactions and aborted records.

        Else they would count as lag, and be read again at each start, until the next record comes.
        """
        position = await self._consumer.position(self._place)
        if position > self.begin:
            self.lanes.passed(position)

    async def _read(self) -> list[ConsumerRecord]:
        """The next records, [] when there are none yet.

        When a batch is broken aiokafka throws away the good records that it fetched before it. So they are
        read one by one first, until the broken one is the very next.
        """
        limit = 1 if self._careful else min(BATCH, self.lanes.free)
        try:
            fetched = await self._consumer.getmany(
                self._place, timeout_ms=POLL_MS, max_records=limit
            )
        except Exception as error:
            if not is_unreadable(error):
                raise
            await self._unreadable(error)
            return []
        records: list[ConsumerRecord] = fetched.get(self._place, [])
        if not records or self._buried >= 0:
            self._careful, self._buried = False, -1
        return records

    async def _unreadable(self, error: Exception) -> None:
        """Read again a few times; then pass over the one record that is next."""
        if not self._careful:
            self._careful = True
            return
        offset = await self._consumer.position(self._place)
        passed = isinstance(error, RecordTooLargeError)
        if passed:
            # aiokafka has gone past it already.
            offset -= 1
        if offset != self._stuck_at:
            known = passed or offset == self._buried + 1
            self._stuck_at, self._tries = offset, TRIES if known else 0
        self._tries += 1
        if self._tries < TRIES:
            await asyncio.sleep(RETRY_SECONDS)
            return
        await self._pass_over(offset, f"unreadable: {type(error).__name__}: {error}")
        if not passed:
            self._consumer.seek(self._place, offset + 1)

    async def _pass_over(self, offset: int, reason: str) -> None:
        """Say that this record was left out, durably, and only then count it as done."""
        topic, partition = self._place.topic, self._place.partition
        log.error("bus.unreadable", topic=topic, partition=partition, offset=offset, reason=reason)
        self._meter.unreadable(topic, reason.split(": ")[1])
        # Its bytes stay where they are: the dead letter names the place.
        record = Record(topic=topic, value=b"", partition=partition, offset=offset)
        pauses = Pauses()
        while True:
            try:
                await self._bury(record, reason)
                break
            except SerinusError as error:
                log.warning("bus.dead_letter_later", topic=topic, error=str(error))
                await asyncio.sleep(pauses.further())
        self.lanes.skip(offset)
        self._buried = offset


def is_unreadable(error: Exception) -> bool:
    """Whether it is the record, and not the connection: decompression fails with what its codec raises."""
    return isinstance(error, _UNREADABLE) or not isinstance(error, _CLIENT)


def record_of(record: ConsumerRecord) -> Record:
    """The record as the port knows it."""
    return Record(
        topic=record.topic,
        key=record.key,
        value=record.value,
        headers=tuple(record.headers),
        partition=record.partition,
        offset=record.offset,
        published_at=_moment(record.timestamp),
    )


def _moment(milliseconds: int) -> datetime | None:
    """A record's time; whoever publishes may state any number, or -1 for none."""
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC) if milliseconds >= 0 else None
    except (OverflowError, OSError, ValueError):
        return None
