"""`setWeight`: the canary gets a share of the traffic. PURE."""

from agent.rollout import defaults
from agent.rollout.draft import Draft
from agent.rollout.sizing import at_desired
from agent.rollout.steps.types import StepType
from agent.traffic.types import FieldError


def _done(draft: Draft, weight: int) -> bool:
    """Pods are there and, with a router, the weight was read back from the routes."""
    facts, rollout = draft.facts, draft.rollout
    if not at_desired(rollout, facts.new, facts.stable, facts.others, draft.status.canary.weights):
        return False
    # Without pods nobody can be served: there the weight stays 0, and the step must not wait for it.
    due = weight if defaults.replicas(rollout) else 0
    shown = facts.live_weight == due and facts.routes_agree and not facts.unconfirmed
    return facts.router is None or shown


def _enter(draft: Draft, weight: int) -> None:
    facts = draft.facts
    if not at_desired(
        draft.rollout, facts.new, facts.stable, facts.others, draft.status.canary.weights
    ):
        draft.wait(f"waits for the pods of weight {weight}")
    elif facts.router is not None:
        draft.wait(facts.unconfirmed or f"waits for the routes to show weight {weight}")


def _validate(weight: int, field: str, draft: Draft) -> tuple[FieldError, ...]:
    most = defaults.max_traffic_weight(draft.rollout)
    if 0 <= weight <= most:
        return ()
    return (FieldError(f"{field}.setWeight", f"{weight} is not between 0 and {most}"),)


SET_WEIGHT = StepType(
    member="set_weight",
    describe=lambda weight: f"setWeight: {weight}",
    done=_done,
    enter=_enter,
    validate=_validate,
)
