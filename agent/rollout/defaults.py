"""Settings in force when the spec leaves them out. The values are Argo's defaults. PURE."""

from typing import Final

from agent.api.analysis import IntOrString
from agent.api.rollout import BlueGreenStrategy, CanaryStrategy, Rollout

REPLICAS: Final = 1
REVISION_HISTORY_LIMIT: Final = 10
PROGRESS_DEADLINE_SECONDS: Final = 600
SCALE_DOWN_DELAY_SECONDS: Final = 30
ABORT_SCALE_DOWN_DELAY_SECONDS: Final = 30
RUN_HISTORY_LIMIT: Final = 5
MAX_SURGE: Final = "25%"
MAX_UNAVAILABLE: Final = "25%"
MAX_TRAFFIC_WEIGHT: Final = 100

_CANARY: Final = CanaryStrategy()


def canary_of(rollout: Rollout) -> CanaryStrategy:
    """The canary strategy, an empty one when the Rollout has none: rules need not ask twice."""
    return rollout.spec.strategy.canary or _CANARY


def is_routed(rollout: Rollout) -> bool:
    """Whether a router moves the canary's weight (otherwise pod counts approximate it)."""
    return canary_of(rollout).traffic_routing is not None


def replicas(rollout: Rollout) -> int:
    return REPLICAS if rollout.spec.replicas is None else rollout.spec.replicas


def revision_history_limit(rollout: Rollout) -> int:
    """How many old ReplicaSets without pods are kept."""
    limit = rollout.spec.revision_history_limit
    return REVISION_HISTORY_LIMIT if limit is None else limit


def progress_deadline_seconds(rollout: Rollout) -> int:
    deadline = rollout.spec.progress_deadline_seconds
    return PROGRESS_DEADLINE_SECONDS if deadline is None else deadline


def run_history_limits(rollout: Rollout) -> tuple[int, int]:
    """How many finished AnalysisRuns and Experiments are kept: (successful, unsuccessful)."""
    history = rollout.spec.analysis
    successful = history.successful_run_history_limit if history else None
    unsuccessful = history.unsuccessful_run_history_limit if history else None
    return (
        RUN_HISTORY_LIMIT if successful is None else successful,
        RUN_HISTORY_LIMIT if unsuccessful is None else unsuccessful,
    )


def _delayed(rollout: Rollout) -> BlueGreenStrategy | CanaryStrategy | None:
    """The strategy whose scale-down delays count: a canary without a router has none."""
    strategy = rollout.spec.strategy
    if strategy.blue_green is not None:
        return strategy.blue_green
    return strategy.canary if is_routed(rollout) else None


def scale_down_delay_seconds(rollout: Rollout) -> int:
    """How long the old version keeps its pods after the switch; 0 where there is no such delay."""
    strategy = _delayed(rollout)
    if strategy is None:
        return 0
    delay = strategy.scale_down_delay_seconds
    return SCALE_DOWN_DELAY_SECONDS if delay is None else delay


def abort_scale_down_delay_seconds(rollout: Rollout) -> int | None:
    """How long the new version keeps its pods after an abort.

    None: they are not scaled down for the abort (`abortScaleDownDelaySeconds: 0`); 0: at once.
    """
    strategy = _delayed(rollout)
    if strategy is None:
        return 0
    delay = strategy.abort_scale_down_delay_seconds
    if delay is None:
        return ABORT_SCALE_DOWN_DELAY_SECONDS
    return delay or None


def abort_scale_down_delay_is_explicit(rollout: Rollout) -> bool:
    """Whether the spec gives the delay after an abort itself, be it 0."""
    strategy = _delayed(rollout)
    return strategy is not None and strategy.abort_scale_down_delay_seconds is not None


def auto_promotion_enabled(rollout: Rollout) -> bool:
    """Whether a blue-green rollout promotes without a person."""
    blue_green = rollout.spec.strategy.blue_green
    return blue_green is None or blue_green.auto_promotion_enabled is not False


def max_surge(rollout: Rollout) -> IntOrString:
    """As written; agent.rollout.replicas.max_surge counts it in pods."""
    surge = canary_of(rollout).max_surge
    return MAX_SURGE if surge is None else surge


def max_unavailable(rollout: Rollout) -> IntOrString:
    """As written; agent.rollout.replicas.max_unavailable counts it in pods."""
    for strategy in (rollout.spec.strategy.blue_green, rollout.spec.strategy.canary):
        if strategy is not None and strategy.max_unavailable is not None:
            return strategy.max_unavailable
    return MAX_UNAVAILABLE


def max_traffic_weight(rollout: Rollout) -> int:
    """The weight that means all traffic."""
    routing = canary_of(rollout).traffic_routing
    weight = routing.max_traffic_weight if routing else None
    return weight if weight is not None and weight > 0 else MAX_TRAFFIC_WEIGHT
