"""The weight on the routes: what it should be in this pass, and the writes that bring it there. PURE."""

from collections.abc import Sequence

import msgspec

from agent.api.rollout import WeightDestination
from agent.api.service_roles import service_roles
from agent.errors import Refused
from agent.rollout import defaults, drift, managed_routes, names_of_services, weights
from agent.rollout.draft import Draft
from agent.rollout.types import Stage, Write
from agent.traffic.istio_subsets import switch_delay
from agent.traffic.types import Desired, ManagedRoute, RouteChange

_STAGES = {"lower": Stage.ROUTES_DOWN, "repoint": Stage.SELECTORS, "raise": Stage.ROUTES_UP}


def record_weight(draft: Draft) -> None:
    """status.canary.weights is what the routes were read to say, not what was asked of them."""
    facts, status = draft.facts, draft.status
    if facts.router is None or facts.live_weight is None or not status.stable_rs:
        return
    wanted = _wanted(draft)
    aim = wanted.weight
    draft.drift = drift.find(draft, aim)
    if draft.drift and draft.drift[1] > draft.drift[0] and aim is not None:
        # It is put back in this very pass: a weight that nobody asked for is not one to size pods by.
        return
    old = status.canary.weights
    now = weights.recorded_weights(
        draft.rollout,
        facts.live_weight,
        _canary_hash(draft),
        status.stable_rs,
        _additional(draft, wanted.additional),
    )
    now = msgspec.structs.replace(now, verified=facts.confirmation.verified)
    if now != old:
        before = old.canary.weight if old else 0
        draft.set_canary(weights=now)
        if before != facts.live_weight:
            draft.record(
                "TrafficWeightUpdated",
                f"Traffic weight updated from {before} to {facts.live_weight}",
            )


def _wanted(draft: Draft) -> weights.Wanted:
    facts = draft.facts
    return weights.wanted(
        draft.rollout,
        facts.new,
        draft.stable,
        facts.others,
        live=facts.live_weight,
        experiment=facts.experiment,
        compat=facts.policy.compat,
    )


def _canary_hash(draft: Draft) -> str:
    """The version that the weight is recorded for: while it goes back to stable, the one that it comes from."""
    facts, status = draft.facts, draft.status
    old = status.canary.weights
    if status.stable_rs == status.current_pod_hash and facts.live_weight and old is not None:
        return old.canary.pod_template_hash
    return facts.new.hash if facts.new else ""


def _additional(draft: Draft, wanted: Sequence[WeightDestination]) -> Sequence[WeightDestination]:
    """What experiments are recorded to have: what is wanted, once the routes show it."""
    facts, old = draft.facts, draft.status.canary.weights
    recorded = (old.additional if old is not None else None) or ()
    if facts.router is None or list(wanted) == list(recorded):
        return recorded
    desired = Desired(canary_weight=facts.live_weight, additional=tuple(wanted))
    plan = facts.router.plan(draft.rollout, facts.routes, desired)
    return recorded if plan.changes or plan.refusal else wanted


def move(draft: Draft) -> None:
    """Plan the routes. Raises Refused when they cannot be driven and nothing urgent stands against it."""
    facts = draft.facts
    if facts.router is None or draft.services != service_roles(facts.rollout):
        # Ping and pong swap in this very pass: a lower by their new roles would go out before the fence.
        return
    canary_hash, stable_hash = _subset_hashes(draft)
    weight = _weight(draft, canary_hash)
    desired = Desired(
        canary_weight=weight,
        canary_hash=canary_hash,
        stable_hash=stable_hash,
        additional=_wanted(draft).additional,
        managed=_managed(draft, canary_hash),
    )
    plan = facts.router.plan(draft.rollout, facts.routes, desired)
    for change in _admitted(draft, plan.changes, desired):
        draft.write(_write(change, weight))
    if plan.refusal is not None:
        sentence = f"the routes cannot be driven: {plan.refusal.field}: {plan.refusal.detail}"
        if draft.status.abort:
            draft.waits.insert(0, sentence)
        else:
            raise Refused(plan.refusal.detail, field=plan.refusal.field)


def _admitted(
    draft: Draft, changes: Sequence[RouteChange], desired: Desired
) -> Sequence[RouteChange]:
    """The changes without raises that nothing allows now, or that would only carry on a fight.

    What was written last must be in force before more is exposed: a raise that the proxies have not taken up
    says nothing about the version.

    One of several routes may be below the others (somebody lowered it), so the weight alone does not tell.
    """
    kinds = {change.direction for change in changes}
    stopped = draft.blocked or draft.status.abort
    if stopped and (draft.facts.policy.frozen or not _hands_over(draft)):
        return [change for change in changes if change.direction != "raise"]
    if "raise" in kinds:
        if draft.facts.unconfirmed:
            draft.waits.insert(0, draft.facts.unconfirmed)
            return [change for change in changes if change.direction != "raise"]
        live, aim = draft.facts.live_weight or 0, desired.canary_weight
        managed = frozenset(item.name for item in desired.managed if item.match)
        if not drift.may_raise(draft, live if aim is None else aim, managed):
            return [change for change in changes if change.direction != "raise"]
        drift.note_raise(draft, live if aim is None else aim, managed)
    elif "lower" in kinds and draft.drift is None and not draft.status.abort:
        drift.forget(draft)
    return changes


