"""An abort beside another engine: its cause and the intent; the engine takes the weight off.

The cause goes first, as a note on the Rollout, so that everybody who sees the abort can tell why. That it
could not be written is no reason not to abort.
"""

from dataclasses import dataclass
from datetime import datetime

import msgspec
import structlog

from agent.api.meta import Key, Object, Ref, Struct
from agent.api.names import CONCLUDED
from agent.api.times import format_time_ms
from agent.clock import Clock
from agent.engine.aborts import AbortIntent, AbortRun
from agent.engine.crash_points import Reach
from agent.engine.notes import Notes, noted
from agent.engine.observe import Objects
from agent.engine.outbox import bounded
from agent.engine.port import Outcome
from agent.engine.write import Writer, version_of
from agent.errors import Conflict, SerinusError
from agent.events.catalogue import Cause, Expect, Timings
from agent.rollout.operator import ABORT

log = structlog.get_logger(__name__)


class Conclusion(Struct):
    """The note: why the revision was aborted, and when that was decided."""

    cause: Cause
    decided_at: str = ""

    @property
    def timings(self) -> Timings:
        """As announcements carry them. When the route was written only the engine knows."""
        return Timings(
            cause_started_at=self.cause.started_at,
            received_at=self.cause.received_at,
            decided_at=self.decided_at or None,
        )


def conclusion_of(rollout: Object) -> Conclusion | None:
    """The note on a Rollout, if it is about its current revision."""
    text = noted(rollout, CONCLUDED)
    try:
        return msgspec.json.decode(text, type=Conclusion) if text else None
    except msgspec.MsgspecError:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class AbortByIntent:
    """What the runs work with."""

    writer: Writer
    objects: Objects
    clock: Clock
    notes: Notes
    reach: Reach

    def begin(self, key: Key, cause: Cause, expect: Expect | None) -> AbortRun:
        """The run of one abort."""
        return _Run(self, key, cause, expect, self.clock.now())


class _Run:
    def __init__(
        self,
        path: AbortByIntent,
        key: Key,
        cause: Cause,
        expect: Expect | None,
        decided_at: datetime,
    ) -> None:
        self._path = path
        self._key = key
        self._ref = Ref("Rollout", *key)
        self._cause = cause
        self._expect = expect
        self._decided_at = decided_at

    async def write_intent(self) -> Outcome:
        path = self._path
        intent = AbortIntent(path.writer, path.objects, path.clock, path.reach)
        outcome = await intent.store(self._key, self._swap, self._expect)
        if outcome.result == "done":
            log.warning(
                "rollout.abort_asked",
                cause=self._cause.kind,
                summary=self._cause.summary,
                seconds=(path.clock.now() - self._decided_at).total_seconds(),
            )
        return outcome

    async def take_off(self, *, announce: bool) -> None:
        """Nothing: the engine that drives does it, and what becomes of it is told when it is seen."""

    async def _swap(self, rollout: Object) -> None:
        path = self._path
        version = await self._note_cause(rollout)
        path.reach("companion-after-cause")
        (patch,) = ABORT.patches
        await path.writer.status(self._key, patch.body["status"], version, urgent=True)

    async def _note_cause(self, rollout: Object) -> str:
        """Put the cause onto the Rollout; its version then. Raises Conflict."""
        version = version_of(rollout)
        conclusion = Conclusion(
            cause=bounded(self._cause), decided_at=format_time_ms(self._decided_at)
        )
        text = msgspec.json.encode(conclusion).decode()
        written = self._path.notes.note(rollout, {CONCLUDED: text})
        if written is None or noted(rollout, CONCLUDED) == text:
            return version
        try:
            for patch in written.patches:
                metadata = {**patch.body["metadata"], "resourceVersion": version}
                body = {**patch.body, "metadata": metadata}
                version = version_of(await self._path.writer.metadata(self._ref, body, urgent=True))
        except Conflict:
            raise
        except SerinusError as error:
            log.warning("abort.cause_not_kept", error=str(error))
        return version
