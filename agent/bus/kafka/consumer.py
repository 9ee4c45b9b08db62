"""Records in: one topic, by a group and a connection of its own."""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from agent.bus.kafka.connection import ISOLATION, STOP_SECONDS, disconnecting
from agent.bus.kafka.lanes import PartitionLanes
from agent.bus.kafka.open_transactions import TOLD_AFTER_SECONDS, OpenTransactions
from agent.bus.kafka.reader import Bury, Reader
from agent.bus.metrics import Backlog, BusMeter
from agent.bus.port import Receive
from agent.settings import BusSettings

log = structlog.get_logger(__name__)

JOIN_SECONDS: Final = 45.0
"""To connect and to get a share: the others have REBALANCE_SECONDS to let go, and may just have died."""
REBALANCE_SECONDS: Final = 20.0
DRAIN_SECONDS: Final = 5.0
"""For what is being received when partitions go; with the commit it must fit into REBALANCE_SECONDS."""
COMMIT_SECONDS: Final = 3.0
COMMIT_PAUSE_SECONDS: Final = 0.1
SILENT_SECONDS: Final = 60.0
"""Without any answer to a fetch a consumer is replaced: aiokafka's may stop without an error (its issue 1037)."""
WATCH_SECONDS: Final = 1.0
NEVER_MS: Final = 2**31 - 1

Assigned = Callable[[frozenset[int], int], None]
"""Called with the partitions that are ours now, and how many the topic has."""


class Lost(Exception):
    """This consumer is of no use any more; another one must take its place."""


