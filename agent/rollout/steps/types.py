"""What a step type is: one entry says all there is to say about it. PURE."""

from collections.abc import Callable
from typing import Any

import msgspec

from agent.api.rollout import Step
from agent.rollout.draft import Draft
from agent.traffic.types import FieldError


def _nothing(_draft: Draft, _step: Any) -> None:
    return None


def _valid(_step: Any, _field: str, _draft: Draft) -> tuple[FieldError, ...]:
    return ()


class StepType(msgspec.Struct, frozen=True, kw_only=True):
    """One type of canary step. Every callable gets the member of the Step that names the type.

    Attributes:
        member: attribute of agent.api.rollout.Step.
        describe: the step in a few words, as Argo's clients write it.
        done: whether it is complete now. Asked in every pass while it is the current step.
        enter: what is to be done while it is the current step and not done; absolute, so it may be
            repeated. Names what it waits for (Draft.wait).
        validate: why this step cannot be carried out; `field` is its path in the spec.
        on_abort: what is to be undone when the rollout is aborted at any step.
    """

    member: str
    describe: Callable[[Any], str]
    done: Callable[[Draft, Any], bool]
    enter: Callable[[Draft, Any], None] = _nothing
    validate: Callable[[Any, str, Draft], tuple[FieldError, ...]] = _valid
    on_abort: Callable[[Draft, Any], None] = _nothing

    def of(self, step: Step) -> Any:
        """This type's member of the step, None when the step is of another type."""
        return getattr(step, self.member)
