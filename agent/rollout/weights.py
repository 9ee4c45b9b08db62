"""Which weight the canary should have, and which names may be re-pointed. PURE.

The rules are Argo's (its trafficrouting.go), but for what it leaves unsafe: a canary without pods and an
aborted one are lowered whatever state stable is in, and a full promotion first moves the traffic.
"""

from collections.abc import Sequence

import msgspec

from agent.analysis.verdict import Compat
from agent.api.meta import Object
from agent.api.rollout import Rollout, TrafficWeights, WeightDestination
from agent.api.service_roles import service_roles
from agent.rollout import defaults, replicas
from agent.rollout.experiment_weights import weighted_destinations
from agent.rollout.replica_sets import ReplicaSetView
from agent.rollout.sizing import at_desired


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What the routes should come to.

    Attributes:
        weight: the canary's weight; None leaves the routes alone.
        managed_routes_removed: header and mirror routes go, whatever the steps say.
        additional: what the running experiment gets of the stable version's share.
    """

    weight: int | None
    managed_routes_removed: bool = False
    additional: tuple[WeightDestination, ...] = ()


def wanted(
    rollout: Rollout,
    new: ReplicaSetView | None,
    stable: ReplicaSetView | None,
    others: tuple[ReplicaSetView, ...] = (),
    *,
    live: int | None = None,
    experiment: Object | None = None,
    compat: Compat = "safe",
) -> Wanted:
    """The weight for this state.

    Going back to the stable version in mid-rollout with dynamicStableScale, `argo` keeps the weight until all stable
    pods are there; else it is left to them (None), as many as there are.

    Args:
        live: the weight that the routes have; the recorded one counts when it cannot be read.
        experiment: the current one.
    """
    status = rollout.status
    full = defaults.max_traffic_weight(rollout)
    recorded = status.canary.weights.canary.weight if status.canary.weights else 0
    if status.stable_rs and status.stable_rs == status.current_pod_hash:
        carried = stable is None or _stable_carries(rollout, stable, full, full)
        if not carried and compat == "argo" and _goes_back(rollout):
            return Wanted(weight=recorded)
        return Wanted(weight=0 if carried else None, managed_routes_removed=True)
    if not status.stable_rs or stable is None:
        return Wanted(weight=None, managed_routes_removed=new is None or new.available == 0)
    if status.abort:
        current = None if status.canary.weights is None else recorded
        weight = _aborted(rollout, stable, current if live is None else live)
        return Wanted(weight=weight, managed_routes_removed=True)
    if new is None or new.available == 0:
        return Wanted(weight=0, managed_routes_removed=True)
    weight, removed = _advancing(rollout, new, stable, others, recorded, full)
    if not _stable_carries(rollout, stable, full - weight, full):
        return Wanted(weight=None, managed_routes_removed=removed)
    at_end = (status.current_step_index or 0) >= len(defaults.canary_of(rollout).steps or ())
    additional = () if removed or at_end else weighted_destinations(rollout, experiment)
    return Wanted(weight=weight, managed_routes_removed=removed, additional=additional)


def _goes_back(rollout: Rollout) -> bool:
    """Whether the version before the stable one of the spec still has traffic (with dynamicStableScale)."""
    status, weights = rollout.status, rollout.status.canary.weights
    return bool(
        defaults.canary_of(rollout).dynamic_stable_scale
        and weights
        and weights.canary.weight
        and weights.canary.pod_template_hash != status.current_pod_hash
    )


def _aborted(rollout: Rollout, stable: ReplicaSetView, current: int | None) -> int:
    """0; with dynamicStableScale the next lower setWeight as soon as stable can carry the rest."""
    total = defaults.replicas(rollout)
    if not defaults.canary_of(rollout).dynamic_stable_scale or total == 0:
        return 0
    carried = least(rollout, stable)
    if current is None:
        return carried
    lower = [s.set_weight for s in defaults.canary_of(rollout).steps or () if s.set_weight]
    lower = [weight for weight in lower if weight < current]
    if not lower:
        return min(current, carried)
    full = defaults.max_traffic_weight(rollout)
    return max(lower) if _stable_carries(rollout, stable, full - max(lower), full) else current


def least(rollout: Rollout, stable: ReplicaSetView) -> int:
    """The weight that must stay on the canary because stable has no pods for it (yet)."""
    total, full = defaults.replicas(rollout), defaults.max_traffic_weight(rollout)
    return max(0, full - full * stable.available // total) if total else 0


def _advancing(
    rollout: Rollout,
    new: ReplicaSetView,
    stable: ReplicaSetView,
    others: tuple[ReplicaSetView, ...],
    recorded: int,
    full: int,
) -> tuple[int, bool]:
    status, strategy = rollout.status, defaults.canary_of(rollout)
    total = defaults.replicas(rollout)
    if not strategy.steps and not status.promote_full:
        return 0, False
    if status.promote_full:
        if strategy.dynamic_stable_scale:
            return (full * new.available // total if total else full), True
        return recorded, True
    if not at_desired(rollout, new, stable, others, status.canary.weights):
        return _before(rollout), False
    return replicas.current_set_weight(rollout), False


def _before(rollout: Rollout) -> int:
    """Weight of the nearest setWeight strictly before the current step."""
    index = rollout.status.current_step_index or 0
    for step in reversed((defaults.canary_of(rollout).steps or [])[:index]):
        if step.set_weight is not None:
            return step.set_weight
    return 0


def _stable_carries(rollout: Rollout, stable: ReplicaSetView, share: int, full: int) -> bool:
    """Whether stable has the pods for its share of the traffic, rounded down."""
    needed = share * defaults.replicas(rollout) // full
    if stable.available >= needed:
        return True
    threshold = defaults.canary_of(rollout).replica_progress_threshold
    return threshold is not None and replicas.threshold_met(threshold, stable, needed)


def recorded_weights(
    rollout: Rollout,
    weight: int,
    canary_hash: str,
    stable_hash: str,
    additional: Sequence[WeightDestination] = (),
) -> TrafficWeights:
    """status.canary.weights for weights that the routes have."""
    services = service_roles(rollout)
    full = defaults.max_traffic_weight(rollout)
    return TrafficWeights(
        canary=WeightDestination(
            weight=weight, service_name=services.canary, pod_template_hash=canary_hash
        ),
        stable=WeightDestination(
            weight=full - weight - sum(item.weight for item in additional),
            service_name=services.stable,
            pod_template_hash=stable_hash,
        ),
        additional=list(additional) or None,
    )
