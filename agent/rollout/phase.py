"""status.phase and status.message: what people, Argo CD's health check and Argo's clients see. PURE.

Texts and their order are a contract: dashboards and scripts match on them.
"""

from typing import Final, NamedTuple

from agent.api import names
from agent.api.rollout import (
    BlueGreenStrategy,
    CanaryStrategy,
    Rollout,
    RolloutSpec,
    RolloutStatus,
)
from agent.api.times import parse_time
from agent.rollout import conditions, defaults

HEALTHY: Final = "Healthy"
DEGRADED: Final = "Degraded"
PROGRESSING: Final = "Progressing"
PAUSED: Final = "Paused"

COMPLETED_RUN: Final = ("Successful", "Failed", "Error", "Inconclusive")
"""Phases of an AnalysisRun that has ended."""


class Phase(NamedTuple):
    phase: str
    message: str


def is_fully_promoted(status: RolloutStatus) -> bool:
    """Whether the version that the spec wants is the stable one."""
    return status.stable_rs == status.current_pod_hash


def is_unpausing(status: RolloutStatus) -> bool:
    """Whether a person took away the pause conditions and the engine has not reacted yet."""
    return status.controller_pause and not status.pause_conditions


def observed_phase(rollout: Rollout) -> Phase:
    """What a client shows: the stored phase, unless the engine has not yet seen what it would be about."""
    status = rollout.status
    if not _is_observed(status.observed_generation, rollout.metadata.generation, behind_only=True):
        return Phase(PROGRESSING, "waiting for rollout spec update to be observed")
    if is_unpausing(status):
        return Phase(PROGRESSING, "waiting for rollout to unpause")
    workload = _number(rollout.metadata.annotation(names.WORKLOAD_GENERATION))
    if workload is not None and not _is_observed(status.workload_observed_generation, workload):
        return Phase(
            PROGRESSING,
            "waiting for rollout spec update to be observed for the reference workload",
        )
    if status.phase:
        return Phase(status.phase, status.message)
    return computed_phase(rollout.spec, status)


def _is_observed(text: str, generation: int, *, behind_only: bool = False) -> bool:
    """Whether `generation` was seen; a text that is no number (old releases stored a hash) says nothing."""
    seen = _number(text)
    return seen is None or seen == generation or (behind_only and seen > generation)


def _number(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


def computed_phase(spec: RolloutSpec, status: RolloutStatus) -> Phase:
    """The phase that spec and status come to; the first rule that applies decides."""
    return (
        _degraded(status)
        or _paused(spec, status)
        or _unfinished(spec, status)
        or _unpromoted(spec, status)
        or Phase(HEALTHY, "")
    )


def _degraded(status: RolloutStatus) -> Phase | None:
    for condition in status.conditions or ():
        if condition.type == names.INVALID_SPEC:
            return Phase(DEGRADED, f"{names.INVALID_SPEC}: {condition.message}")
        if condition.reason in (conditions.ABORTED, conditions.TIMED_OUT):
            return Phase(DEGRADED, f"{condition.reason}: {condition.message}")
    return None


def _paused(spec: RolloutSpec, status: RolloutStatus) -> Phase | None:
    if spec.paused:
        return Phase(PAUSED, "manually paused")
    if status.pause_conditions:
        return Phase(PAUSED, status.pause_conditions[0].reason)
    return None


def _unfinished(spec: RolloutSpec, status: RolloutStatus) -> Phase | None:
    replicas = defaults.REPLICAS if spec.replicas is None else spec.replicas
    if is_restarting(spec, status):
        return Phase(PROGRESSING, "rollout is restarting")
    if status.updated_replicas < replicas:
        return Phase(PROGRESSING, "more replicas need to be updated")
    if status.available_replicas < status.updated_replicas:
        return Phase(PROGRESSING, "updated replicas are still becoming available")
    return None


def is_restarting(spec: RolloutSpec, status: RolloutStatus) -> bool:
    """Whether pods older than spec.restartAt are still to be replaced (or the time has yet to come)."""
    if spec.restart_at is None:
        return False
    if status.restarted_at is None:
        return True
    try:
        return parse_time(spec.restart_at) != parse_time(status.restarted_at)
    except ValueError:
        return spec.restart_at != status.restarted_at


def _unpromoted(spec: RolloutSpec, status: RolloutStatus) -> Phase | None:
    if spec.strategy.blue_green is not None:
        return _unpromoted_blue_green(spec.strategy.blue_green, status)
    if spec.strategy.canary is not None:
        return _unpromoted_canary(spec.strategy.canary, status)
    return None


def _unpromoted_blue_green(strategy: BlueGreenStrategy, status: RolloutStatus) -> Phase | None:
    active = status.blue_green.active_selector
    if not active or active != status.current_pod_hash:
        return Phase(PROGRESSING, "active service cutover pending")
    if status.stable_rs and is_fully_promoted(status):
        return None
    run = status.blue_green.post_promotion_analysis_run_status
    if strategy.post_promotion_analysis is not None and (
        run is None or run.status not in COMPLETED_RUN
    ):
        return Phase(PROGRESSING, "waiting for analysis to complete")
    return Phase(PROGRESSING, "waiting for post-promotion verification to complete")


def _unpromoted_canary(strategy: CanaryStrategy, status: RolloutStatus) -> Phase | None:
    # With a router the old version may keep its pods for scaleDownDelaySeconds: that is not unfinished.
    if strategy.traffic_routing is None and status.replicas > status.updated_replicas:
        return Phase(PROGRESSING, "old replicas are pending termination")
    if not status.stable_rs or not is_fully_promoted(status):
        return Phase(PROGRESSING, "waiting for all steps to complete")
    return None
