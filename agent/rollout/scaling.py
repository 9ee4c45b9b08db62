"""Pods: every ReplicaSet's size in this pass, traffic first. PURE.

Up is sent before the weight rises, down only after the routes were read back without weight for the pods
that go (and the drain time has passed).
"""

from datetime import datetime, timedelta

from agent.api import names
from agent.api.meta import Ref
from agent.api.times import format_time
from agent.rollout import defaults, names_of_services, revisions
from agent.rollout.draft import Draft, merge
from agent.rollout.drain import drained, drained_at
from agent.rollout.replica_sets import ReplicaSetView
from agent.rollout.replicas import Sizes, pods_for, routed_sizes
from agent.rollout.sizing import basic_sizes
from agent.rollout.types import Stage


def scale(draft: Draft) -> None:
    """Size the new, the stable and the other ReplicaSets."""
    facts = draft.facts
    sizes = _sizes(draft)
    held = draft.rollout.spec.paused and not _is_scaling_event(draft)
    if facts.new is None:
        if not held:
            revisions.create(draft, sizes.canary)
    elif not held:
        _scale_new(draft, facts.new, sizes.canary)
    if facts.stable is not None and facts.stable is not facts.new and not held:
        _scale_stable(draft, facts.stable, sizes.stable)
    for item in facts.others:
        _scale_other(draft, item)


def _sizes(draft: Draft) -> Sizes:
    facts, rollout = draft.facts, draft.rollout
    if facts.router is None and not defaults.is_routed(rollout):
        return basic_sizes(rollout, facts.new, facts.stable, facts.others)
    return routed_sizes(rollout, facts.new, facts.stable, draft.status.canary.weights)


def _is_scaling_event(draft: Draft) -> bool:
    """Whether spec.replicas changed since the ReplicaSets were last sized."""
    wanted = str(defaults.replicas(draft.rollout))
    return any(
        item.replicas > 0 and item.annotations.get(names.DESIRED_REPLICAS, wanted) != wanted
        for item in draft.facts.sets
    )


def _scale_new(draft: Draft, new: ReplicaSetView, count: int) -> None:
    if draft.status.abort and draft.status.stable_rs != draft.facts.new_hash:
        _scale_aborted(draft, new, count)
        return
    if new.scale_down_deadline is not None:
        _set_deadline(draft, new, None)
    _size(draft, new, max(count, _carrying(draft)) if count < new.replicas else count)


def _scale_aborted(draft: Draft, new: ReplicaSetView, count: int) -> None:
    """An aborted canary keeps its pods for a while (a retry finds them warm), then goes."""
    facts = draft.facts
    delay = defaults.abort_scale_down_delay_seconds(draft.rollout)
    if new.replicas <= count:
        _size(draft, new, count)
        return
    if not _canary_is_off(draft):
        return
    if delay is None and not defaults.canary_of(draft.rollout).dynamic_stable_scale:
        return  # abortScaleDownDelaySeconds: 0 keeps the pods until somebody decides
    if not delay:
        _size(draft, new, count)
        return
    deadline = new.scale_down_deadline
    if deadline is None:
        deadline = facts.now + timedelta(seconds=delay)
        _set_deadline(draft, new, deadline)
    if facts.now <= deadline:
        draft.wake(deadline + timedelta(seconds=1))
        return
    _size(draft, new, count)


def _scale_stable(draft: Draft, stable: ReplicaSetView, count: int) -> None:
    if stable.scale_down_deadline is not None:
        _set_deadline(draft, stable, None)
    if count < stable.replicas and defaults.canary_of(draft.rollout).dynamic_stable_scale:
        at = drained_at(draft.facts)
        if at is None or at > draft.facts.now:
            draft.wake(at)
            return
    _size(draft, stable, count)


def _scale_other(draft: Draft, item: ReplicaSetView) -> None:
    """Versions that are neither new nor stable."""
    facts, status = draft.facts, draft.status
    if item.replicas == 0:
        return
    if not defaults.is_routed(draft.rollout):
        _size(draft, item, 0)
        return
    if _is_named(draft, item):
        return  # some name still selects it
    promoted = status.stable_rs == facts.new_hash
    deadline = item.scale_down_deadline
    if promoted or deadline is not None:
        delay = defaults.scale_down_delay_seconds(draft.rollout)
        if defaults.canary_of(draft.rollout).dynamic_stable_scale:
            delay = 0
        if deadline is None and delay > 0:
            deadline = facts.now + timedelta(seconds=delay)
            _set_deadline(draft, item, deadline)
        if deadline is not None and facts.now <= deadline:
            draft.wake(deadline + timedelta(seconds=1))
            return
    if not _canary_is_off(draft) and (not promoted or draft.services.swap):
        return
    if promoted and not drained(draft):
        return
    _size(draft, item, 0)


def _canary_is_off(draft: Draft) -> bool:
    """Whether no traffic has followed the canary for the drain time."""
    facts = draft.facts
    if facts.router is None:
        return True
    if facts.live_weight is None:
        return False
    if facts.live_weight > 0 or facts.live_managed:
        # A canary that other pods have taken over already carries its weight without the old ones.
        return (
            names_of_services.selected(facts.services.get(draft.services.canary)) == facts.new_hash
            and facts.new is not None
            and facts.new.available > 0
            and not draft.status.abort
        )
    return drained(draft)


def _is_named(draft: Draft, item: ReplicaSetView) -> bool:
    """Whether a Service leads to this version. The canary's of ping and pong keeps one that has no traffic."""
    roles = draft.services
    kept = roles.canary if roles.swap else None
    return any(
        names_of_services.selected(service) == item.hash
        for name, service in draft.facts.services.items()
        if item.hash and name != kept
    )


def _carrying(draft: Draft) -> int:
    """Canary pods that the weight and the managed routes need."""
    facts = draft.facts
    total = defaults.replicas(draft.rollout)
    if (
        facts.router is None
        or facts.live_weight is None
        or draft.status.stable_rs == facts.new_hash
    ):
        return 0
    needed = pods_for(facts.live_weight, total, defaults.max_traffic_weight(draft.rollout))
    if facts.live_managed and total:
        needed = max(needed, 1)
    if needed == 0 and total > 0 and not drained(draft):
        return facts.new.replicas if facts.new else 0
    return needed


def _size(draft: Draft, item: ReplicaSetView, count: int) -> None:
    if item.replicas == count:
        return
    up = count > item.replicas
    annotations: dict[str, str | None] = {
        names.DESIRED_REPLICAS: str(defaults.replicas(draft.rollout))
    }
    if count == 0:
        annotations[names.SCALE_DOWN_DEADLINE] = None
    draft.write(
        merge(
            Stage.PODS_UP if up else Stage.PODS_DOWN,
            Ref("ReplicaSet", draft.facts.namespace, item.name),
            {"metadata": {"annotations": annotations}, "spec": {"replicas": count}},
            f"from {item.replicas} to {count} pods",
        )
    )
    draft.record(
        "ScalingReplicaSet",
        f"Scaled {'up' if up else 'down'} ReplicaSet {item.name} from {item.replicas} to {count}",
    )


def _set_deadline(draft: Draft, item: ReplicaSetView, deadline: datetime | None) -> None:
    text = format_time(deadline) if deadline else None
    draft.write(
        merge(
            Stage.PODS_DOWN if deadline else Stage.PODS_UP,
            Ref("ReplicaSet", draft.facts.namespace, item.name),
            {"metadata": {"annotations": {names.SCALE_DOWN_DEADLINE: text}}},
            "keeps its pods for a while" if deadline else "keeps its pods",
            guarded=False,
        )
    )
