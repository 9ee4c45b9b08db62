"""Announcements: what changed between the observed status and the next one. PURE.

They are derived from the transition that the same write stores, so a crash can neither lose nor invent one.
"""

import msgspec

from agent.api import names
from agent.api.rollout import RolloutStatus, RunReference
from agent.events.catalogue import (
    Cause,
    Deployment,
    RevisionInfo,
    RolloutEvent,
    StepInfo,
    Transition,
    Weights,
)
from agent.rollout import conditions, replica_sets, steps
from agent.rollout.analysis_runs import find_run
from agent.rollout.draft import Draft
from agent.rollout.evidence import evidence
from agent.rollout.types import Announcement


def announcements(draft: Draft) -> tuple[Announcement, ...]:
    """What this transition tells, in the order in which it happened."""
    old, new = draft.facts.rollout.status, draft.status
    made = [
        *_invalid(draft, old, new),
        *_rolled_back_before(draft, old, new),
        *_started(draft, old, new),
        *_analysis(draft),
        *_aborted(draft, old, new),
        *_drifted(draft),
        *_weight(draft, old, new),
        *_steps(draft),
        *_pauses(draft, old, new),
        *_ends(draft, old, new),
    ]
    return tuple(made)


def _say(draft: Draft, transition: Transition, **fields: object) -> Announcement:
    data = RolloutEvent(
        namespace=draft.facts.namespace,
        name=draft.facts.name,
        uid=draft.facts.rollout.metadata.uid,
        phase=draft.status.phase,
        message=draft.status.message,
        new=_revision(draft, draft.status.current_pod_hash),
        old=_revision(draft, draft.status.stable_rs),
        step=_step(draft, draft.status.current_step_index),
    )
    return Announcement(transition=transition, data=msgspec.structs.replace(data, **fields))


def _revision(draft: Draft, pod_hash: str) -> RevisionInfo | None:
    if not pod_hash:
        return None
    item = replica_sets.by_hash(draft.facts.sets, pod_hash)
    if item is None:
        template = draft.facts.rollout.spec.template or {}
        images = replica_sets.images_of(template) if pod_hash == draft.facts.new_hash else ()
        return RevisionInfo(hash=pod_hash, images=list(images) or None)
    return RevisionInfo(
        revision=str(item.revision or ""),
        hash=pod_hash,
        images=list(item.images) or None,
        deployment=_deployment(item.annotations.get(names.DEPLOYMENT, "")),
    )


def _deployment(text: str) -> Deployment | None:
    try:
        return msgspec.json.decode(text, type=Deployment) if text else None
    except msgspec.MsgspecError:
        return None


def _step(draft: Draft, index: int | None) -> StepInfo | None:
    of = draft.facts.steps
    if index is None or not of:
        return None
    text = steps.describe(of[index]) if 0 <= index < len(of) else ""
    return StepInfo(index=index, count=len(of), text=text)


def _invalid(draft: Draft, old: RolloutStatus, new: RolloutStatus) -> list[Announcement]:
    before = conditions.find(old.conditions, names.INVALID_SPEC)
    after = conditions.find(new.conditions, names.INVALID_SPEC)
    if after is None or (before is not None and before.message == after.message):
        return []
    return [_say(draft, "invalid", cause=Cause(kind="spec", summary=after.message))]


def _started(draft: Draft, old: RolloutStatus, new: RolloutStatus) -> list[Announcement]:
    if not new.stable_rs or new.current_pod_hash == new.stable_rs or new.abort:
        return []
    if (
        old.current_pod_hash != new.current_pod_hash
        or old.current_step_hash != new.current_step_hash
    ):
        return [_say(draft, "started")]
    if conditions.was_aborted(old):
        return [_say(draft, "started", cause=Cause(kind="command", summary="retry"))]
    return []


def _analysis(draft: Draft) -> list[Announcement]:
    return [_say(draft, "analysis", cause=_verdict(draft, ended)) for ended in draft.verdicts]


def _verdict(draft: Draft, reference: RunReference) -> Cause:
    run = find_run(draft, reference)
    text = f"analysis {reference.name} is {reference.status}"
    return Cause(
        kind="analysis",
        summary=f"{text}: {reference.message}" if reference.message else text,
        evidence=evidence(run) if run else None,
    )


def _aborted(draft: Draft, old: RolloutStatus, new: RolloutStatus) -> list[Announcement]:
    """Not when the condition stands already: whoever wrote it has announced it."""
    before = conditions.find(old.conditions, names.PROGRESSING)
    after = conditions.find(new.conditions, names.PROGRESSING)
    if (
        not new.abort
        or after is None
        or (before is not None and before.reason == conditions.ABORTED)
    ):
        return []
    cause = draft.cause or Cause(kind="command", summary="abort by a person or a tool")
    draft.record("RolloutAborted", after.message, warning=True)
    return [_say(draft, "aborted", cause=cause)]


