"""Errors of fields in Kubernetes' words."""

from typing import Any

import pytest

from agent.rollout import field_errors
from agent.traffic.types import FieldError


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (field_errors.invalid("spec.replicas", -1, "too few"), "spec.replicas: Invalid value: -1: too few"),
        (field_errors.invalid("a", 'x"y', "no"), 'a: Invalid value: "x\\"y": no'),
        (field_errors.invalid("a", None, "no"), "a: Invalid value: null: no"),
        (field_errors.invalid("a", {"b": 1}, "no"), "a: Invalid value: no"),
        (field_errors.required("a"), "a: Required value"),
        (field_errors.required("a", "needed"), "a: Required value: needed"),
        (field_errors.duplicate("a", "x"), 'a: Duplicate value: "x"'),
        (field_errors.not_found("a", "x"), 'a: Not found: "x"'),
        (field_errors.forbidden("a", "no"), "a: Forbidden: no"),
        (field_errors.internal("a", "no"), "a: Internal error: no"),
        (field_errors.not_supported("a", "z", ("x", "y")), 'a: Unsupported value: "z": supported values: "x", "y"'),
    ],
)  # fmt: skip
def test_text(error: FieldError, text: str) -> None:
    assert field_errors.text(error) == text


@pytest.mark.parametrize(("value", "count"), [(0, 0), (1, 0), (-1, 1)])
def test_not_negative(value: Any, count: int) -> None:
    assert len(field_errors.not_negative("a", value)) == count


def test_message_of_the_condition() -> None:
    one, two = field_errors.required("a"), field_errors.required("b")
    message = field_errors.invalid_spec_message
    assert message("web", [one]) == 'The Rollout "web" is invalid: a: Required value'
    assert message("web", [one, two]) == (
        'The Rollout "web" is invalid: a: Required value (and 1 more)'
    )
