"""How many pods each ReplicaSet should have. PURE.

The numbers are a contract with Argo: the same rollout must get the same pods from both engines. Where a
rule goes through floating point, so does Argo's, and the last digit decides ties.
"""

import math
import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from agent.api.analysis import IntOrString
from agent.api.rollout import (
    ReplicaProgressThreshold,
    Rollout,
    SetCanaryScale,
    Step,
    TrafficWeights,
)
from agent.rollout import defaults, replica_sets
from agent.rollout.replica_sets import ReplicaSetView

_INTEGER: Final = re.compile(r"[+-]?[0-9]+", re.ASCII)
_SLACK: Final = 1e-10
"""Percentages this close to the threshold have reached it."""


class Sizes(NamedTuple):
    """Pods wanted of the canary and of stable."""

    canary: int
    stable: int


class CanarySize(NamedTuple):
    """What sizes the canary: a fixed number of pods (setCanaryScale), or a weight when that is None."""

    replicas: int | None
    weight: int


def int_or_percent(value: IntOrString, total: int, *, round_up: bool) -> int:
    """`value` in pods: a number as it is, a text as a percentage of `total` (`"25%"`, also `"25"`).

    Raises ValueError when the text is no percentage.
    """
    if isinstance(value, int):
        return value
    digits = value.replace("%", "")
    if not _INTEGER.fullmatch(digits):
        raise ValueError(f'invalid value for IntOrString: invalid value "{value}"')
    hundredths = int(digits) * total
    return -(-hundredths // 100) if round_up else hundredths // 100


def max_surge(rollout: Rollout) -> int:
    """How many pods a basic canary may have above spec.replicas; 0 for blue-green."""
    return _limits(rollout)[0] if rollout.spec.strategy.canary is not None else 0


def max_unavailable(rollout: Rollout) -> int:
    """How many of spec.replicas may be unavailable, at most all of them."""
    total = defaults.replicas(rollout)
    if total == 0:
        return 0
    return min(_limits(rollout)[1], total)


def _limits(rollout: Rollout) -> tuple[int, int]:
    """(surge, unavailable) in pods.

    A canary whose limits both come to 0 could never move: one pod may be unavailable then. Texts that
    are no percentage, which validation refuses, count as 0.
    """
    total = defaults.replicas(rollout)
    canary = rollout.spec.strategy.canary is not None
    try:
        surge = int_or_percent(defaults.max_surge(rollout), total, round_up=True) if canary else 0
        unavailable = int_or_percent(defaults.max_unavailable(rollout), total, round_up=False)
    except ValueError:
        return 0, 0
    return surge, 1 if canary and surge == 0 and unavailable == 0 else unavailable


def current_step(rollout: Rollout) -> tuple[Step | None, int | None]:
    """The step that runs and its index.

    (None, None) without steps, (None, index) behind the last one.
    """
    steps = defaults.canary_of(rollout).steps
    if not steps:
        return None, None
    index = rollout.status.current_step_index or 0
    return (steps[index] if 0 <= index < len(steps) else None), index


def current_set_weight(rollout: Rollout) -> int:
    """Weight of the last setWeight step at or before the current one.

    0 before the first one and after an abort; all traffic without steps and behind the last.
    """
    if rollout.status.abort:
        return 0
    step, index = current_step(rollout)
    if step is None or index is None:
        return defaults.max_traffic_weight(rollout)
    for earlier in reversed((defaults.canary_of(rollout).steps or [])[: index + 1]):
        if earlier.set_weight is not None:
            return earlier.set_weight
    return 0


def set_canary_scale(rollout: Rollout) -> SetCanaryScale | None:
    """The setCanaryScale in force: the last one at or before the current step.

    None when there is none, when it says matchTrafficWeight, without a router, and after an abort
    (unless the canary stays: `abortScaleDownDelaySeconds: 0`).
    """
    if not defaults.is_routed(rollout):
        return None
    if rollout.status.abort and defaults.abort_scale_down_delay_seconds(rollout) is not None:
        return None
    step, index = current_step(rollout)
    if step is None or index is None:
        return None
    for earlier in reversed((defaults.canary_of(rollout).steps or [])[: index + 1]):
        if earlier.set_canary_scale is not None:
            scale = earlier.set_canary_scale
            return None if scale.match_traffic_weight else scale
    return None


def canary_size(
    rollout: Rollout, canary: ReplicaSetView | None, stable: ReplicaSetView | None
) -> CanarySize:
    """What the canary's size follows now."""
    status = rollout.status
    if status.promote_full or status.stable_rs in ("", status.current_pod_hash):
        return CanarySize(None, defaults.max_traffic_weight(rollout))
    scale = set_canary_scale(rollout)
    if scale is not None and scale.replicas is not None:
        return CanarySize(scale.replicas, 0)
    if scale is not None and scale.weight is not None:
        return CanarySize(None, scale.weight)
    return CanarySize(None, canary_target_weight(rollout, canary, stable))


def canary_target_weight(
    rollout: Rollout, canary: ReplicaSetView | None, stable: ReplicaSetView | None
) -> int:
    """The weight that pods are made ready for.

    The current setWeight; but after an abort with dynamicStableScale, when stable must grow again, the
    setWeights downward, one at a time: the highest that needs fewer canary pods than are still needed
    now. (A canary that is kept until its deadline must not hold the weight up.)
    """
    if (
        not (rollout.status.abort and defaults.canary_of(rollout).dynamic_stable_scale)
        or canary is None
        or stable is None
    ):
        return current_set_weight(rollout)
    total, full = defaults.replicas(rollout), defaults.max_traffic_weight(rollout)
    needed = total - stable.available
    kept = (
        defaults.abort_scale_down_delay_is_explicit(rollout)
        and defaults.abort_scale_down_delay_seconds(rollout) is not None
    )
    if not kept:
        needed = max(needed, canary.available)
    for step in reversed(defaults.canary_of(rollout).steps or []):
        if step.set_weight is not None and pods_for(step.set_weight, total, full) < needed:
            return step.set_weight
    return 0


def pods_for(weight: int, replicas: int, max_weight: int) -> int:
    """Pods that carry `weight` of `max_weight`, rounded up."""
    return math.ceil(weight * replicas / max_weight)


def ideal_sizes(replicas: int, weight: int, max_weight: int, surge: int) -> Sizes:
    """The pair of sizes, out of `replicas` or (with surge) one more pod, that is nearest to the weight.

    The larger canary is looked at first and wins ties. With more than one pod to place, a weight between
    the ends gets at least one pod, and does not take all of them.

    As Argo's, it leaves the canary out where the larger one would take all pods and the smaller one loses the
    tie to it: 90 % of 5 pods, 95 % of 10, without surge.
    """
    if replicas == 0:
        return Sizes(0, 0)
    share = replicas * weight / max_weight
    larger, smaller = math.ceil(share), math.floor(share)
    all_or_none = weight in (0, max_weight) or (replicas == 1 and surge <= 0)
    options = []
    for total in (replicas, replicas + 1) if surge > 0 else (replicas,):
        if larger < replicas or all_or_none or total > replicas:
            options.append(Sizes(larger, total - larger))
        tied = math.modf(total * (weight / max_weight))[0] == 0.5
        if not tied and (smaller != 0 or all_or_none):
            options.append(Sizes(smaller, total - smaller))
    return min(
        options,
        key=lambda sizes: abs(sizes.canary * max_weight / sum(sizes) - weight),
        default=Sizes(0, replicas),
    )


def routed_sizes(
    rollout: Rollout,
    canary: ReplicaSetView | None,
    stable: ReplicaSetView | None,
    weights: TrafficWeights | None,
) -> Sizes:
    """Sizes of a canary whose weight a router moves; `weights` are those that status records.

    Stable stays whole, unless dynamicStableScale lets it follow the weight: never below what the recorded
    weights still send to it, nor, after an abort, the canary below what is still sent there.
    """
    total, full = defaults.replicas(rollout), defaults.max_traffic_weight(rollout)
    size = canary_size(rollout, canary, stable)
    if size.replicas is not None:
        canary_pods = size.replicas
    else:
        canary_pods = _at_least_minimum(rollout, pods_for(size.weight, total, full))
    if not defaults.canary_of(rollout).dynamic_stable_scale:
        return Sizes(canary_pods, total)
    stable_pods = pods_for(full - size.weight, total, full)
    if weights is not None:
        stable_pods = max(stable_pods, pods_for(weights.stable.weight, total, full))
        if rollout.status.abort:
            canary_pods = max(canary_pods, pods_for(weights.canary.weight, total, full))
    return Sizes(_at_least_minimum(rollout, canary_pods), _at_least_minimum(rollout, stable_pods))


def _at_least_minimum(rollout: Rollout, count: int) -> int:
    """`count`, raised to minPodsPerReplicaSet (at most spec.replicas) unless it is 0."""
    minimum = defaults.canary_of(rollout).min_pods_per_replica_set
    if count == 0 or minimum is None or not defaults.is_routed(rollout):
        return count
    return max(count, min(minimum, defaults.replicas(rollout)))


def threshold_met(
    threshold: ReplicaProgressThreshold | None, replica_set: ReplicaSetView | None, desired: int
) -> bool:
    """Whether enough of the `desired` pods are available for the step to go on.

    Without a threshold (or with a negative one): all of them, and the ReplicaSet has that size.
    """
    if replica_set is None:
        return False
    if threshold is None or threshold.value < 0:
        return desired == replica_set.replicas == replica_set.available
    if threshold.type != "Percent":
        return replica_set.available >= threshold.value
    return desired == 0 or replica_set.available / desired * 100 >= threshold.value - _SLACK


def preview_size(
    rollout: Rollout, new: ReplicaSetView, replica_sets_of_rollout: Iterable[ReplicaSetView]
) -> int:
    """Size of a blue-green rollout's new ReplicaSet.

    `previewReplicaCount` until it is promoted: until the active Service selects it, all is promoted by
    request, or it was resumed after its pause (scaleUpPreviewCheckPoint).
    """
    blue_green, status = rollout.spec.strategy.blue_green, rollout.status
    total = defaults.replicas(rollout)
    if blue_green is None or blue_green.preview_replica_count is None:
        return total
    active = replica_sets.by_hash(replica_sets_of_rollout, status.blue_green.active_selector)
    if active is None or active.name == new.name or status.promote_full:
        return total
    if new.hash == status.current_pod_hash:
        paused = rollout.spec.paused or bool(status.pause_conditions)
        if not paused and status.blue_green.scale_up_preview_check_point:
            return total
    return blue_green.preview_replica_count
