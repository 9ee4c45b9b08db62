"""Suite validation: which specs are accepted, and the errors of those that are not."""

from typing import Any

from agent.api.decode import read
from agent.api.rollout import Rollout
from agent.rollout.validation import validate, validate_strategy
from agent.traffic.types import FieldError
from tests.conformance.compare import set_differences


def shown(errors: list[FieldError]) -> list[dict[str, str]]:
    """The errors as the vectors write them."""
    return [{"field": error.field, "type": error.type, "detail": error.detail} for error in errors]


def run(given: dict[str, Any], expect: dict[str, Any]) -> list[str]:
    rollout = read(Rollout, given["rollout"])
    check = validate_strategy if given["question"] == "strategy" else validate
    return set_differences(expect["errors"], shown(check(rollout)), path="errors")