def _subset_hashes(draft: Draft) -> tuple[str | None, str | None]:
    """What the subsets should select now; None leaves one as it is.

    Where nothing but a subset leads to the pods, it moves only to a version that is fully available. (Argo
    asks this of both versions, so that a stable one in trouble keeps its own mending from being released.)
    """
    facts = draft.facts
    canary = names_of_services.canary_target(draft)
    stable = names_of_services.stable_target(draft)
    available = {item.hash: (item.name, item.replicas, item.available) for item in facts.sets}
    delay = switch_delay(draft.rollout, available, canary=canary or "")
    if delay and _would_move(draft, Desired(canary_hash=canary)):
        draft.waits.insert(0, delay)
        canary = None
    delay = switch_delay(draft.rollout, available, stable=stable or "")
    if delay and _would_move(draft, Desired(stable_hash=stable)):
        draft.waits.insert(0, delay)
        stable = None
    return canary, stable


def _would_move(draft: Draft, desired: Desired) -> bool:
    router = draft.facts.router
    return router is not None and bool(
        router.plan(draft.rollout, draft.facts.routes, desired).changes
    )


def _weight(draft: Draft, canary_hash: str | None) -> int | None:
    """The weight for this pass; None leaves it."""
    facts, status = draft.facts, draft.status
    live = facts.live_weight
    weight = _wanted(draft).weight
    promoted = status.stable_rs == status.current_pod_hash
    if _hands_over(draft):
        # Just promoted, whatever came after it: below full weight users would get the version before.
        draft.wait("waits for the stable names to select the promoted version")
        # One of several that somebody lowered follows the stable name, which would never be idle then.
        return None if facts.routes_agree else live
    if status.stable_rs and (status.abort or promoted):
        return _back(draft, weight)
    if _all_is_ready(draft):
        weight = defaults.max_traffic_weight(draft.rollout)
    if weight and not _canary_is_named(draft, canary_hash):
        # Traffic would follow the name to another version; it comes over once nobody follows it.
        draft.wait("waits for the canary names to select the new version")
        return 0 if live else None
    if weight is not None and live is not None and weight > live and draft.blocked:
        return None
    return weight


def _managed(draft: Draft, canary_hash: str | None) -> tuple[ManagedRoute, ...]:
    """Header and mirror routes for this pass. They lead to the canary's names, so these come first."""
    rollout = draft.rollout
    gone = managed_routes.gone(rollout)
    if not gone:
        return ()
    wanted = _wanted(draft)
    if wanted.managed_routes_removed or not managed_routes.have_pods(draft):
        return gone
    if wanted.weight is None:
        return ()
    if not _canary_is_named(draft, canary_hash):
        return gone
    by_steps = managed_routes.by_steps(rollout)
    if draft.blocked:
        return tuple(item for item in by_steps if not item.match)
    return by_steps


def _back(draft: Draft, weight: int | None) -> int | None:
    """Back to stable: as fast as its ready pods can carry it, and never up."""
    live, stable = draft.facts.live_weight, draft.stable
    if live is None or stable is None:
        return weight
    if live == 0:
        return 0
    stays = weights.least(draft.rollout, stable)
    if stays:
        draft.wait("waits for stable pods to take the traffic back")
    return min(live, max(weight or 0, stays))


def _all_is_ready(draft: Draft) -> bool:
    """Whether the new version may take all traffic without (further) steps: it has all its pods."""
    facts, status = draft.facts, draft.status
    if not (status.promote_full or not facts.steps) or not status.stable_rs or status.abort:
        return False
    return facts.new is not None and facts.new.available >= defaults.replicas(draft.rollout)


def _hands_over(draft: Draft) -> bool:
    """Whether a promoted version has all traffic by the canary's names, until the stable ones come over."""
    full = defaults.max_traffic_weight(draft.rollout)
    return bool(
        draft.status.stable_rs and draft.facts.live_weight == full and _names_are_behind(draft)
    )


def _names_are_behind(draft: Draft) -> bool:
    """Whether Service or subset named stable select another version than the stable one."""
    facts, target = draft.facts, draft.status.stable_rs
    chosen = names_of_services.selected(facts.services.get(draft.services.stable))
    if chosen:
        return chosen != target
    return _would_move(draft, Desired(stable_hash=target))


def _canary_is_named(draft: Draft, pointed: str | None) -> bool:
    """Whether Service or subset named canary select the new version, or will by this very pass."""
    facts = draft.facts
    if pointed == facts.new_hash:
        return True
    service = facts.services.get(draft.services.canary)
    if service is not None:
        return names_of_services.selected(service) == facts.new_hash
    if facts.router is None:
        return True
    return not _would_move(draft, Desired(canary_hash=facts.new_hash))


def _write(change: RouteChange, weight: int | None) -> Write:
    return Write(
        stage=_STAGES[change.direction],
        verb="json",
        ref=change.ref,
        body=list(change.patch),
        guarded=change.direction != "lower",
        canary_weight=None if change.direction == "repoint" else weight,
        reason=change.reason,
    )
