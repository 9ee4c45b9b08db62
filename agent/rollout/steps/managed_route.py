"""`setHeaderRoute` and `setMirrorRoute`: a route of the rollout's own leads to the canary. PURE."""

from agent.rollout import managed_routes, weights
from agent.rollout.draft import Draft
from agent.rollout.steps.types import StepType
from agent.traffic.types import Desired, ManagedRoute


def _done(draft: Draft, route: ManagedRoute) -> bool:
    """The route was read back as the step wants it, or is gone when the step takes it away.

    A canary that should have no pods cannot answer anybody: the step is passed, and the route follows with
    the first pod (Argo sets it at once, and the users it matches get errors).
    """
    facts = draft.facts
    if facts.router is None:
        return True
    if route.match and not managed_routes.have_pods(draft):
        return True
    plan = facts.router.plan(draft.rollout, facts.routes, Desired(managed=(route,)))
    return not plan.changes and plan.refusal is None and not facts.unconfirmed


def _enter(draft: Draft, route: ManagedRoute) -> None:
    facts = draft.facts
    if not route.match:
        draft.wait(f"waits for the route '{route.name}' to be taken away")
    elif facts.new is None or facts.new.available == 0:
        draft.wait(f"the route '{route.name}' waits for a ready pod of the new version")
    elif weights.wanted(draft.rollout, facts.new, draft.stable, facts.others).weight is None:
        draft.wait(f"the route '{route.name}' waits for the pods of the stable version")
    else:
        draft.wait(facts.unconfirmed or f"waits for the routes to show '{route.name}'")


SET_HEADER_ROUTE = StepType(
    member="set_header_route",
    describe=lambda route: f"setHeaderRoute: {route.name}",
    done=_done,
    enter=_enter,
)
SET_MIRROR_ROUTE = StepType(
    member="set_mirror_route",
    describe=lambda route: f"setMirrorRoute: {route.name}",
    done=_done,
    enter=_enter,
)
