"""The bus port on Kafka."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import structlog
from aiokafka.errors import KafkaError

from agent.bus.dead_letter import bury
from agent.bus.kafka.connection import client_options, explained
from agent.bus.kafka.consumer import Assigned, Lost, Session
from agent.bus.kafka.producer import Producer
from agent.bus.kafka.topics import ensure, names
from agent.bus.metrics import Backlog, BusMeter
from agent.bus.pauses import Pauses
from agent.bus.port import Receive, Record
from agent.bus.topics import INBOX
from agent.errors import Unavailable
from agent.settings import BusSettings

log = structlog.get_logger(__name__)

FLUSH_SECONDS: Final = 3.0


class KafkaBus:
    """Implements agent.bus.port.Bus.

    Args:
        assigned: called with the partitions of the inbox that are ours and how many there are.
        instance: id of a static member; None for ordinary members.

    Raises Refused for settings that cannot be used.
    """

    durable = True

    def __init__(
        self,
        settings: BusSettings,
        *,
        assigned: Assigned = lambda _held, _of: None,
        meter: BusMeter | None = None,
        instance: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._settings = settings
        self._options: dict[str, Any] = client_options(settings, environment)
        self._names = names(settings)
        self._assigned = assigned
        self._meter = meter or BusMeter()
        self._instance = instance
        self._producer = Producer(settings, self._options, meter=self._meter)
        self._sessions: dict[str, Session] = {}
        self._joined: set[str] = set()
        self._trouble = ""
        self._checked = False

    async def start(self) -> None:
        """See that the topics are there (or create them), and connect.

        Raises Refused for what a person must mend (a missing topic), Unavailable when no broker answers:
        then everything may be used all the same, and works when one does.
        """
        await self._check()
        await self._producer.connect()

    async def publish(self, record: Record) -> None:
        name = self._names.get(record.topic, record.topic)
        await self._producer.publish(msgspec.structs.replace(record, topic=name))

    async def consume(self, topics: Sequence[str], receive: Receive) -> None:
        async with asyncio.TaskGroup() as group:
            for topic in topics:
                group.create_task(self._consume(topic, receive), name=f"consume {topic}")

    async def aclose(self) -> None:
        await self._producer.aclose(FLUSH_SECONDS)

    def waits_for(self, topics: Sequence[str]) -> str:
        """Which of these topics' groups has not given us a share yet, ever; "" when none."""
        waiting = [topic for topic in topics if topic not in self._joined]
        if not waiting:
            return ""
        trouble = f" ({self._trouble})" if self._trouble else ""
        return f"waits for its share of {', '.join(waiting)}{trouble}"

    def backlog(self) -> list[Backlog]:
        """How far behind the consumed partitions are that are ours."""
        return [entry for session in self._sessions.values() for entry in session.backlog()]

    def silent_seconds(self) -> dict[str, float]:
        """By consumed topic: seconds since the brokers last answered a fetch."""
        return {
            self._names.get(topic, topic): session.silent_seconds()
            for topic, session in self._sessions.items()
        }

    async def _consume(self, topic: str, receive: Receive) -> None:
        """One consumer after the other: whatever ends one, the next takes its place."""
        pauses = Pauses()
        while True:
            before = self._sessions.get(topic)
            try:
                await self._check()
                self._sessions[topic] = self._session(topic, receive)
                await self._sessions[topic].run()
            except (Lost, Unavailable, KafkaError, OSError) as error:
                session = self._sessions.get(topic)
                if session is not None and session is not before and session.joined:
                    pauses = Pauses()
                said: Exception = error
                if not isinstance(error, Lost | Unavailable):
                    said = await explained(error, self._settings, self._options)
                self._trouble, pause = str(said), pauses.further()
                log.warning("bus.consumer_replaced", topic=topic, seconds=pause, error=str(said))
                self._meter.rebuilt("consumer", type(error).__name__)
                await asyncio.sleep(pause)

    def _session(self, topic: str, receive: Receive) -> Session:
        role = topic.rpartition(".")[2]

        def assigned(held: frozenset[int], of: int) -> None:
            self._joined.add(topic)
            self._trouble = ""
            if topic == INBOX:
                self._assigned(held, of)

        return Session(
            self._settings,
            self._options,
            topic=self._names.get(topic, topic),
            group=f"{self._settings.group}.{role}",
            receive=receive,
            bury=self._bury,
            assigned=assigned,
            meter=self._meter,
            instance=self._instance and f"{self._instance}.{role}",
        )

    async def _bury(self, record: Record, reason: str) -> None:
        await bury(self, record, reason)

    async def _check(self) -> None:
        if not self._checked:
            await ensure(self._settings, self._options)
            self._checked = True
