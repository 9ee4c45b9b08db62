"""The abort path: the intent on the Rollout, the weight off the route, the word to everybody.

It does not queue in the lane and does not pass through `decide`, so it works in a storm, in quarantine and on
every replica. Intent first: the swap on the Rollout is the fence of what follows, and whatever dies after it,
the next pass of the owner ends the job. It stays active until weight 0 was read after its intent; a pass that
had read before it may still raise once, and that raise is taken back from both sides.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import msgspec
import structlog

from agent.api.meta import Key, Object, Ref
from agent.api.names import PROGRESSING
from agent.api.times import format_time, format_time_ms
from agent.clock import Clock
from agent.engine.crash_points import Reach
from agent.engine.observe import Objects, Observer
from agent.engine.outlet import Outlet
from agent.engine.port import Outcome
from agent.engine.records import TakeRecords
from agent.engine.revision import event_data, revision_number
from agent.engine.rollback import Rollback, Taken
from agent.engine.write import Writer, version_of
from agent.errors import Conflict, NotFound, SerinusError, Unavailable
from agent.events.catalogue import Cause, Timings, Transition, Weights
from agent.rollout.types import Announcement, Record

log = structlog.get_logger(__name__)

TRIES: Final = 8
DEADLINE_SECONDS: Final = 10.0
RETRY_SECONDS: Final = 0.05
REASON: Final = "RolloutAborted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Aborts:
    """Aborts rollouts, one run at a time each.

    Attributes:
        suspended: keeps a rollout's lane from starting passes, and ends the running one's right to write.
        spawn: starts a task that the engine owns: the caller's cancellation does not stop an abort.
        outlet: None when nobody listens.
        timed: called with the seconds from the decision to the route's write (a metric).
    """

    writer: Writer
    objects: Objects
    observer: Observer
    clock: Clock
    suspended: Callable[[Key], AbstractContextManager[None]]
    spawn: Callable[[Coroutine[Any, Any, None]], object]
    outlet: Outlet | None
    recorder: TakeRecords
    reach: Reach
    timed: Callable[[float], None] = lambda _seconds: None
    _active: dict[Key, asyncio.Future[Outcome]] = field(default_factory=dict, init=False)

    async def abort(self, key: Key, cause: Cause) -> Outcome:
        """Abort; returns once the intent is on the object (the weight follows at once, by itself).

        Raises Unavailable when the intent could not be stored: the event must come again.
        """
        intent = self._active.get(key)
        if intent is None:
            intent = asyncio.get_running_loop().create_future()
            self.spawn(self._run(key, cause, intent))
            self._active[key] = intent
        return await asyncio.shield(intent)

    async def _run(self, key: Key, cause: Cause, intent: asyncio.Future[Outcome]) -> None:
        run = _Run(self, key, cause, self.clock.now())
        try:
            with self.suspended(key), structlog.contextvars.bound_contextvars(rollout=str(key)):
                async with asyncio.timeout(DEADLINE_SECONDS):
                    outcome = await run.write_intent()
                    if not intent.done():
                        intent.set_result(outcome)
                    if outcome.result != "refused":
                        await run.take_off(announce=outcome.result == "done")
        except TimeoutError:
            log.error("abort.timed_out", rollout=str(key), stored=intent.done())
            _fail(intent, Unavailable("the abort was not stored in time"))
        except SerinusError as error:
            # After the intent the owner's lane ends what is left; before it the event comes again.
            log.error("abort.failed", rollout=str(key), stored=intent.done(), error=str(error))
            _fail(intent, error if isinstance(error, Unavailable) else Unavailable(str(error)))
        except Exception as error:
            # A bug here must not end the task group of everybody.
            log.exception("abort.bug", rollout=str(key), stored=intent.done())
            _fail(intent, Unavailable(f"the abort failed: {error}"))
        finally:
            self._active.pop(key, None)
            intent.cancel()


class _Run:
    """One abort under way."""

    def __init__(self, path: Aborts, key: Key, cause: Cause, decided_at: datetime) -> None:
        self._path = path
        self._key = key
        self._ref = Ref("Rollout", *key)
        self._cause = cause
        self._decided_at = decided_at
        self._weight_before = 0

    async def write_intent(self) -> Outcome:
        """Put the abort onto the object by compare-and-swap, with `aborted` in the outbox."""
        path = self._path
        path.reach("abort-before-intent")
        rollout = path.objects.get(self._ref)
        for attempt in range(TRIES):
            if rollout is None:
                try:
                    rollout = await path.writer.get(self._ref, urgent=True)
                except NotFound:
                    return Outcome(result="refused", message="there is no such rollout")
            answer = _answer(rollout)
            if answer is not None:
                # The cache may be behind: only what the API server says counts as a reason not to abort.
                if attempt == 0:
                    rollout = None
                    continue
                return answer
            try:
                await self._swap(rollout)
            except Conflict:
                rollout = path.objects.get(self._ref)
                continue
            except Unavailable:
                # It may have been stored nevertheless: the next read shows.
                await path.clock.sleep(RETRY_SECONDS)
                rollout = None
                continue
            path.reach("abort-after-intent")
            log.warning("rollout.aborted", cause=self._cause.kind, summary=self._cause.summary)
            return Outcome(result="done", message="aborted")
        raise Unavailable("others kept writing the Rollout, or the API server does not answer")

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
        self._weight_before = weight_in(status)
        patch: dict[str, Any] = {
            "abort": True,
            "abortedAt": format_time(now),
            "phase": "Degraded",
            "message": f"{REASON}: {text}",
            "conditions": _with_progressing(status, text, now),
        }
        if path.outlet is not None:
            data = self._announcement("aborted", {**status, **patch}, rollout, None)
            patch["conditions"] = path.outlet.conditions(
                self._key, rollout, {**status, **patch}, (data,), now
            )
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
                patch["canary"] = {"weights": _weights_down(status)}
            if path.outlet is not None:
                said = tuple(
                    self._announcement(transition, status, rollout, at, taken)
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

    def _announcement(
        self,
        transition: Transition,
        status: dict[str, Any],
        rollout: Object,
        at: datetime | None,
        taken: Taken | None = None,
    ) -> Announcement:
        owned = self._path.objects.owned("ReplicaSet", str(rollout["metadata"].get("uid", "")))
        data = event_data({**rollout, "status": status}, tuple(owned))
        cause, weight = self._cause, self._weight_before
        after = 0 if taken is not None and taken.done else weight
        return Announcement(
            transition=transition,
            data=msgspec.structs.replace(
                data,
                message=(taken.message if taken is not None else "") or data.message,
                weights=Weights(before=weight, after=after),
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


def _answer(rollout: Object) -> Outcome | None:
    """Why there is nothing to abort; None when there is."""
    status = rollout.get("status") or {}
    current, stable = status.get("currentPodHash") or "", status.get("stableRS") or ""
    if not current or not stable or current == stable:
        return Outcome(result="refused", message="no update is in progress")
    if status.get("abort"):
        return Outcome(result="unchanged", message="it is aborted already")
    return None


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


def _weights_down(status: dict[str, Any]) -> dict[str, Any]:
    weights = (status.get("canary") or {}).get("weights") or {}
    canary, stable = weights.get("canary") or {}, weights.get("stable") or {}
    total = int(canary.get("weight") or 0) + int(stable.get("weight") or 0)
    return {"canary": {"weight": 0}, "stable": {"weight": total}}


def _fail(intent: asyncio.Future[Outcome], error: Exception) -> None:
    if not intent.done():
        intent.set_exception(error)
        # Whoever asked may be gone by now; an error that nobody fetches would be reported at collection.
        intent.exception()
