"""Records out: idempotent, acknowledged by all replicas, and never waited for past a deadline."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
)

from agent.bus.kafka.connection import START_SECONDS, STOP_SECONDS, disconnecting, explained
from agent.bus.kafka.topics import MAX_DEAD_LETTER
from agent.bus.metrics import BusMeter
from agent.bus.port import Record
from agent.errors import Refused, SerinusError, Unavailable
from agent.settings import BusSettings

log = structlog.get_logger(__name__)

MAX_UNFINISHED: Final = 1_000
"""Sends without an acknowledgment; more would wait for nothing and only fill the memory."""
STUCK_SECONDS: Final = 60.0
"""A client whose oldest send is older is replaced: aiokafka's may never recover (its issue 1017)."""
METADATA_SECONDS: Final = 2.0
_TOO_LARGE: Final = (MessageSizeTooLargeError, RecordListTooLargeError)


class _Link:
    """One client and the sends that wait for it."""

    def __init__(self, client: AIOKafkaProducer) -> None:
        self.client = client
        self.sends: set[asyncio.Task[None]] = set()


class Producer:
    """Publishes records; connects when it is first needed, and anew when its client is of no use any more.

    An idempotent send cannot be called back: one that missed its deadline goes on in a task of ours, so its
    record may still come. Whoever publishes it again publishes the same id.
    """

    def __init__(
        self, settings: BusSettings, options: Mapping[str, Any], *, meter: BusMeter | None = None
    ) -> None:
        self._settings = settings
        self._options = options
        self._meter = meter or BusMeter()
        self._link: _Link | None = None
        self._connecting: asyncio.Task[_Link] | None = None
        self._sends: dict[asyncio.Task[None], float] = {}
        self._ends: set[asyncio.Task[None]] = set()
        self._closed = False
        self.trouble = ""
        """What was in the way of the last attempt to connect; "" when it went well."""

    async def publish(self, record: Record) -> None:
        """Returns when all replicas that must have it have it.

        Raises Unavailable within `publish_seconds` (outcome unknown), Refused for what no broker takes.
        """
        loop = asyncio.get_running_loop()
        began, result = loop.time(), "unavailable"
        try:
            await self._publish(record)
            result = "ok"
        except Refused:
            result = "refused"
            raise
        finally:
            self._meter.published(record.topic, result, loop.time() - began)

    async def connect(self) -> None:
        """Connect now. Raises Unavailable with what to check."""
        await self._linked()

    async def aclose(self, seconds: float) -> None:
        """Wait for the acknowledgments that are still out, then let go. Bounded."""
        self._closed = True
        if self._sends:
            await asyncio.wait(tuple(self._sends), timeout=seconds)
        if self._sends:
            log.warning("bus.sends_given_up", records=len(self._sends))
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait({self._connecting})
        if self._link is not None:
            self._retire(self._link, "closed")
        if self._ends:
            await asyncio.wait(tuple(self._ends))
        for task in tuple(self._sends):
            task.cancel()
        if self._sends:
            await asyncio.wait(tuple(self._sends))

    @property
    def unfinished(self) -> int:
        """Sends that wait for their acknowledgment."""
        return len(self._sends)

    async def _publish(self, record: Record) -> None:
        if record.key is None and record.value is None:
            raise Refused("a record needs a key or a value", field=record.topic)
        if self._closed:
            raise Unavailable("the bus is closed")
        self._retire_if_stuck()
        if len(self._sends) >= MAX_UNFINISHED:
            raise Unavailable(f"{len(self._sends)} records wait for the brokers' acknowledgment")
        loop = asyncio.get_running_loop()
        task = loop.create_task(self._send(record), name=f"send {record.topic}")
        self._sends[task] = loop.time()
        task.add_done_callback(self._ended)
        # Not wait_for: it would cancel the task, which undoes nothing.
        await asyncio.wait({task}, timeout=self._settings.publish_seconds)
        if not task.done():
            raise Unavailable(
                f"topic {record.topic}: no acknowledgment within {self._settings.publish_seconds:g} s, "
                f"the record may still come{f' ({self.trouble})' if self.trouble else ''}"
            )
        if task.cancelled():
            raise Unavailable(f"topic {record.topic}: given up, the record may still come")
        task.result()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._sends.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            # Its publisher may be gone by now.
            log.debug("bus.send_failed", error=str(error))

    async def _send(self, record: Record) -> None:
        link = await self._linked()
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine of ours always runs in one
        link.sends.add(task)
        try:
            await self._send_by(link, record)
        finally:
            link.sends.discard(task)

    async def _send_by(self, link: _Link, record: Record) -> None:
        large = f"the record is too large ({len(record.value or b'')} bytes)"
        await self._know(link.client, record.topic)
        try:
            acknowledged = await link.client.send(
                record.topic, record.value, key=record.key, headers=list(record.headers)
            )
        except _TOO_LARGE as error:
            raise Refused(f"{large}: {error}", field=record.topic) from error
        except KafkaTimeoutError as error:
            raise Unavailable(f"topic {record.topic}: the brokers are behind") from error
        except KafkaError as error:
            self._retire(link, type(error).__name__)
            raise Unavailable(f"topic {record.topic}: {error!r}") from error
        try:
            await acknowledged
        except KafkaError as error:
            # Whatever a broker refused has used up a sequence number: the next send of this client to the
            # partition would be out of order. Fenced and closed clients are of no use anyhow.
            self._retire(link, type(error).__name__)
            if isinstance(error, _TOO_LARGE):
                raise Refused(f"{large}: {error}", field=record.topic) from error
            raise Unavailable(f"topic {record.topic}: {error!r}") from error

    async def _know(self, client: AIOKafkaProducer, topic: str) -> None:
        """Fail at once for a topic that does not exist; aiokafka would ask on for its request timeout."""
        cluster = client.client.cluster
        try:
            async with asyncio.timeout(METADATA_SECONDS):
                # The first answer may be to a question that was on its way before this topic was part of it.
                for _ in range(2):
                    if cluster.partitions_for_topic(topic) is not None:
                        return
                    client.client.add_topic(topic)
                    await client.client.force_metadata_update()
        except TimeoutError as error:
            raise Unavailable(f"topic {topic}: the brokers do not say who leads it") from error
        if cluster.partitions_for_topic(topic) is None:
            raise Unavailable(
                f"topic {topic} does not exist or has no leader; `serinus kafka init` creates the topics"
            )

    async def _linked(self) -> _Link:
        if self._link is not None:
            return self._link
        if self._connecting is None:
            self._connecting = asyncio.create_task(self._connect(), name="bus connect")
            self._connecting.add_done_callback(self._connected)
        # Shared by all who wait for it: one that gives up must not take it from the others.
        return await asyncio.shield(self._connecting)

    async def _connect(self) -> _Link:
        client = AIOKafkaProducer(
            acks="all",
            enable_idempotence=True,
            max_request_size=MAX_DEAD_LETTER,
            **self._options,
        )
        try:
            async with asyncio.timeout(START_SECONDS):
                await client.start()
        except (KafkaError, TimeoutError, OSError) as error:
            await _stop(client)
            raise await explained(error, self._settings, self._options) from error
        except BaseException:
            await _stop(client)
            raise
        return _Link(client)

    def _connected(self, task: asyncio.Task[_Link]) -> None:
        self._connecting = None
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            self._link, self.trouble = task.result(), ""
        else:
            self.trouble = str(error) if isinstance(error, SerinusError) else repr(error)
            log.warning("bus.not_connected", error=self.trouble)

    def _retire_if_stuck(self) -> None:
        oldest = min(self._sends.values(), default=None)
        if (
            oldest is not None
            and self._link is not None
            and asyncio.get_running_loop().time() - oldest > STUCK_SECONDS
        ):
            self._retire(self._link, "stuck")

    def _retire(self, link: _Link, reason: str) -> None:
        """Use this client no more. What it has in flight gets a moment to be acknowledged."""
        if self._link is not link:
            return
        self._link = None
        if reason != "closed":
            log.warning("bus.producer_replaced", reason=reason)
            self._meter.rebuilt("producer", reason)
        task = asyncio.create_task(_end(link), name="producer end")
        self._ends.add(task)
        task.add_done_callback(self._ends.discard)


async def _end(link: _Link) -> None:
    await _stop(link.client)
    for task in tuple(link.sends):
        task.cancel()


async def _stop(client: AIOKafkaProducer) -> None:
    """Send what is left and disconnect; without brokers that never ends, so it has a deadline."""
    async with disconnecting(client.client):
        try:
            async with asyncio.timeout(STOP_SECONDS):
                # Not left to `stop`, whose own flush cannot be called back.
                await client.flush()
                await client.stop()
        except TimeoutError:
            log.warning("bus.stop_hung", part="producer")
            await _abandon(client)
        except KafkaError as error:
            log.debug("bus.stop_failed", error=repr(error))


async def _abandon(client: AIOKafkaProducer) -> None:
    """End the sender of a client that does not stop. It has no public handle."""
    client._closed = True  # noqa: SLF001 - else it complains when it is collected
    sender = client._sender.sender_task  # noqa: SLF001
    if sender is not None:
        # The first has it wait for what it has in flight, the second ends that, too.
        for _ in range(2):
            sender.cancel()
            await asyncio.wait({sender}, timeout=STOP_SECONDS / 4)
