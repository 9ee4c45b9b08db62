"""The rules of comparison."""

import math
from typing import Any

import pytest

from tests.conformance.compare import (
    differences,
    object_differences,
    set_differences,
    value_differences,
)


@pytest.mark.parametrize(
    ("expect", "got"),
    [
        pytest.param({"a": 1}, {"a": 1, "b": 2}, id="a key outside the contract does not count"),
        pytest.param({"a": None}, {"a": None}, id="null equals null"),
        pytest.param({"a": None}, {}, id="null equals absent"),
        pytest.param({"a": {"x": 1, "y": 2}}, {"a": {"y": 2, "x": 1}}, id="maps are unordered"),
        pytest.param({"a": 1}, {"a": 1.0}, id="numbers are equal by value"),
        pytest.param({"a": 0.1 + 0.2}, {"a": 0.3}, id="floats are equal within their last digits"),
        pytest.param({"a": math.nan}, {"a": math.nan}, id="NaN equals NaN"),
        pytest.param({"a": [1]}, {"a": (1,)}, id="a tuple is a list"),
    ],
)
def test_equal(expect: dict[str, Any], got: dict[str, Any]) -> None:
    assert differences(expect, got) == []


@pytest.mark.parametrize(
    ("expect", "got", "line"),
    [
        pytest.param({"a": 1}, {"a": 2}, "a: expected 1, got 2", id="another value"),
        pytest.param({"a": None}, {"a": 0}, "a: expected null, got 0", id="null is not 0"),
        pytest.param({"a": 0}, {}, "a: expected 0, got null", id="absent is not 0"),
        pytest.param({"a": True}, {"a": 1}, "a: expected true, got 1", id="true is not 1"),
        pytest.param({"a": "1"}, {"a": 1}, 'a: expected "1", got 1', id="text is not a number"),
        pytest.param({"a": 2**60}, {"a": 2**60 + 1}, f"a: expected {2**60}, got {2**60 + 1}", id="whole numbers are exact"),
        pytest.param({"a": [1, 2]}, {"a": [2, 1]}, "a[0]: expected 1, got 2", id="lists are ordered"),
        pytest.param({"a": [1]}, {"a": []}, "a: expected [1], got []", id="length counts"),
        pytest.param({"a": {"b": 1}}, {"a": {}}, "a.b: expected 1, got nothing", id="a missing key below"),
        pytest.param({"a": {}}, {"a": {"b": 1}}, "a.b: expected nothing, got 1", id="an extra key below"),
        pytest.param({"a": {}}, {"a": []}, "a: expected {}, got []", id="a map is not a list"),
        pytest.param({"a": math.nan}, {"a": 1.0}, "a: expected NaN, got 1.0", id="NaN is not a number"),
    ],
)  # fmt: skip
def test_different(expect: dict[str, Any], got: dict[str, Any], line: str) -> None:
    assert differences(expect, got)[0] == line


@pytest.mark.parametrize(
    ("expect", "got"),
    [
        ({"spec": {"labels": {}}}, {"spec": {}}),
        ({"spec": {}}, {}),
        ({"a": [{"b": []}]}, {"a": [{}]}),
        ({}, None),
    ],
)
def test_in_objects_an_empty_container_equals_an_absent_one(expect: Any, got: Any) -> None:
    assert object_differences(expect, got, path="o") == []
    assert object_differences(got, expect, path="o") == []


def test_in_objects_null_and_zero_are_not_empty() -> None:
    assert object_differences({"a": 0}, {}, path="o") == ['o: expected {"a": 0}, got null']
    assert object_differences({"a": None, "b": 1}, {"b": 1}, path="o") != []


def test_sets_ignore_order_but_count_doubles() -> None:
    assert set_differences([1, 2, 2], [2, 1, 2], path="s") == []
    assert set_differences([1, 2], [2, 2], path="s") == ["s: missing 1", "s: not expected 2"]


def test_values_are_compared_whole() -> None:
    assert value_differences({"a": 1}, {"a": 1, "b": 2}, path="") == ["b: expected nothing, got 2"]
