"""The weight on the routes: what it should be in this pass, and the writes that bring it there. PURE."""

import msgspec

from agent.errors import Refused
from agent.rollout import defaults, names_of_services, weights
from agent.rollout.draft import Draft
from agent.rollout.types import Stage, Write
from agent.traffic.types import Desired, RouteChange

_STAGES = {"lower": Stage.ROUTES_DOWN, "repoint": Stage.SELECTORS, "raise": Stage.ROUTES_UP}


def record_weight(draft: Draft) -> None:
    """status.canary.weights is what the routes were read to say, not what was asked of them."""
    facts, status = draft.facts, draft.status
    if facts.router is None or facts.live_weight is None or not status.stable_rs:
        return
    now = weights.recorded_weights(
        draft.rollout, facts.live_weight, facts.new.hash if facts.new else "", status.stable_rs
    )
    old = status.canary.weights
    if old is not None:
        now = msgspec.structs.replace(now, additional=old.additional, verified=old.verified)
    if now != old:
        before = old.canary.weight if old else 0
        draft.set_canary(weights=now)
        if before != facts.live_weight:
            draft.record(
                "TrafficWeightUpdated",
                f"Traffic weight updated from {before} to {facts.live_weight}",
            )


def move(draft: Draft) -> None:
    """Plan the routes. Raises Refused when they cannot be driven and nothing urgent stands against it."""
    facts = draft.facts
    if facts.router is None:
        return
    canary_hash = names_of_services.canary_target(draft)
    stable_hash = names_of_services.stable_target(draft)
    weight = _weight(draft, stable_hash)
    desired = Desired(canary_weight=weight, canary_hash=canary_hash, stable_hash=stable_hash)
    plan = facts.router.plan(draft.rollout, facts.routes, desired)
    for change in plan.changes:
        draft.write(_write(change, weight))
    if plan.refusal is not None:
        sentence = f"the routes cannot be driven: {plan.refusal.field}: {plan.refusal.detail}"
        if draft.status.abort:
            draft.wait(sentence)
        else:
            raise Refused(plan.refusal.detail, field=plan.refusal.field)


def _weight(draft: Draft, stable_hash: str | None) -> int | None:
    """The weight for this pass; None leaves it."""
    facts, status = draft.facts, draft.status
    live = facts.live_weight
    weight = weights.wanted(draft.rollout, facts.new, draft.stable, facts.others, live=live).weight
    promoted = status.stable_rs == status.current_pod_hash
    if status.stable_rs and (status.abort or promoted):
        return _back(draft, weight, stable_hash)
    if _all_is_ready(draft):
        weight = defaults.max_traffic_weight(draft.rollout)
    if weight is not None and live is not None and weight > live and draft.blocked:
        return None
    return weight


def _back(draft: Draft, weight: int | None, stable_hash: str | None) -> int | None:
    """Back to stable: as fast as its ready pods can carry it, and never up.

    After a promotion only once the stable names have come over.
    """
    facts, live = draft.facts, draft.facts.live_weight
    stable = draft.stable
    if live is None or stable is None:
        return weight
    if live == 0:
        return 0
    was_canary = stable is facts.new and not _is_foreign_to_routes(draft)
    if was_canary and not _stable_names_are_over(draft, stable_hash):
        return None
    stays = weights.least(draft.rollout, stable)
    if stays:
        draft.wait("waits for stable pods to take the traffic back")
    return min(live, max(weight or 0, stays))


def _is_foreign_to_routes(draft: Draft) -> bool:
    """Whether the canary names select another version: the user went back to stable in mid-rollout."""
    facts = draft.facts
    name = facts.canary.canary_service
    chosen = names_of_services.selected(facts.services.get(name))
    return bool(chosen) and chosen != draft.status.stable_rs


def _all_is_ready(draft: Draft) -> bool:
    """Whether the new version may take all traffic without (further) steps: it has all its pods."""
    facts, status = draft.facts, draft.status
    if not (status.promote_full or not facts.steps) or not status.stable_rs or status.abort:
        return False
    return facts.new is not None and facts.new.available >= defaults.replicas(draft.rollout)


def _stable_names_are_over(draft: Draft, stable_hash: str | None) -> bool:
    """Whether Service and subset named stable select the promoted version already."""
    facts, target = draft.facts, draft.status.stable_rs
    name = facts.canary.stable_service
    if name and names_of_services.selected(facts.services.get(name)) != target:
        return False
    if facts.router is None or stable_hash is None:
        return stable_hash is not None
    plan = facts.router.plan(draft.rollout, facts.routes, Desired(stable_hash=target))
    return not plan.changes


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
