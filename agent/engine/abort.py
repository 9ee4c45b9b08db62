"""The abort path: the intent on the Rollout, the weight off the route, the word to everybody.

It does not queue in the lane and does not pass through `decide`, so it works in a storm, in quarantine and on
every replica. Intent first: the swap on the Rollout is the fence of what follows, and whatever dies after it,
the next pass of the owner ends the job. It stays active until weight 0 was read after its intent; a pass that
had read before it may still raise once, and that raise is taken back from both sides.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec
import structlog

from agent.api.meta import Key, Object, Ref
from agent.api.names import PROGRESSING
from agent.api.times import format_time, format_time_ms
from agent.clock import Clock
from agent.engine.aborts import TRIES, AbortIntent, AbortRun
from agent.engine.crash_points import Reach
from agent.engine.observe import Objects, Observer
from agent.engine.outlet import Outlet
from agent.engine.port import Outcome
from agent.engine.records import TakeRecords
from agent.engine.revision import event_data, revision_number
from agent.engine.rollback import Rollback, Taken
from agent.engine.write import Writer, version_of
from agent.errors import Conflict
from agent.events.catalogue import Cause, Expect, Timings, Transition, Weights
from agent.rollout.types import Announcement, Record

log = structlog.get_logger(__name__)

REASON: Final = "RolloutAborted"


@dataclass(frozen=True, slots=True, kw_only=True)
class AbortPath:
    """What the runs of the abort path work with.

    Attributes:
        outlet: None when nobody listens.
        timed: called with the seconds from the decision to the route's write (a metric).
    """

    writer: Writer
    objects: Objects
    observer: Observer
    clock: Clock
    outlet: Outlet | None
    recorder: TakeRecords
    reach: Reach
    timed: Callable[[float], None] = lambda _seconds: None

    def begin(self, key: Key, cause: Cause, expect: Expect | None) -> AbortRun:
        """The run of one abort."""
        return _Run(self, key, cause, expect, self.clock.now())


class _Run:
    """One abort under way."""

    def __init__(
        self,
        path: AbortPath,
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
        self._weight_before = 0

    async def write_intent(self) -> Outcome:
        """Put the abort onto the object by compare-and-swap, with `aborted` in the outbox."""
        path = self._path
        intent = AbortIntent(path.writer, path.objects, path.clock, path.reach)
        outcome = await intent.store(self._key, self._swap, self._expect)
        if outcome.result == "done":
            log.warning("rollout.aborted", cause=self._cause.kind, summary=self._cause.summary)
        return outcome

    async def take_off(self, *, announce: bool) -> None:
        """Bring the weight down, then store that it is. `announce`: this run wrote the intent."""
        path = self._path
        rollout = path.objects.get(self._ref)
        if rollout is None:
            return
        rollback = Rollback(path.writer, path.objects, path.observer, path.clock)
        taken = await rollback.take_off(rollout)
        at = taken.written_at or path.clock.now()
        path.reach("abort-after-route")
        if taken.done or taken.shelter:
            path.timed((at - self._decided_at).total_seconds())
            log.warning(
                "rollout.taken_off",
                weight_before=self._weight_before,
                shelter=taken.shelter,
                refusal=taken.refusal,
                seconds=(at - self._decided_at).total_seconds(),
            )
        # Whoever wrote the intent tells of its end; recorded by another run it would never be told.
        if taken.done and announce:
            await self._record(("weight", "rolledback"), at, taken)
        elif taken.shelter and announce:
            await self._record(("degraded",), at, taken)
        path.reach("abort-after-record")

    async def _swap(self, rollout: Object) -> None:
        path, now = self._path, self._path.clock.now()
        status = rollout.get("status") or {}
        owned = path.objects.owned("ReplicaSet", str(rollout["metadata"].get("uid", "")))
        number = revision_number(rollout, tuple(owned)) or "?"
        because = f": {self._cause.summary}" if self._cause.summary else ""
        text = f"Rollout aborted update to revision {number}{because}"
        recorded = weight_in(status)
        self._weight_before = before = max(recorded, self._weight_shown(rollout))
        patch: dict[str, Any] = {
            "abort": True,
            "abortedAt": format_time(now),
            "phase": "Degraded",
            "message": f"{REASON}: {text}",
            "conditions": _with_progressing(status, text, now),
        }
        canary = status.get("canary") or {}
        if before > recorded:
            # A raise that no pass has recorded: it goes with the intent, so that whoever takes it off, be it
            # after a death, has an end to tell of.
            patch["canary"] = {"weights": _weights_at(before, status)}
            canary = {**canary, **patch["canary"]}
        if path.outlet is not None:
            after = {**status, **patch, "canary": canary}
            raised = Weights(before=recorded, after=before)
            said = [self._announcement("weight", after, rollout, None, weights=raised)]
            said = said if before > recorded else []
            said.append(self._announcement("aborted", after, rollout, None))
            patch["conditions"] = path.outlet.conditions(self._key, rollout, after, said, now)
        answer = await path.writer.status(self._key, patch, version_of(rollout), urgent=True)
        path.recorder(answer, (Record(reason=REASON, message=text, type="Warning"),))

    async def _record(
        self,
        transitions: tuple[Transition, ...],
        at: datetime,
        taken: Taken,
    ) -> None:
        """Store the fact with its announcements, unless somebody else has done so."""
        path = self._path
        for _ in range(TRIES):
            rollout = path.objects.get(self._ref)
            status = (rollout or {}).get("status") or {}
            if rollout is None or not status.get("abort"):
                return
            if taken.done and not weight_in(status):
                return
            patch: dict[str, Any] = {}
            if taken.done:
                patch["canary"] = {"weights": _weights_at(0, status)}
            if path.outlet is not None:
                said = tuple(
                    self._announcement(
                        transition,
                        status,
                        rollout,
                        at,
                        weights=Weights(
                            before=self._weight_before,
                            after=0 if taken.done else self._weight_before,
                        ),
                        message=taken.message,
                    )
                    for transition in transitions
                )
                patch["conditions"] = path.outlet.conditions(self._key, rollout, status, said, at)
            if not patch:
                return
            try:
                await path.writer.status(self._key, patch, version_of(rollout), urgent=True)
            except Conflict:
                continue
            return

    def _weight_shown(self, rollout: Object) -> int:
        """The canary's weight on the routes as the cache has them; 0 without a route that can be read."""
        observer = self._path.observer
        typed, router = observer.typed(rollout), observer.router(rollout)
        if typed is None or router is None:
            return 0
        return router.canary_weight(typed, observer.routes(rollout)) or 0

    def _announcement(
        self,
        transition: Transition,
        status: dict[str, Any],
        rollout: Object,
        at: datetime | None,
        *,
        weights: Weights | None = None,
        message: str = "",
    ) -> Announcement:
        owned = self._path.objects.owned("ReplicaSet", str(rollout["metadata"].get("uid", "")))
        data = event_data({**rollout, "status": status}, tuple(owned))
        cause = self._cause
        return Announcement(
            transition=transition,
            data=msgspec.structs.replace(
                data,
                message=message or data.message,
                weights=weights or Weights(before=self._weight_before, after=self._weight_before),
                cause=cause,
                timings=Timings(
                    cause_started_at=cause.started_at,
                    received_at=cause.received_at,
                    decided_at=format_time_ms(self._decided_at),
                    route_written_at=format_time_ms(at) if at is not None else None,
                ),
            ),
        )


