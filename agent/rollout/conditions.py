"""Bookkeeping of status.conditions, and the facts about progress that they record. PURE."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from agent.api import names
from agent.api.rollout import Condition, Rollout, RolloutStatus
from agent.api.times import format_time, parse_time
from agent.rollout import defaults

# Reasons of conditions that rules look at; they are Argo's.
ABORTED: Final = "RolloutAborted"
TIMED_OUT: Final = "ProgressDeadlineExceeded"
PAUSED: Final = "RolloutPaused"


def make(type_: str, status: bool, reason: str, message: str, now: datetime) -> Condition:
    """A condition that was set now."""
    time = format_time(now)
    return Condition(
        type=type_,
        status="True" if status else "False",
        reason=reason,
        message=message,
        last_update_time=time,
        last_transition_time=time,
    )


def find(conditions: Sequence[Condition] | None, type_: str) -> Condition | None:
    """The condition of that type."""
    return next((item for item in conditions or () if item.type == type_), None)


def put(conditions: Sequence[Condition] | None, condition: Condition) -> list[Condition]:
    """The conditions with this one at the end, in place of the one of its type.

    Nothing changes when that one has the same status and reason (its message is kept, too): times would
    move on every pass otherwise. The transition time is kept while the status is the same.
    """
    current = find(conditions, condition.type)
    if current is not None and current.status == condition.status:
        if current.reason == condition.reason:
            return list(conditions or ())
        condition = Condition(
            type=condition.type,
            status=condition.status,
            reason=condition.reason,
            message=condition.message,
            last_update_time=condition.last_update_time,
            last_transition_time=current.last_transition_time,
        )
    return [*remove(conditions, condition.type), condition]


def remove(conditions: Sequence[Condition] | None, type_: str) -> list[Condition]:
    """The conditions of every other type, in their order."""
    return [item for item in conditions or () if item.type != type_]


def is_progressing(rollout: Rollout, new: RolloutStatus) -> bool:
    """Whether something moved between the rollout's status and the `new` one.

    Pods were updated, became ready or available, old ones went, a selector or the step changed. This is
    what starts the progress deadline anew.
    """
    old, strategy = rollout.status, rollout.spec.strategy
    moved = False
    if strategy.blue_green is not None:
        moved = (old.blue_green.active_selector, old.blue_green.preview_selector) != (
            new.blue_green.active_selector,
            new.blue_green.preview_selector,
        )
    if strategy.canary is not None:
        indexes = (old.current_step_index, new.current_step_index)
        moved = (
            old.stable_rs != new.stable_rs
            or old.current_step_hash != new.current_step_hash
            or (None not in indexes and indexes[0] != indexes[1])
        )
    return (
        moved
        or new.updated_replicas != old.updated_replicas
        or new.replicas - new.updated_replicas < old.replicas - old.updated_replicas
        or new.ready_replicas > old.ready_replicas
        or new.available_replicas > old.available_replicas
    )


def is_healthy(rollout: Rollout, new: RolloutStatus) -> bool:
    """Whether every wanted pod is updated and available, and nothing of an update is left to do.

    The rollout's own status must have seen the current generation.
    """
    wanted, strategy = defaults.replicas(rollout), rollout.spec.strategy
    if (
        rollout.status.observed_generation != str(rollout.metadata.generation)
        or new.updated_replicas != wanted
        or new.available_replicas != wanted
    ):
        return False
    if strategy.canary is not None:
        steps, index = strategy.canary.steps, new.current_step_index
        stepped = not steps or index is None or index == len(steps)
        return stepped and is_completed(new) and new.replicas == wanted
    if strategy.blue_green is not None:
        selectors = [new.blue_green.active_selector]
        if strategy.blue_green.preview_service:
            selectors.append(new.blue_green.preview_selector)
        return all(selector == new.current_pod_hash for selector in selectors)
    return True


def is_completed(status: RolloutStatus) -> bool:
    """Whether the version that the spec wants has become stable."""
    return status.stable_rs != "" and status.stable_rs == status.current_pod_hash


def was_aborted(status: RolloutStatus) -> bool:
    """Whether an abort was acted upon. status.abort alone does not tell: a retry takes it away."""
    progressing = find(status.conditions, names.PROGRESSING)
    return progressing is not None and progressing.reason == ABORTED


def is_timed_out(rollout: Rollout, new: RolloutStatus, now: datetime) -> bool:
    """Whether progressDeadlineSeconds have passed since the Progressing condition was last renewed.

    Never while it says aborted (a retry is not measured from an old abort) or paused; always once it
    says that the deadline passed. Without the condition or its time there is nothing to measure from.
    """
    condition = find(new.conditions, names.PROGRESSING)
    if condition is None or condition.reason in (ABORTED, PAUSED):
        return False
    if condition.reason == TIMED_OUT:
        return True
    try:
        since = parse_time(condition.last_update_time or "")
    except ValueError:
        return False
    return since + timedelta(seconds=defaults.progress_deadline_seconds(rollout)) < now
