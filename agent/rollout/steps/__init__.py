"""The table of step types: a new one is one file and one line in STEP_TYPES. PURE."""

from collections.abc import Mapping

from agent.api.rollout import Step
from agent.rollout.draft import Draft
from agent.rollout.steps.analysis import ANALYSIS
from agent.rollout.steps.pause import PAUSE
from agent.rollout.steps.set_canary_scale import SET_CANARY_SCALE
from agent.rollout.steps.set_weight import SET_WEIGHT
from agent.rollout.steps.types import StepType
from agent.traffic.types import FieldError

STEP_TYPES: tuple[StepType, ...] = (SET_WEIGHT, PAUSE, SET_CANARY_SCALE, ANALYSIS)

REFUSED: Mapping[str, str] = {
    "experiment": "experiment",
    "set_header_route": "setHeaderRoute",
    "set_mirror_route": "setMirrorRoute",
    "plugin": "plugin",
}
"""Step types of Argo's API that are not driven: refused by name, never passed over."""


def step_type(step: Step) -> StepType | None:
    """The type of a step; None for one that is empty or not driven."""
    return next((kind for kind in STEP_TYPES if kind.of(step) is not None), None)


def describe(step: Step) -> str:
    """The step in a few words."""
    kind = step_type(step)
    return kind.describe(kind.of(step)) if kind else "invalid"


def validate(draft: Draft) -> tuple[FieldError, ...]:
    """Why the steps cannot be carried out; each error names the step."""
    errors: list[FieldError] = []
    for index, step in enumerate(draft.facts.steps):
        field = f"spec.strategy.canary.steps[{index}]"
        members = [kind.member for kind in STEP_TYPES if kind.of(step) is not None]
        refused = [name for member, name in REFUSED.items() if getattr(step, member) is not None]
        if refused:
            errors.append(
                FieldError(f"{field}.{refused[0]}", "this step type is not driven by Serinus yet")
            )
        elif len(members) != 1:
            errors.append(
                FieldError(
                    field, "set exactly one of setWeight, pause, setCanaryScale, analysis in a step"
                )
            )
        else:
            kind = next(kind for kind in STEP_TYPES if kind.member == members[0])
            errors.extend(kind.validate(kind.of(step), field, draft))
    return tuple(errors)
