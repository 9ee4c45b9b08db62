"""Labels and selectors."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.rollout import labels


@pytest.mark.parametrize("key", ["app", "a.b/c", "example.com/A_b.c-d", "x" * 63, "9"])
def test_keys(key: str) -> None:
    assert labels.key_problems(key) == []


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        ("", "name part must be non-empty"),
        ("/a", "prefix part must be non-empty"),
        ("a/", "name part must be non-empty"),
        ("a/b/c", "a qualified name must consist of"),
        ("-a", "name part must consist of alphanumeric characters"),
        ("ä", "name part must consist of alphanumeric characters"),
        ("A.com/x", "prefix part must be a lowercase RFC 1123 subdomain"),
        ("x" * 64, "name part must be no more than 63 bytes"),
        (f"{'a' * 254}/x", "prefix part must be a lowercase RFC 1123 subdomain"),
    ],
)
def test_texts_that_are_no_keys(key: str, problem: str) -> None:
    assert labels.key_problems(key)[0].startswith(problem)


@pytest.mark.parametrize(("value", "good"), [("", True), ("v1.2_x-Y", True), ("-v", False), ("v ", False), ("v" * 64, False)])  # fmt: skip
def test_values(value: str, good: bool) -> None:
    assert (labels.value_problems(value) == []) is good


def expression(operator: str, *values: str) -> dict[str, Any]:
    found = {"key": "tier", "operator": operator}
    return {"matchExpressions": [{**found, **({"values": list(values)} if values else {})}]}


@pytest.mark.parametrize(
    ("selector", "found", "selected"),
    [
        pytest.param(None, {"a": "1"}, False, id="no selector selects nothing"),
        pytest.param({}, {"a": "1"}, True, id="an empty one selects everything"),
        pytest.param({"matchLabels": {"a": "1"}}, {"a": "1", "b": "2"}, True, id="labels"),
        pytest.param({"matchLabels": {"a": "1", "c": ""}}, {"a": "1"}, False, id="an empty value is not an absent one"),
        pytest.param(expression("In", "web", "api"), {"tier": "api"}, True, id="in"),
        pytest.param(expression("In", "web"), {}, False, id="in needs the label"),
        pytest.param(expression("NotIn", "web"), {}, True, id="not in does not"),
        pytest.param(expression("NotIn", "web"), {"tier": "web"}, False, id="not in"),
        pytest.param(expression("Exists"), {"tier": ""}, True, id="exists"),
        pytest.param(expression("DoesNotExist"), {"tier": ""}, False, id="does not exist"),
        pytest.param(expression("Near", "web"), {"tier": "web"}, False, id="an unknown operator selects nothing"),
    ],
)  # fmt: skip
def test_matches(selector: dict[str, Any] | None, found: dict[str, str], selected: bool) -> None:
    assert labels.matches(selector, found) is selected


@pytest.mark.parametrize(
    ("selector", "field", "type_"),
    [
        (expression("In"), "s.matchExpressions[0].values", "FieldValueRequired"),
        (expression("Exists", "a"), "s.matchExpressions[0].values", "FieldValueForbidden"),
        (expression("Near", "a"), "s.matchExpressions[0].operator", "FieldValueInvalid"),
        (expression("In", "a b"), "s.matchExpressions[0].values[0]", "FieldValueInvalid"),
        ({"matchExpressions": [{"operator": "Exists"}]}, "s.matchExpressions[0].key", "FieldValueInvalid"),
        ({"matchLabels": {"a b": "1"}}, "s.matchLabels", "FieldValueInvalid"),
        ({"matchLabels": {"a": "-"}}, "s.matchLabels", "FieldValueInvalid"),
    ],
)  # fmt: skip
def test_selector_errors(selector: dict[str, Any], field: str, type_: str) -> None:
    error = labels.selector_errors(selector, "s")[0]
    assert (error.field, error.type) == (field, type_)


@pytest.mark.parametrize(
    "selector", [{}, {"matchLabels": {"a": ""}}, expression("NotIn", "x"), expression("Exists")]
)
def test_good_selectors_have_no_errors(selector: dict[str, Any]) -> None:
    assert labels.selector_errors(selector, "s") == []


@given(st.text(), st.text())
def test_any_text_is_judged(key: str, value: str) -> None:
    labels.label_errors({key: value}, "l")
