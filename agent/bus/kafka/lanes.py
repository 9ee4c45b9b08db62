"""The records of one partition that are under way: one lane a key, many keys side by side."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

import structlog

from agent.bus.metrics import BusMeter
from agent.bus.offsets import LowWater
from agent.bus.pauses import Pauses
from agent.bus.port import Receive, Record
from agent.errors import Unavailable

log = structlog.get_logger(__name__)

LIMIT: Final = 256
"""Records of one partition that are taken and not done: as many may come again after a crash."""
PARALLEL: Final = 16
"""Records of one partition that are received at the same time."""
CANCEL_SECONDS: Final = 1.0


class _Taken(NamedTuple):
    record: Record
    published_at: float


class PartitionLanes:
    """Receives the records of one partition, those of a key one after the other.

    Args:
        progressed: called after a record was done: there may be more to commit.
    """

    def __init__(
        self,
        receive: Receive,
        progressed: Callable[[], None],
        *,
        meter: BusMeter | None = None,
        limit: int = LIMIT,
        parallel: int = PARALLEL,
    ) -> None:
        self._receive = receive
        self._progressed = progressed
        self._meter = meter or BusMeter()
        self._limit = limit
        self._low_water = LowWater()
        self._queues: dict[bytes | None, deque[_Taken]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._places = asyncio.Semaphore(parallel)
        self._room = asyncio.Event()
        self._room.set()
        self._stopping = asyncio.Event()

    def put(self, record: Record, published_at: float) -> None:
        """Take a record; `published_at` is its time in seconds since the epoch."""
        if self._stopping.is_set():
            return
        self._low_water.taken(record.offset)
        queue = self._queues.get(record.key)
        taken = _Taken(record, published_at)
        if queue is not None:
            queue.append(taken)
        else:
            self._queues[record.key] = deque([taken])
            task = asyncio.get_running_loop().create_task(
                self._lane(record.key), name=f"record {record.topic}/{record.partition}"
            )
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if self.free <= 0:
            self._room.clear()

    def skip(self, offset: int) -> None:
        """Count an offset as done that never was a record for us."""
        self._low_water.taken(offset)
        self._low_water.done(offset)
        self._progressed()

    def passed(self, offset: int) -> None:
        """What is before this offset and was not put here, is no record for us."""
        before = self.mark
        # While it stops nothing is taken any more: what is missing then would be lost.
        if not self._stopping.is_set():
            self._low_water.passed(offset)
        if self.mark != before:
            self._progressed()

    async def room(self) -> None:
        """Wait until another record may be taken."""
        await self._room.wait()

    @property
    def free(self) -> int:
        """How many records may be taken now."""
        return self._limit - self._low_water.under_way

    @property
    def mark(self) -> int | None:
        """The offset that may be committed; None before any record was taken or passed."""
        return self._low_water.mark

    @property
    def oldest(self) -> float | None:
        """When the oldest record under way was published; None when none is under way."""
        return min(
            (queue[0].published_at for queue in self._queues.values() if queue), default=None
        )

    async def stop(self, seconds: float) -> bool:
        """Begin nothing more and wait for what is being received; whether all of it ended by itself.

        What is cut off was not done: it comes again, here or elsewhere.
        """
        self._stopping.set()
        if not self._tasks:
            return True
        _, late = await asyncio.wait(tuple(self._tasks), timeout=seconds)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=CANCEL_SECONDS)
        return not late

    async def _lane(self, key: bytes | None) -> None:
        queue = self._queues[key]
        while queue and await self._received(queue[0].record):
            self._low_water.done(queue.popleft().record.offset)
            self._room.set()
            self._progressed()
        if not queue:
            del self._queues[key]

    async def _received(self, record: Record) -> bool:
        """Receive it until it is done; False when this partition stops before that."""
        pauses = Pauses()
        while not self._stopping.is_set():
            try:
                async with self._places:
                    if self._stopping.is_set():
                        return False
                    await self._receive(record)
            except Unavailable as error:
                pause, reason = pauses.after(error), str(error)
            except Exception as error:
                # A receiver dead-letters what it cannot use, so this is a bug of ours. To end here would
                # lose the record for good; to end the consumer would stop everybody else.
                log.exception("bus.receiver_failed", topic=record.topic, offset=record.offset)
                pause, reason = pauses.further(), repr(error)
            else:
                self._meter.consumed(record.topic, "done")
                return True
            self._meter.consumed(record.topic, "later")
            log.warning(
                "bus.later",
                topic=record.topic,
                partition=record.partition,
                offset=record.offset,
                seconds=pause,
                error=reason,
            )
            await self._pause(pause)
        return False

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return
