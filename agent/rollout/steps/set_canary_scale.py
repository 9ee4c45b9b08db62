"""`setCanaryScale`: the canary's size is fixed, whatever its weight (agent.rollout.replicas). PURE."""

from agent.api.rollout import SetCanaryScale
from agent.rollout import defaults
from agent.rollout.draft import Draft
from agent.rollout.sizing import at_desired
from agent.rollout.steps.types import StepType
from agent.traffic.types import FieldError


def _done(draft: Draft, _scale: SetCanaryScale) -> bool:
    facts = draft.facts
    return at_desired(
        draft.rollout, facts.new, facts.stable, facts.others, draft.status.canary.weights
    )


def _describe(scale: SetCanaryScale) -> str:
    """ "" for an empty one."""
    if scale.weight is not None:
        return f"setCanaryScale{{weight: {scale.weight}}}"
    if scale.match_traffic_weight:
        return "setCanaryScale{matchTrafficWeight: true}"
    return "" if scale.replicas is None else f"setCanaryScale{{replicas: {scale.replicas}}}"


def _validate(scale: SetCanaryScale, field: str, draft: Draft) -> tuple[FieldError, ...]:
    field = f"{field}.setCanaryScale"
    if not defaults.is_routed(draft.rollout):
        return (FieldError(field, "needs spec.strategy.canary.trafficRouting"),)
    given = (scale.weight is not None) + (scale.replicas is not None) + scale.match_traffic_weight
    if given == 1:
        return ()
    return (FieldError(field, "set exactly one of replicas, weight and matchTrafficWeight"),)


SET_CANARY_SCALE = StepType(
    member="set_canary_scale",
    describe=_describe,
    done=_done,
    enter=lambda draft, scale: draft.wait(f"waits for the pods of {_describe(scale)}"),
    validate=_validate,
)
