"""Core Events on Rollouts and AnalysisRuns, with Argo's reasons in Argo's order: best effort, never in the way of a
weight."""

import asyncio
import zlib
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final

import structlog

from agent.api.meta import Key, Object
from agent.api.names import API_VERSION
from agent.api.times import format_time
from agent.clock import Clock
from agent.cluster.port import KINDS, Cluster
from agent.errors import SerinusError
from agent.rollout.types import Record

log = structlog.get_logger(__name__)

TakeRecords = Callable[[Object, Sequence[Record]], None]
"""Takes core Events about an object, to be written later; never waits."""

LINES: Final = 4
"""Events of one object go down one line, so their order stays."""
MAX_WAITING: Final = 2000
COMPONENT: Final = "serinus"
MAX_MESSAGE: Final = 1024


class Recorder:
    """Writes core Events in the background, with the routine budget.

    Args:
        counted: called with "ok", "failed" or "dropped" for every record.
    """

    def __init__(
        self,
        cluster: Cluster,
        clock: Clock,
        *,
        counted: Callable[[str], None] = lambda _result: None,
    ) -> None:
        self._cluster = cluster
        self._clock = clock
        self._counted = counted
        self._sequence = 0
        self._lines: tuple[asyncio.Queue[Object], ...] = tuple(
            asyncio.Queue(MAX_WAITING) for _ in range(LINES)
        )

    def record(self, about: Object, records: Sequence[Record]) -> None:
        """Take records to be written; never waits."""
        for record in records:
            self._sequence += 1
            event = core_event(about, record, self._clock.now(), self._sequence)
            line = self._lines[zlib.crc32(str(Key.of(about)).encode()) % LINES]
            try:
                line.put_nowait(event)
            except asyncio.QueueFull:
                self._counted("dropped")
                log.warning("record.dropped", object=str(Key.of(about)), reason=record.reason)

    async def run(self) -> None:
        """Writes until cancelled."""
        async with asyncio.TaskGroup() as group:
            for line in self._lines:
                group.create_task(self._write(line))

    async def flush(self, deadline_seconds: float) -> bool:
        """Wait until everything taken so far is written or given up; whether it was in time."""
        try:
            async with asyncio.timeout(deadline_seconds):
                for line in self._lines:
                    await line.join()
        except TimeoutError:
            return False
        return True

    async def _write(self, line: asyncio.Queue[Object]) -> None:
        while True:
            event = await line.get()
            try:
                await self._cluster.create(KINDS["Event"], event)
                self._counted("ok")
            except SerinusError as error:
                self._counted("failed")
                log.warning("record.failed", reason=event["reason"], error=str(error))
            finally:
                line.task_done()


def core_event(about: Object, record: Record, now: datetime, sequence: int) -> dict[str, Any]:
    """A core/v1 Event about the Rollout or AnalysisRun; `sequence` makes its name unique in this process."""
    metadata = about["metadata"]
    key, at = Key.of(about), format_time(now)
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "namespace": key.namespace,
            "name": f"{key.name}.{int(now.timestamp() * 1_000_000):x}{sequence % 0x10000:04x}",
        },
        "involvedObject": {
            "apiVersion": API_VERSION,
            "kind": about["kind"],
            "namespace": key.namespace,
            "name": key.name,
            "uid": metadata.get("uid", ""),
            "resourceVersion": metadata.get("resourceVersion", ""),
        },
        "reason": record.reason,
        "message": record.message[:MAX_MESSAGE],
        "type": record.type,
        "source": {"component": COMPONENT},
        "firstTimestamp": at,
        "lastTimestamp": at,
        "count": 1,
    }
