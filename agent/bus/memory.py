"""The bus in one process: the contract of Kafka without its durability."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Sequence
from typing import Final

import structlog

from agent.bus.partition import partition_of
from agent.bus.pauses import Pauses
from agent.bus.port import Receive, Record
from agent.clock import Clock
from agent.errors import Refused, Unavailable

log = structlog.get_logger(__name__)

PARTITIONS: Final = 8
CAPACITY: Final = 10_000
"""Records of one topic that wait; publishing into a full topic is Unavailable."""
KEPT: Final = 1_000
"""Records of a topic that stay to be looked at after they are consumed, and records of a partition that
wait for a first consumer: like a broker's retention, the oldest go."""


class MemoryBus:
    """Topics with partitions, ordered a key, redelivered until received.

    Args:
        partitions: of each topic.
    """

    durable = False

    def __init__(
        self, clock: Clock, *, partitions: int = PARTITIONS, capacity: int = CAPACITY
    ) -> None:
        self._clock = clock
        self._partitions = partitions
        self._capacity = capacity
        self._waiting: dict[tuple[str, int], deque[Record]] = defaultdict(deque)
        self._offsets: dict[tuple[str, int], int] = defaultdict(int)
        self._arrived: dict[tuple[str, int], asyncio.Event] = defaultdict(asyncio.Event)
        self._consumed: set[str] = set()
        self.committed: dict[tuple[str, int], int] = {}
        """Next offset by topic and partition: all before it were received."""
        self.kept: dict[str, deque[Record]] = defaultdict(lambda: deque(maxlen=KEPT))

    async def publish(self, record: Record) -> None:
        if record.key is None and record.value is None:
            raise Refused("a record needs a key or a value", field=record.topic)
        partition = partition_of(record.key, self._partitions) if record.key else 0
        place = (record.topic, partition)
        waiting = self._waiting[place]
        if record.topic not in self._consumed:
            if len(waiting) >= min(KEPT, self._capacity):
                waiting.popleft()
        elif len(waiting) >= self._capacity:
            raise Unavailable(f"topic {record.topic} is full ({self._capacity} records wait)")
        stored = Record(
            topic=record.topic,
            key=record.key,
            value=record.value,
            headers=record.headers,
            partition=partition,
            offset=self._offsets[place],
            published_at=self._clock.now(),
        )
        self._offsets[place] += 1
        self.kept[record.topic].append(stored)
        waiting.append(stored)
        self._arrived[place].set()

    def declare(self, topics: Sequence[str]) -> None:
        """Keep all records of these topics for the consumer that will come; a full topic refuses more."""
        self._consumed.update(topics)

    async def consume(self, topics: Sequence[str], receive: Receive) -> None:
        self.declare(topics)
        async with asyncio.TaskGroup() as group:
            for topic in topics:
                for partition in range(self._partitions):
                    group.create_task(
                        self._drain((topic, partition), receive), name=f"bus {topic}/{partition}"
                    )

    async def aclose(self) -> None:
        self._waiting.clear()

    async def _drain(self, place: tuple[str, int], receive: Receive) -> None:
        pauses = Pauses()
        while True:
            waiting = self._waiting[place]
            if not waiting:
                self._arrived[place].clear()
                await self._arrived[place].wait()
                continue
            record = waiting[0]
            try:
                await receive(record)
            except Unavailable as error:
                pause = pauses.after(error)
                log.warning(
                    "bus.later", topic=place[0], partition=place[1], seconds=pause, error=str(error)
                )
                await self._clock.sleep(pause)
                continue
            pauses = Pauses()
            waiting.popleft()
            self.committed[place] = record.offset + 1
