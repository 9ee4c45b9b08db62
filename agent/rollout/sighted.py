"""From two sightings of a rollout to what is told: the transitions between them, each with its identity. PURE.

The meaning of every transition is that of agent.rollout.announce; there it is derived from what the engine
decides, here from what another engine has stored. A rollout that is seen for the first time is taken as it
is: nothing of its past is told.
"""

from collections.abc import Iterator

import msgspec

from agent.api import names
from agent.api.holds import decode_holds
from agent.api.rollout import RolloutStatus, RunReference
from agent.events.catalogue import Cause, StepInfo, Transition, Weights
from agent.rollout import conditions, defaults, steps
from agent.rollout.evidence import evidence
from agent.rollout.sighting import DONE, MAX_RUNS, Look, Sighting, ended_runs, sight, steps_of
from agent.rollout.types import Announcement

FAILED = ("Failed", "Error")
TIMED_OUT_TEXT = "has timed out progressing"


class Told(msgspec.Struct, frozen=True):
    """An announcement, and what makes it this one and no other."""

    announcement: Announcement
    identity: tuple[str, ...]


def follow(before: Sighting | None, look: Look) -> tuple[Sighting, tuple[Told, ...]]:
    """The sighting of this version, and what is told of the way to it, in the order in which it happened."""
    seen = sight(look)
    if before is None or before.uid != seen.uid:
        return seen, ()
    after, begins = _continued(before, seen)
    if begins:
        # What a former run left behind is not of this one.
        before = msgspec.structs.replace(
            before, step_index=0, abort=False, pauses=(), promote_full=False
        )
    parts = _Parts(before, after, look, begins)
    told = [
        *parts.invalid(), *parts.started(), *parts.analysis(), *parts.aborted(), *parts.unheeded(),
        *parts.holds(), *parts.weight(), *parts.steps(), *parts.pauses(), *parts.ends(),
    ]  # fmt: skip
    return after, tuple(told)


def _continued(before: Sighting, seen: Sighting) -> tuple[Sighting, bool]:
    """The sighting with what it inherits, and whether a run begins with it."""
    same = before.current == seen.current
    retried = same and before.abort and not seen.abort and seen.in_progress
    changed = same and before.step_hash != seen.step_hash and seen.in_progress
    moved_on = seen.in_progress or seen.stable != before.stable
    began = bool(before.current) and not same and moved_on
    # A person may set the index back: what is completed then is completed a second time.
    back = same and not seen.abort and not before.abort and seen.step_index < before.step_index
    attempt = before.attempt + (retried or changed or back) if same else 0
    runs = tuple(dict.fromkeys((*before.runs, *seen.runs)))[-MAX_RUNS:] if same else seen.runs
    weights = before.weights if same and not retried else 0
    after = msgspec.structs.replace(
        seen, attempt=attempt, weights=weights + (before.weight != seen.weight), runs=runs
    )
    return after, retried or changed or began