def _drifted(draft: Draft) -> list[Announcement]:
    if draft.drift is None:
        return []
    before, after = draft.drift
    summary = f"somebody else set the canary's weight from {before} to {after}"
    cause = Cause(kind="foreign", summary=summary)
    return [_say(draft, "drifted", weights=Weights(before=before, after=after), cause=cause)]


def _weight(draft: Draft, old: RolloutStatus, new: RolloutStatus) -> list[Announcement]:
    before = old.canary.weights.canary.weight if old.canary.weights else 0
    after = new.canary.weights.canary.weight if new.canary.weights else 0
    if before == after or draft.drift is not None:
        return []
    weights = Weights(before=before, after=after)
    made = [_say(draft, "weight", weights=weights)]
    if new.abort and after == 0:
        summary = draft.status.message
        made.append(
            _say(
                draft,
                "rolledback",
                weights=weights,
                cause=draft.cause or Cause(kind="command", summary=summary),
            )
        )
    return made


def _rolled_back_before(draft: Draft, old: RolloutStatus, new: RolloutStatus) -> list[Announcement]:
    """The end of an abort that nobody had recorded when a retry or another version came."""
    recorded, shown = old.canary.weights, new.canary.weights
    before = recorded.canary.weight if recorded else 0
    if not conditions.was_aborted(old) or new.abort or not before:
        return []
    if draft.drift is not None or (shown and shown.canary.weight):
        return []
    said = _say(
        draft,
        "rolledback",
        phase=old.phase,
        message=old.message,
        new=_revision(draft, old.current_pod_hash),
        old=_revision(draft, old.stable_rs),
        step=_step(draft, old.current_step_index),
        weights=Weights(before=before),
        cause=Cause(kind="command", summary=old.message),
    )
    return [said]


def _steps(draft: Draft) -> list[Announcement]:
    return [_say(draft, "step", step=_step(draft, index)) for index in draft.completed_steps]


_HOLDS = frozenset({names.PAUSE_HOLD, names.PAUSE_HOLD_TIMED_OUT})


def _pauses(draft: Draft, old: RolloutStatus, new: RolloutStatus) -> list[Announcement]:
    same = old.current_pod_hash == new.current_pod_hash
    before = {item.reason for item in old.pause_conditions or ()} if same else set[str]()
    after = {item.reason for item in new.pause_conditions or ()}
    made = [_held(draft, reason) for reason in sorted((after - before) & _HOLDS)]
    overruled = draft.is_promoted_by_person and bool(draft.facts.holds)
    if (names.PAUSE_HOLD in before or overruled) and names.PAUSE_HOLD not in after:
        made += [] if new.abort else [_say(draft, "released")]
    if not new.stable_rs or old.stable_rs == old.current_pod_hash == new.current_pod_hash:
        return made
    stays = draft.facts.rollout.spec.paused
    shown = conditions.find(old.conditions, names.PAUSED)
    was_shown = same and shown is not None and shown.status == "True"
    was_paused = bool(before - _HOLDS) or (was_shown and not before and not overruled)
    next_pause = bool(draft.completed_steps)
    if was_paused and not new.abort and (next_pause or not (after - _HOLDS or stays)):
        made.append(_say(draft, "resumed"))
    begun = (after if next_pause else after - before) - _HOLDS
    if begun or (stays and not was_shown and not new.abort):
        made.append(_say(draft, "paused"))
    return made


def _held(draft: Draft, reason: str) -> Announcement:
    alerts = [hold.alert or hold.fingerprint for hold in draft.facts.holds]
    because = "; ".join(hold.reason for hold in draft.facts.holds)
    late = " for too long: a person must decide" if reason == names.PAUSE_HOLD_TIMED_OUT else ""
    summary = f"held by {', '.join(alerts)}{late}"
    cause = Cause(kind="alert", summary=summary, evidence={"alerts": alerts, "reason": because})
    return _say(draft, "held", cause=cause)


def _ends(draft: Draft, old: RolloutStatus, new: RolloutStatus) -> list[Announcement]:
    made: list[Announcement] = []
    if old.stable_rs != new.stable_rs and new.stable_rs == new.current_pod_hash:
        old_side = _revision(draft, old.stable_rs)
        if old.stable_rs:
            made.append(_say(draft, "promoted", old=old_side))
        made.append(_say(draft, "completed", old=old_side))
        draft.record("RolloutCompleted", f"Rollout completed update to revision {_number(draft)}")
    before = conditions.find(old.conditions, names.PROGRESSING)
    after = conditions.find(new.conditions, names.PROGRESSING)
    if (
        after is not None
        and after.reason == conditions.TIMED_OUT
        and (before is None or before.reason != conditions.TIMED_OUT)
    ):
        made.append(_say(draft, "degraded", cause=Cause(kind="deadline", summary=after.message)))
    return made


def _number(draft: Draft) -> str:
    return str(draft.facts.new.revision) if draft.facts.new else "?"