class Session(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """One life of one aiokafka consumer.

    Args:
        bury: has an unreadable record dead-lettered before it is passed over.
        assigned: called when the group has shared out the partitions.
        instance: id of a static member; None for an ordinary one.
    """

    def __init__(
        self,
        settings: BusSettings,
        options: Mapping[str, Any],
        *,
        topic: str,
        group: str,
        receive: Receive,
        bury: Bury,
        assigned: Assigned,
        meter: BusMeter,
        instance: str | None = None,
    ) -> None:
        self._topic = topic
        self._receive = receive
        self._bury = bury
        self._assigned = assigned
        self._meter = meter
        self._readers: dict[TopicPartition, Reader] = {}
        self._committed: dict[TopicPartition, int] = {}
        self._open = OpenTransactions()
        self._progress = asyncio.Event()
        self._failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._closing = False
        self.joined = False
        session_ms = int(settings.session_timeout_seconds * 1000)
        self._consumer = AIOKafkaConsumer(
            group_id=group,
            group_instance_id=instance,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            # What its producer has taken back must not stop a release.
            isolation_level=ISOLATION,
            session_timeout_ms=session_ms,
            heartbeat_interval_ms=int(settings.heartbeat_seconds * 1000),
            rebalance_timeout_ms=max(session_ms, int(REBALANCE_SECONDS * 1000)),
            # Whether work goes on is seen by the backlog. A dependency that is down must not make all replicas
            # leave the group, which is what aiokafka does when nothing is fetched for this time.
            max_poll_interval_ms=NEVER_MS,
            partition_assignment_strategy=(StickyPartitionAssignor,),
            **options,
        )

    async def run(self) -> None:
        """Consumes until cancelled; ends in order then. Raises Lost, or what the client failed with."""
        helpers: list[asyncio.Task[None]] = []
        try:
            self._consumer.subscribe([self._topic], listener=self)
            async with asyncio.timeout(JOIN_SECONDS):
                await self._consumer.start()
            helpers = [
                asyncio.create_task(self._commit_on_progress(), name=f"commit {self._topic}"),
                asyncio.create_task(self._watch(), name=f"watch {self._topic}"),
            ]
            ended, _ = await asyncio.wait(
                {self._failure, *helpers}, return_when=asyncio.FIRST_COMPLETED
            )
            for end in ended:
                end.result()
        finally:
            self._closing = True
            for helper in (self._failure, *helpers):
                helper.cancel()
            await asyncio.wait({self._failure, *helpers})
            await self._let_go(tuple(self._readers))
            await _stop(self._consumer)

    def backlog(self) -> list[Backlog]:
        """How far behind the partitions are that are ours."""
        now, found = time.time(), []
        for place, reader in self._held():
            end, held = self._consumer.highwater(place), self._held_back(place)
            mark = reader.lanes.mark
            oldest = reader.lanes.oldest
            found.append(
                Backlog(
                    topic=place.topic,
                    partition=place.partition,
                    records=0
                    if end is None
                    else max(0, end - (reader.begin if mark is None else mark)),
                    held=held,
                    oldest_seconds=0.0 if oldest is None else max(0.0, now - oldest),
                )
            )
        return found

    def silent_seconds(self) -> float:
        """How long no fetch was answered, of those partitions that want records; 0 when none does."""
        now, waiting = time.time(), []
        for place, reader in self._held():
            if reader.reading_since is not None:
                answered = (self._consumer.last_poll_timestamp(place) or 0) / 1000
                waiting.append(now - max(answered, reader.reading_since))
        return max(0.0, min(waiting, default=0.0))

    def _held(self) -> list[tuple[TopicPartition, Reader]]:
        ours = self._consumer.assignment()
        return [(place, reader) for place, reader in self._readers.items() if place in ours]

    def _held_back(self, place: TopicPartition) -> int:
        """Offsets behind the last stable one: they come when the transaction that is open there ends."""
        end, stable = self._consumer.highwater(place), self._consumer.last_stable_offset(place)
        return 0 if end is None or stable is None else max(0, end - stable)

    # The listener. aiokafka logs and forgets what these raise, and waits for them before it joins again.

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Finish what is being received, commit it, forget the rest."""
        if revoked:
            await self._let_go(tuple(place for place in revoked if place in self._readers))

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Read the partitions that are ours now."""
        if self._closing:
            return
        for place in sorted(assigned):
            lanes = PartitionLanes(self._receive, self._progress.set, meter=self._meter)
            reader = Reader(
                self._consumer, place, lanes, self._bury, self._meter, failed=self._fail
            )
            self._readers[place] = reader
            reader.start()
        self._committed = {}
        self.joined = True
        self._meter.rebalanced(self._topic)
        partitions = self._consumer.partitions_for_topic(self._topic) or set()
        log.info(
            "bus.assigned", topic=self._topic, partitions=sorted(p.partition for p in assigned)
        )
        self._assigned(frozenset(place.partition for place in assigned), len(partitions))

    async def _let_go(self, places: tuple[TopicPartition, ...]) -> None:
        readers = {place: self._readers[place] for place in places}
        if not readers:
            return
        began = time.monotonic()
        clean = await asyncio.gather(*(reader.stop(DRAIN_SECONDS) for reader in readers.values()))
        await self._commit(readers)
        for place in places:
            self._readers.pop(place, None)
        log.info(
            "bus.revoked",
            topic=self._topic,
            partitions=sorted(place.partition for place in places),
            clean=all(clean),
            seconds=round(time.monotonic() - began, 3),
        )

    async def _commit_on_progress(self) -> None:
        while True:
            await self._progress.wait()
            self._progress.clear()
            if not await self._commit(self._readers):
                self._progress.set()
            await asyncio.sleep(COMMIT_PAUSE_SECONDS)

    async def _commit(self, readers: Mapping[TopicPartition, Reader]) -> bool:
        """Commit what is done; whether it need not be tried again."""
        marks = {
            place: reader.lanes.mark
            for place, reader in readers.items()
            if reader.lanes.mark is not None and reader.lanes.mark != self._committed.get(place)
        }
        if not marks:
            return True
        try:
            async with asyncio.timeout(COMMIT_SECONDS):
                await self._consumer.commit(marks)
        except (CommitFailedError, IllegalStateError):
            # The group has shared out anew meanwhile: the records come again, wherever they are now.
            log.info("bus.commit_too_late", topic=self._topic, partitions=len(marks))
            return True
        except (KafkaError, OSError) as error:
            log.warning("bus.not_committed", topic=self._topic, error=str(error) or repr(error))
            return False
        self._committed.update(marks)
        return True

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            self._tell_open_transactions()
            silent = self.silent_seconds()
            if silent > SILENT_SECONDS:
                raise Lost(f"no fetch was answered for {silent:.0f} s")

    def _tell_open_transactions(self) -> None:
        held = [place for place, _ in self._held() if self._held_back(place)]
        stable = {place.partition: self._consumer.last_stable_offset(place) for place in held}
        for partition in self._open.overdue(stable, time.monotonic()):
            log.warning(
                "bus.transaction_open",
                topic=self._topic,
                partition=partition,
                offset=stable[partition],
                seconds=TOLD_AFTER_SECONDS,
            )

    def _fail(self, error: Exception) -> None:
        if not self._failure.done():
            self._failure.set_exception(error)


async def _stop(consumer: AIOKafkaConsumer) -> None:
    """Leave the group and disconnect; without brokers that may hang, so it has a deadline."""
    async with disconnecting(consumer._client):  # noqa: SLF001 - it has no public handle
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await consumer.stop()
        except TimeoutError:
            log.warning("bus.stop_hung", part="consumer")
            await _abandon(consumer)
        except KafkaError as error:
            log.debug("bus.stop_failed", error=repr(error))


async def _abandon(consumer: AIOKafkaConsumer) -> None:
    """End the tasks of a consumer that does not stop. They have no public handle."""
    coordinator, fetcher = consumer._coordinator, consumer._fetcher  # noqa: SLF001
    if coordinator is not None:
        coordinator._coordination_task.cancel()  # noqa: SLF001
        await asyncio.wait({coordinator._coordination_task}, timeout=STOP_SECONDS)  # noqa: SLF001
    if fetcher is not None:
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await fetcher.close()
        except (KafkaError, TimeoutError) as error:
            log.debug("bus.stop_failed", error=repr(error))
