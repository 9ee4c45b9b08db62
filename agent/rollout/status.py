"""Counters, conditions and phase of the next status. PURE.

The rules and words of the conditions are Argo's (its rollout/sync.go); clients match on them.
"""

from datetime import datetime, timedelta

import msgspec

from agent.api import names
from agent.api.rollout import Condition, Duration, Rollout
from agent.api.times import format_time, parse_time
from agent.events.catalogue import Cause
from agent.rollout import conditions, defaults, phase
from agent.rollout.draft import Draft


def count(draft: Draft) -> None:
    """Pods of all ReplicaSets, and what the rollout is at."""
    facts = draft.facts
    new, sets = facts.new, facts.sets
    draft.set(
        current_pod_hash=facts.new_hash,
        current_step_hash=facts.step_hash,
        replicas=sum(item.status_replicas for item in sets),
        updated_replicas=new.status_replicas if new else 0,
        ready_replicas=sum(item.ready for item in sets),
        available_replicas=sum(item.available for item in sets),
        hpa_replicas=sum(item.status_replicas for item in sets),
        selector=_selector_text(draft),
        observed_generation=str(facts.rollout.metadata.generation),
    )


def conclude(draft: Draft) -> None:
    """Conditions, then phase and message, of everything that the pass decided."""
    draft.set(conditions=conditions.remove(draft.status.conditions, names.INVALID_SPEC) or None)
    _progress(draft)
    _facts(draft)
    _duration(draft)
    shown = phase.computed_phase(draft.rollout.spec, draft.status)
    draft.set(phase=shown.phase, message=shown.message)


def _put(draft: Draft, condition: Condition) -> bool:
    """Set a condition; whether it changed."""
    before = list(draft.status.conditions or ())
    after = conditions.put(before, condition)
    draft.set(conditions=after or None)
    return after != before


def _make(draft: Draft, type_: str, status: bool, reason: str, message: str) -> Condition:
    return conditions.make(type_, status, reason, message, draft.facts.now)


def _unknown(draft: Draft, reason: str, message: str) -> Condition:
    made = _make(draft, names.PROGRESSING, True, reason, message)
    return msgspec.structs.replace(made, status="Unknown")


def _progress(draft: Draft) -> None:
    facts, status = draft.facts, draft.status
    current = conditions.find(status.conditions, names.PROGRESSING)
    name = facts.new.name if facts.new else f"{facts.name}-{facts.new_hash}"
    if status.abort:
        _put(
            draft, _make(draft, names.PROGRESSING, False, conditions.ABORTED, _abort_message(draft))
        )
        return
    if current is not None and current.reason == conditions.ABORTED:
        draft.record("RolloutRetry", "Retrying Rollout after abort")
        draft.set(conditions=conditions.remove(draft.status.conditions, names.PROGRESSING))
        _put(draft, _unknown(draft, "RolloutRetry", "Retrying Rollout after abort"))
        current = conditions.find(draft.status.conditions, names.PROGRESSING)
    paused = bool(status.pause_conditions) or facts.rollout.spec.paused
    if paused and not conditions.is_completed(status):
        _put(draft, _unknown(draft, conditions.PAUSED, "Rollout is paused"))
        return
    if current is not None and current.reason == conditions.PAUSED:
        _put(draft, _unknown(draft, "RolloutResumed", "Rollout is resumed"))
    if conditions.is_healthy(_observed(draft), draft.status):
        message = f'ReplicaSet "{name}" has successfully progressed.'
        _put(draft, _make(draft, names.PROGRESSING, True, "NewReplicaSetAvailable", message))
    elif conditions.is_progressing(facts.rollout, draft.status) or current is None:
        _renew(draft, f'ReplicaSet "{name}" is progressing.')
    elif not _waits_indefinitely(draft) and conditions.is_timed_out(
        facts.rollout, draft.status, facts.now
    ):
        _time_out(draft, f'ReplicaSet "{name}" has timed out progressing.')
    _wake_at_deadline(draft)


def _renew(draft: Draft, message: str) -> None:
    """Progress starts the deadline anew, although status and reason stay."""
    old = conditions.find(draft.status.conditions, names.PROGRESSING)
    made = _make(draft, names.PROGRESSING, True, "ReplicaSetUpdated", message)
    if old is not None and old.status == "True":
        made = msgspec.structs.replace(made, last_transition_time=old.last_transition_time)
    kept = conditions.remove(draft.status.conditions, names.PROGRESSING)
    draft.set(conditions=[*kept, made])


