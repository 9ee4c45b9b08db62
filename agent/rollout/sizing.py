"""Moves towards the sizes of agent.rollout.replicas, within surge and unavailability, and their end. PURE."""

from collections.abc import Sequence

from agent.api.rollout import Rollout, TrafficWeights
from agent.rollout import defaults, replica_sets
from agent.rollout.replica_sets import ReplicaSetView
from agent.rollout.replicas import (
    Sizes,
    canary_size,
    ideal_sizes,
    max_surge,
    max_unavailable,
    routed_sizes,
    threshold_met,
)


def basic_sizes(
    rollout: Rollout,
    canary: ReplicaSetView | None,
    stable: ReplicaSetView | None,
    others: Sequence[ReplicaSetView],
) -> Sizes:
    """Next sizes of a canary without a router: one move.

    Up first, stable before the canary, within spec.replicas + maxSurge. Then down: only when all `others`
    are empty, never below spec.replicas - maxUnavailable available pods. While the canary grows, stable's
    unavailable pods do not hold the move up, and the other way round: they would never become available
    if the move waited for them.

    Without a stable that differs from the canary, the canary gets everything.
    """
    if stable is not None and canary is not None and stable.name == canary.name:
        stable = None
    total = defaults.replicas(rollout)
    surge = max_surge(rollout)
    goal = Sizes(total, 0)
    if stable is not None:
        weight = canary_size(rollout, canary, stable).weight
        goal = ideal_sizes(total, weight, defaults.max_traffic_weight(rollout), surge)
    now = Sizes(canary.replicas if canary else 0, stable.replicas if stable else 0)
    room = max(0, total + surge - sum(now) - replica_sets.wanted(others))
    stable_pods = now.stable + min(room, max(0, goal.stable - now.stable))
    room -= stable_pods - now.stable
    canary_pods = now.canary
    if canary is not None:
        canary_pods += min(room, max(0, goal.canary - now.canary))
    if replica_sets.wanted(others) > 0:
        return Sizes(canary_pods, stable_pods)

    floor = total - max_unavailable(rollout)
    growing = canary is None or goal.canary >= now.canary
    spare = _countable(canary, all_wanted=not growing) + _countable(stable, all_wanted=growing)
    spare -= floor
    if spare <= 0:
        return Sizes(canary_pods, stable_pods)
    if canary is not None and not growing:
        canary_pods = max(goal.canary, now.canary - spare)
        return Sizes(*_balance(canary, stable, (canary_pods, stable_pods), total + surge, floor))
    if stable is not None:
        if now.stable > goal.stable:
            stable_pods = max(goal.stable, now.stable - spare)
        drained, other = _balance(stable, canary, (stable_pods, canary_pods), total + surge, floor)
        return Sizes(other, drained)
    return Sizes(canary_pods, stable_pods)


def _countable(replica_set: ReplicaSetView | None, *, all_wanted: bool) -> int:
    """Pods that count as available in the budget for going down.

    Never more than wanted: what is above is going away already.
    """
    if replica_set is None:
        return 0
    return replica_set.replicas if all_wanted else min(replica_set.replicas, replica_set.available)


def _balance(
    drained: ReplicaSetView,
    other: ReplicaSetView | None,
    sizes: tuple[int, int],
    most: int,
    floor: int,
) -> tuple[int, int]:
    """`sizes` (drained, other) brought within `most` pods in all.

    The other one gives up what is too much, but not available pods that are needed to reach `floor`.
    """
    draining, kept = sizes
    if other is None:
        return draining, kept
    kept -= max(0, kept + draining - most)
    available = min(drained.available, draining) + min(other.available, kept)
    kept += min(max(0, other.available - kept), max(0, floor - available))
    return draining - max(0, kept + draining - most), kept


def at_desired(
    rollout: Rollout,
    canary: ReplicaSetView | None,
    stable: ReplicaSetView | None,
    others: Sequence[ReplicaSetView],
    weights: TrafficWeights | None,
) -> bool:
    """Whether the pods are as the current step wants them, so that it may be complete.

    The canary must be available (up to replicaProgressThreshold); stable must only have its pods, and is
    not looked at with dynamicStableScale. Without a router older pods would get traffic: none may be left.

    Args:
        weights: those that the next status will record.
    """
    routed = defaults.is_routed(rollout)
    if routed:
        goal = routed_sizes(rollout, canary, stable, weights)
    else:
        goal = basic_sizes(rollout, canary, stable, others)
    strategy = defaults.canary_of(rollout)
    if not threshold_met(strategy.replica_progress_threshold, canary, goal.canary):
        return False
    if not (routed and strategy.dynamic_stable_scale) and (
        stable is None or not goal.stable == stable.replicas == stable.status_replicas
    ):
        return False
    return routed or replica_sets.available(others) == 0