def weight_in(status: dict[str, Any]) -> int:
    """The canary's weight that a status records."""
    weights = (status.get("canary") or {}).get("weights") or {}
    return int((weights.get("canary") or {}).get("weight") or 0)


def _with_progressing(status: dict[str, Any], text: str, now: datetime) -> list[dict[str, Any]]:
    """The conditions with Progressing as Argo sets it for an abort, in its place."""
    conditions = list(status.get("conditions") or ())
    stamp = format_time(now)
    new = {
        "type": PROGRESSING,
        "status": "False",
        "reason": REASON,
        "message": text,
        "lastUpdateTime": stamp,
        "lastTransitionTime": stamp,
    }
    for index, old in enumerate(conditions):
        if old.get("type") == PROGRESSING:
            if old.get("status") == "False" and old.get("lastTransitionTime"):
                new["lastTransitionTime"] = old["lastTransitionTime"]
            conditions[index] = new
            return conditions
    return [*conditions, new]


def _weights_at(weight: int, status: dict[str, Any]) -> dict[str, Any]:
    """Recorded weights, with this one for the canary and the rest for stable."""
    weights = (status.get("canary") or {}).get("weights") or {}
    canary, stable = weights.get("canary") or {}, weights.get("stable") or {}
    total = int(canary.get("weight") or 0) + int(stable.get("weight") or 0)
    return {"canary": {"weight": weight}, "stable": {"weight": max(0, total - weight)}}