def _time_out(draft: Draft, message: str) -> None:
    made = _make(draft, names.PROGRESSING, False, conditions.TIMED_OUT, message)
    if _put(draft, made) and draft.rollout.spec.progress_deadline_abort and draft.status.stable_rs:
        draft.abort(message, Cause(kind="deadline", summary=message))
        kept = conditions.remove(draft.status.conditions, names.PROGRESSING)
        draft.set(conditions=kept)
        _put(
            draft, _make(draft, names.PROGRESSING, False, conditions.ABORTED, _abort_message(draft))
        )


def _abort_message(draft: Draft) -> str:
    new = draft.facts.new
    text = f"Rollout aborted update to revision {new.revision if new else '?'}"
    return f"{text}: {draft.abort_message}" if draft.abort_message else text


def _observed(draft: Draft) -> Rollout:
    """The rollout for rules that ask whether its generation is observed: it is, by this very pass."""
    rollout = draft.facts.rollout
    status = msgspec.structs.replace(
        rollout.status, observed_generation=str(rollout.metadata.generation)
    )
    return msgspec.structs.replace(rollout, status=status)


def _waits_indefinitely(draft: Draft) -> bool:
    """Steps that may take as long as they like have no deadline."""
    index, steps = draft.status.current_step_index, draft.facts.steps
    if index is None or index >= len(steps):
        # Behind the steps of a finished rollout nothing is in progress but a scale-down.
        return conditions.is_completed(draft.status)
    step = steps[index]
    return step.pause is not None or step.analysis is not None or step.experiment is not None


def _wake_at_deadline(draft: Draft) -> None:
    current = conditions.find(draft.status.conditions, names.PROGRESSING)
    if current is None or current.reason in ("NewReplicaSetAvailable", conditions.TIMED_OUT):
        return
    if _waits_indefinitely(draft):
        return
    deadline = _deadline(draft, current)
    if deadline is not None:
        draft.wake(deadline + timedelta(seconds=1))


def _deadline(draft: Draft, condition: Condition) -> datetime | None:
    try:
        since = parse_time(condition.last_update_time or "")
    except ValueError:
        return None
    return since + timedelta(seconds=defaults.progress_deadline_seconds(draft.rollout))


def _facts(draft: Draft) -> None:
    """The conditions that state facts: Available, Completed, Healthy, Paused."""
    facts, status = draft.facts, draft.status
    total = defaults.replicas(draft.rollout)
    stable_available = facts.stable.available if facts.stable else 0
    if status.stable_rs and (stable_available >= total or status.available_replicas >= total):
        _put(
            draft,
            _make(
                draft, names.AVAILABLE, True, "AvailableReason", "Rollout has minimum availability"
            ),
        )
    else:
        message = "Rollout does not have minimum availability"
        _put(draft, _make(draft, names.AVAILABLE, False, "AvailableReason", message))
    completed = conditions.is_completed(status)
    text = "Rollout completed update" if completed else "Rollout is not completed"
    _put(draft, _make(draft, names.COMPLETED, completed, "RolloutCompleted", text))
    paused = bool(status.pause_conditions) or facts.rollout.spec.paused
    _put(
        draft,
        _make(
            draft,
            names.PAUSED,
            paused,
            conditions.PAUSED,
            "Rollout is paused" if paused else "Rollout is not paused",
        ),
    )
    healthy = not paused and conditions.is_healthy(_observed(draft), draft.status)
    text = "Rollout is healthy" if healthy else "Rollout is not healthy"
    _put(draft, _make(draft, names.HEALTHY, healthy, "RolloutHealthy", text))


def _duration(draft: Draft) -> None:
    """When the present update began and ended."""
    facts, status, old = draft.facts, draft.status, draft.facts.rollout.status
    now = format_time(facts.now)
    duration = status.duration
    retried = conditions.was_aborted(old) and not status.abort
    began = old.current_pod_hash != status.current_pod_hash or retried
    if began and status.stable_rs != status.current_pod_hash:
        duration = Duration(rollout_started_at=now)
    if duration is not None and duration.finished_at is None:
        if status.abort:
            duration = msgspec.structs.replace(
                duration, finished_at=now, completion_status="Aborted"
            )
        elif conditions.is_completed(status):
            how = "FastPromoted" if old.promote_full else "Promoted"
            duration = msgspec.structs.replace(duration, finished_at=now, completion_status=how)
    draft.set(duration=duration)


def _selector_text(draft: Draft) -> str:
    """The selector as Kubernetes' scale subresource writes it."""
    selector = draft.facts.rollout.spec.selector or {}
    parts = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    for item in selector.get("matchExpressions") or ():
        operator, key = item.get("operator"), item.get("key")
        values = ",".join(sorted(item.get("values") or ()))
        parts.append(
            {
                "In": f"{key} in ({values})",
                "NotIn": f"{key} notin ({values})",
                "Exists": f"{key}",
                "DoesNotExist": f"!{key}",
            }.get(str(operator), "")
        )
    return ",".join(part for part in parts if part)
