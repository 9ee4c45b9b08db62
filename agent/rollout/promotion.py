"""The new version becomes the stable one. PURE."""

from agent.api.service_roles import swapped
from agent.rollout import defaults, drift
from agent.rollout.draft import Draft


def promote(draft: Draft) -> None:
    """The version becomes stable: all steps done, all traffic on it (with a router), all pods available."""
    facts, now = draft.facts, draft.status
    new, total = facts.new, defaults.replicas(draft.rollout)
    if now.promote_full and now.stable_rs == facts.new_hash:
        draft.set(promote_full=False)
    if (
        new is None
        or now.stable_rs == facts.new_hash
        or new.available < total
        or new.replicas < total
    ):
        return
    first = not now.stable_rs
    if not first and not now.promote_full and (now.current_step_index or 0) < len(facts.steps):
        return
    if not first and (draft.blocked or facts.rollout.spec.paused):
        return
    full = defaults.max_traffic_weight(draft.rollout)
    carries_all = facts.live_weight == full and facts.routes_agree
    if not first and facts.router is not None and total and not carries_all:
        draft.wait("waits for the routes to show all traffic on the new version")
        return
    if not first and facts.unconfirmed:
        draft.wait(facts.unconfirmed)
        return
    if not first and facts.router is None and any(item.replicas for item in facts.others):
        return
    draft.set(
        stable_rs=facts.new_hash,
        promote_full=False,
        pause_conditions=None,
        controller_pause=False,
        current_step_index=len(facts.steps) if facts.steps else None,
    )
    if draft.services.swap:
        # No route has to change: its weights are now said of the other one, and the next pass reads them so.
        draft.set_canary(stable_ping_pong=swapped(draft.rollout))
        drift.forget(draft)
