"""The table of step types: a new one is one file and one line in STEP_TYPES. PURE."""

from collections.abc import Callable
from typing import Any, NamedTuple

from agent.api.rollout import Step
from agent.rollout.draft import Draft
from agent.rollout.steps.analysis import ANALYSIS
from agent.rollout.steps.managed_route import SET_HEADER_ROUTE, SET_MIRROR_ROUTE
from agent.rollout.steps.pause import PAUSE
from agent.rollout.steps.set_canary_scale import SET_CANARY_SCALE
from agent.rollout.steps.set_weight import SET_WEIGHT
from agent.rollout.steps.types import StepType
from agent.traffic.types import FieldError

STEP_TYPES: tuple[StepType, ...] = (
    SET_WEIGHT,
    PAUSE,
    ANALYSIS,
    SET_CANARY_SCALE,
    SET_HEADER_ROUTE,
    SET_MIRROR_ROUTE,
)
"""In the order in which Argo's clients look for the member of a step."""


class NotDriven(NamedTuple):
    """A step type of Argo's API that is refused by name, never passed over."""

    member: str
    name: str
    describe: Callable[[Any], str]


NOT_DRIVEN: tuple[NotDriven, ...] = (
    NotDriven("experiment", "experiment", lambda _experiment: "experiment"),
    NotDriven("plugin", "plugin", lambda plugin: f"plugin: {plugin.get('name') or ''}"),
)


def step_type(step: Step) -> StepType | None:
    """The type of a step; None for one that is empty or not driven."""
    return next((kind for kind in STEP_TYPES if kind.of(step) is not None), None)


def describe(step: Step) -> str:
    """The step in a few words, as Argo's clients and events write it; "invalid" for an empty one."""
    described = [(kind.member, kind.describe) for kind in STEP_TYPES]
    described += [(kind.member, kind.describe) for kind in NOT_DRIVEN]
    texts = (
        text(getattr(step, member))
        for member, text in described
        if getattr(step, member) is not None
    )
    return next((text for text in texts if text), "invalid")


def validate(draft: Draft) -> tuple[FieldError, ...]:
    """Why the steps cannot be carried out; each error names the step."""
    errors: list[FieldError] = []
    driven = {kind.member for kind in STEP_TYPES}
    for index, step in enumerate(draft.facts.steps):
        field = f"spec.strategy.canary.steps[{index}]"
        members = [kind.member for kind in STEP_TYPES if kind.of(step) is not None]
        refused = [
            kind.name
            for kind in NOT_DRIVEN
            if kind.member not in driven and getattr(step, kind.member) is not None
        ]
        if refused:
            errors.append(
                FieldError(f"{field}.{refused[0]}", "this step type is not driven by Serinus yet")
            )
        elif len(members) != 1:
            errors.append(
                FieldError(
                    field,
                    "set exactly one of setWeight, pause, setCanaryScale, analysis, setHeaderRoute, "
                    "setMirrorRoute in a step",
                )
            )
        else:
            kind = next(kind for kind in STEP_TYPES if kind.member == members[0])
            errors.extend(kind.validate(kind.of(step), field, draft))
    return tuple(errors)
