"""Names that select a version: canary and stable Service, canary and stable subset. PURE.

A name is re-pointed only when no traffic follows it, or when what it selects has no pods left: proxies
learn of a change at different moments. Each is written once, not back and forth. Ping and pong are re-pointed only
for a new version: a promotion changes their roles, and after an abort the canary's keeps what it selects.
"""

from agent.api.meta import Object, Ref
from agent.api.names import MANAGED_BY, POD_TEMPLATE_HASH
from agent.rollout import defaults, replica_sets
from agent.rollout.draft import Draft, merge
from agent.rollout.drain import drained
from agent.rollout.types import Stage


def canary_target(draft: Draft) -> str | None:
    """Hash that the canary's names should select now; None leaves them."""
    facts, status, services = draft.facts, draft.status, draft.services
    if (status.stable_rs and status.stable_rs == status.current_pod_hash) or status.abort:
        if services.swap:
            return None
        target = status.stable_rs
    elif facts.new is not None and _enough(draft, facts.new.available):
        target = facts.new_hash
    else:
        return None
    if not target or target == selected(facts.services.get(services.canary)):
        return target or None
    return target if _is_idle(draft, 0) else None


def stable_target(draft: Draft) -> str | None:
    """Hash that the stable names should select now; None leaves them."""
    facts, target = draft.facts, draft.status.stable_rs
    if not target:
        if draft.services.swap:
            return None
        # First deploy: the name is adopted once the version is whole.
        whole = facts.new is not None and _enough(draft, facts.new.available)
        target = facts.new_hash if whole and not _others_have_pods(draft, facts.new_hash) else ""
    item = replica_sets.by_hash(facts.sets, target)
    if not target or item is None or (item.available == 0 and defaults.replicas(facts.rollout) > 0):
        return None
    now = selected(facts.services.get(draft.services.stable))
    if now == target or not _others_have_pods(draft, target):
        return target
    full = defaults.max_traffic_weight(facts.rollout)
    if facts.live_weight == full or facts.router is None:
        return target if _is_idle(draft, full) else None
    # Somebody else moved the weight before the name came over, so traffic follows a name of an old version.
    # That version keeps its pods while it is named: the name may come over under traffic.
    whole = item.available >= defaults.replicas(draft.rollout)
    return target if whole and facts.live_weight is not None else None


def selected(service: Object | None) -> str:
    """The pod-template hash that a Service selects, "" for none."""
    selector = ((service or {}).get("spec") or {}).get("selector") or {}
    return str(selector.get(POD_TEMPLATE_HASH) or "")


def point(draft: Draft, name: str, target: str | None) -> None:
    """Point a Service at a version, unless it is there."""
    facts = draft.facts
    service = facts.services.get(name)
    if not name or service is None or not target or selected(service) == target:
        return
    before = selected(service)
    body = {
        "metadata": {"annotations": {MANAGED_BY: facts.name}},
        "spec": {"selector": {POD_TEMPLATE_HASH: target}},
    }
    ref = Ref("Service", facts.namespace, name)
    draft.write(merge(Stage.SELECTORS, ref, body, f"selects {target}"))
    draft.record(
        "SwitchService", f"Switched selector for service '{name}' from '{before}' to '{target}'"
    )


def _enough(draft: Draft, available: int) -> bool:
    """One pod is enough to be named; the first version must be whole."""
    if not draft.status.stable_rs:
        return available >= defaults.replicas(draft.rollout)
    return available >= 1


def _is_idle(draft: Draft, weight: int) -> bool:
    """Whether the routes have shown this weight for long enough that nobody follows the name."""
    facts = draft.facts
    if facts.router is None:
        return True
    if facts.live_weight != weight or (weight and not facts.routes_agree):
        return False
    if not weight and facts.live_managed:
        return False
    return drained(draft)


def _others_have_pods(draft: Draft, target: str) -> bool:
    return any(item.hash != target and item.available > 0 for item in draft.facts.sets)
