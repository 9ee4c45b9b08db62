"""`pause`: wait for a time, or for a person. PURE."""

from datetime import datetime, timedelta

from agent.api.durations import pause_seconds
from agent.api.names import PAUSE_STEP
from agent.api.rollout import Pause
from agent.api.times import parse_time
from agent.rollout.draft import Draft
from agent.rollout.steps.types import StepType
from agent.traffic.types import FieldError


def _ends(draft: Draft, pause: Pause) -> datetime | None:
    """When a timed pause that has begun ends; None for one that waits for a person."""
    condition, seconds = draft.paused_for(PAUSE_STEP), pause_seconds(pause)
    if condition is None or seconds is None:
        return None
    try:
        return parse_time(condition.start_time) + timedelta(seconds=seconds)
    except ValueError:
        # A time that nobody can read must not hold for ever: over.
        return draft.facts.now - timedelta(seconds=1)


def _done(draft: Draft, pause: Pause) -> bool:
    """The time is over, or a person took the condition away while the engine was pausing.

    The start is stored in whole seconds: strictly later, so that a pause is never cut short of them.
    """
    if draft.paused_for(PAUSE_STEP) is None:
        # Argo's protocol: controllerPause without any condition is the word of a person to go on.
        resumed = draft.status.controller_pause and not draft.status.pause_conditions
        if resumed:
            draft.set(controller_pause=False)
            draft.record("RolloutResumed", "Rollout is resumed")
        return resumed
    ends = _ends(draft, pause)
    if ends is None or draft.facts.now <= ends:
        return False
    draft.unpause(PAUSE_STEP)
    return True


def _enter(draft: Draft, pause: Pause) -> None:
    if draft.paused_for(PAUSE_STEP) is None:
        draft.pause(PAUSE_STEP)
        draft.record("RolloutPaused", "Rollout is paused (CanaryPauseStep)")
    ends = _ends(draft, pause)
    if ends is None:
        draft.wait("waits for a person to promote it")
    else:
        draft.wait(f"pauses until {ends:%H:%M:%S} UTC", ends + timedelta(seconds=1))


def _validate(pause: Pause, field: str, draft: Draft) -> tuple[FieldError, ...]:
    del draft
    seconds = pause_seconds(pause)
    if seconds is None or seconds >= 0:
        return ()
    detail = f"{pause.duration!r} is no duration of at least 0: write seconds, or for example 1m30s"
    return (FieldError(f"{field}.pause.duration", detail),)


PAUSE = StepType(
    member="pause",
    describe=lambda pause: "pause" if pause.duration is None else f"pause: {pause.duration}",
    done=_done,
    enter=_enter,
    validate=_validate,
    on_abort=lambda draft, _pause: draft.unpause(PAUSE_STEP),
)
