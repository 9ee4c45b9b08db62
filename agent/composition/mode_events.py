"""The event that this process has begun to drive, or to accompany another engine."""

import hashlib
import os
import platform
from typing import Final

import msgspec
import structlog

from agent.api.times import format_time_ms
from agent.bus.port import Bus, Record
from agent.bus.topics import ROLLOUTS
from agent.clock import Clock
from agent.engine.publish import CONTENT_TYPE
from agent.engine.switch import Mode
from agent.errors import SerinusError
from agent.events.catalogue import AGENT_MODE, AgentMode
from agent.events.encode import to_json
from agent.events.event import Event

log = structlog.get_logger(__name__)

TRIES: Final = 3
INSTANCE: Final = "POD_NAME"


class ModeEvents:
    """Publishes `dev.serinus.agent.mode.v1`; best effort, the log and readiness say the same."""

    def __init__(self, bus: Bus, clock: Clock, source: str, instance: str = "") -> None:
        self._bus = bus
        self._clock = clock
        self._source = source
        self._instance = instance or os.environ.get(INSTANCE, "") or platform.node()

    async def tell(self, mode: Mode, reason: str) -> None:
        """Say what this process does from now on."""
        event = self._event(mode, reason)
        record = Record(
            topic=ROLLOUTS,
            key=self._source.encode(),
            value=to_json(event),
            headers=(("content-type", CONTENT_TYPE),),
        )
        for _ in range(TRIES):
            try:
                return await self._bus.publish(record)
            except SerinusError as error:
                log.warning("engine.mode_not_published", error=str(error))
                await self._clock.sleep(1.0)
        return None

    def _event(self, mode: Mode, reason: str) -> Event:
        now = self._clock.now()
        since = format_time_ms(now)
        data = AgentMode(mode=mode, reason=reason, instance=self._instance, since=since)
        identity = f"{self._source}\n{self._instance}\n{mode}\n{since}"
        return Event(
            id=hashlib.sha256(identity.encode()).hexdigest()[:32],
            source=self._source,
            type=AGENT_MODE,
            time=now,
            subject=self._instance,
            datacontenttype="application/json",
            extensions={"partitionkey": self._source},
            data=msgspec.json.encode(data),
        )