class _Parts:
    """The transitions of one way, a method each."""

    def __init__(self, before: Sighting, after: Sighting, look: Look, begins: bool) -> None:
        self._before = before
        self._after = after
        self._look = look
        self._begins = begins
        self._status: RolloutStatus = look.rollout.status

    def invalid(self) -> Iterator[Told]:
        found = conditions.find(self._status.conditions, names.INVALID_SPEC)
        if found is not None and self._after.invalid != self._before.invalid:
            cause = Cause(kind="spec", summary=found.message)
            yield self._tell(
                "invalid", self._after.invalid, found.last_transition_time or "", cause=cause
            )

    def started(self) -> Iterator[Told]:
        if self._begins and self._before.current != self._after.current:
            yield self._tell("started")
        elif self._begins:
            summary = "retry" if self._before.step_hash == self._after.step_hash else "new steps"
            yield self._tell("started", cause=Cause(kind="command", summary=summary))

    def analysis(self) -> Iterator[Told]:
        # Those of a former revision are not of this way, however late they are seen.
        known = self._before.runs if self._before.current == self._after.current else ()
        for run in ended_runs(self._look):
            name, message = run.metadata.name, run.status.message
            if name in known:
                continue
            text = f"analysis {name} is {run.status.phase}"
            summary = f"{text}: {message}" if message else text
            cause = Cause(kind="analysis", summary=summary, evidence=evidence(run))
            yield self._tell("analysis", name, cause=cause)

    def aborted(self) -> Iterator[Told]:
        if self._after.abort and not self._before.abort and self._after.in_progress:
            yield self._tell("aborted", cause=abort_cause(self._look), timings=self._look.timings)

    def unheeded(self) -> Iterator[Told]:
        since, weight = self._after.unheeded, self._after.weight
        if since and since != self._before.unheeded:
            cause, timings = abort_cause(self._look), self._look.timings
            weights = Weights(before=weight, after=weight)
            yield self._tell("unheeded", since, cause=cause, timings=timings, weights=weights)

    def holds(self) -> Iterator[Told]:
        before, after = self._before.holds, self._after.holds
        if after and not before:
            holds = decode_holds(self._look.rollout.metadata.annotation(names.HOLDS))
            alerts = [hold.alert or hold.fingerprint for hold in holds]
            because = "; ".join(hold.reason for hold in holds)
            cause = Cause(
                kind="alert",
                summary=f"held by {', '.join(alerts)}",
                evidence={"alerts": alerts, "reason": because},
            )
            yield self._tell("held", *after, cause=cause)
        elif before and not after and not self._after.abort:
            yield self._tell("released", *before)

    def weight(self) -> Iterator[Told]:
        before, after = self._before.weight, self._after.weight
        if before == after:
            return
        weights, place = Weights(before=before, after=after), str(self._after.weights)
        yield self._tell("weight", f"{before}>{after}", place, weights=weights)
        if self._after.abort and after == 0:
            cause, timings = abort_cause(self._look), self._look.timings
            yield self._tell("rolledback", weights=weights, cause=cause, timings=timings)

    def steps(self) -> Iterator[Told]:
        """Those between the two places; a leap to the end, or a first deployment, completes none."""
        first, place = self._before.step_index, self._after.step_index
        count = steps_of(self._look.rollout)
        same = self._begins or self._before.current == self._after.current
        leaps = self._begins and place >= count
        full = self._before.promote_full or self._after.promote_full
        if not same or not self._before.stable or leaps or full or self._after.abort:
            return
        for index in range(first, min(place, count)):
            yield self._tell("step", str(index), step=self._step(index))

    def pauses(self) -> Iterator[Told]:
        same = self._begins or self._before.current == self._after.current
        before = frozenset(self._before.pauses) if same else frozenset[str]()
        after = frozenset(self._after.pauses)
        if not self._after.stable or self._after.abort or before & after:
            return
        if before:
            yield self._tell("resumed", *sorted(before))
        if after:
            yield self._tell("paused", *sorted(after))

    def ends(self) -> Iterator[Told]:
        before, after = self._before, self._after
        if before.stable != after.stable and after.stable == after.current:
            old = self._look.revisions.get(before.stable)
            if before.stable:
                yield self._tell("promoted", old=old)
            yield self._tell("completed", old=old)
        if after.timed_out and after.timed_out != before.timed_out:
            found = conditions.find(self._status.conditions, names.PROGRESSING)
            cause = Cause(kind="deadline", summary=found.message if found else "")
            yield self._tell("degraded", after.timed_out, cause=cause)

    def _tell(self, transition: Transition, *place: str, **fields: object) -> Told:
        after = self._after
        data = msgspec.structs.replace(
            self._look.data, **{"step": self._step(after.step_index), **fields}
        )
        run = (after.uid, after.revision, after.current, after.step_hash, after.started_at)
        identity = (*run, str(after.attempt), transition, *place)
        return Told(Announcement(transition=transition, data=data), identity)

    def _step(self, index: int) -> StepInfo | None:
        of = defaults.canary_of(self._look.rollout).steps or ()
        if self._look.rollout.spec.strategy.canary is None or not of:
            return None
        text = steps.describe(of[index]) if 0 <= index < len(of) else ""
        return StepInfo(index=index, count=len(of), text=text)


def abort_cause(look: Look) -> Cause:
    """Why the current revision was aborted, as far as it can be seen.

    Our own intent has left its cause. Else an analysis that the status names as failed, or what Argo says in
    its condition behind `Rollout aborted update to revision N:`. Who aborts by hand leaves nothing.
    """
    status = look.rollout.status
    if look.cause is not None:
        return look.cause
    for reference in _references(status):
        if reference.status in FAILED:
            return _failed(reference, look)
    found = conditions.find(status.conditions, names.PROGRESSING)
    said = found.message if found is not None and found.reason == conditions.ABORTED else ""
    reason = said.partition(": ")[2]
    if reason:
        is_deadline = TIMED_OUT_TEXT in reason
        return Cause(kind="deadline" if is_deadline else "analysis", summary=reason)
    return Cause(kind="command", summary="abort by a person or a tool")


def _failed(reference: RunReference, look: Look) -> Cause:
    run = next((run for run in look.runs if run.metadata.name == reference.name), None)
    text = f"analysis {reference.name} is {reference.status}"
    return Cause(
        kind="analysis",
        summary=f"{text}: {reference.message}" if reference.message else text,
        evidence=evidence(run) if run is not None and run.status.phase in DONE else None,
    )


def _references(status: RolloutStatus) -> Iterator[RunReference]:
    candidates = (
        status.canary.current_step_analysis_run_status,
        status.canary.current_background_analysis_run_status,
        status.blue_green.pre_promotion_analysis_run_status,
        status.blue_green.post_promotion_analysis_run_status,
    )
    return (reference for reference in candidates if reference is not None)
