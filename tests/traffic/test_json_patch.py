"""JSON Patch: pointers, guards, and that an observed object is never changed in place."""

from copy import deepcopy
from typing import Any

import pytest

from agent.errors import Conflict, Invalid
from agent.traffic.json_patch import add, apply, check, guards_first, pointer, put, remove, replace

DOCUMENT = {"a": {"x/y": 1, "m~n": 2}, "list": [1, 2, 3]}


def test_keys_are_escaped() -> None:
    assert pointer("a", "x/y", "m~n", 0) == "/a/x~1y/m~0n/0"
    assert apply(DOCUMENT, [check("/a/x~1y", 1), check("/a/m~0n", 2)]) == DOCUMENT


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        pytest.param(add("/a/z", 3), {"a": {"x/y": 1, "m~n": 2, "z": 3}}, id="add a key"),
        pytest.param(add("/list/-", 4), {"list": [1, 2, 3, 4]}, id="append"),
        pytest.param(add("/list/0", 0), {"list": [0, 1, 2, 3]}, id="insert"),
        pytest.param(replace("/list/1", 9), {"list": [1, 9, 3]}, id="replace an item"),
        pytest.param(remove("/list/1"), {"list": [1, 3]}, id="remove an item"),
    ],
)
def test_operations(operation: dict[str, Any], expected: dict[str, Any]) -> None:
    before = deepcopy(DOCUMENT)
    assert apply(DOCUMENT, [operation]) == {**DOCUMENT, **expected}
    assert before == DOCUMENT


@pytest.mark.parametrize(
    "operation",
    [
        pytest.param(check("/list/0", 2), id="another value"),
        pytest.param(check("/list/0", True), id="true is not 1"),
        pytest.param(check("/gone", None), id="an absent key"),
    ],
)
def test_a_failed_test_is_a_conflict(operation: dict[str, Any]) -> None:
    with pytest.raises(Conflict):
        apply(DOCUMENT, [operation])


@pytest.mark.parametrize(
    "operation",
    [
        pytest.param(replace("/list/7", 1), id="past the end"),
        pytest.param(remove("/gone"), id="an absent key"),
        pytest.param(add("/gone/deep", 1), id="no parent"),
        pytest.param(replace("", {}), id="the whole object"),
        pytest.param(
            {"op": "move", "path": "/a", "from": "/list"}, id="an operation we never make"
        ),
    ],
)
def test_a_bad_path_is_invalid(operation: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        apply(DOCUMENT, [operation])


def test_numbers_compare_by_value() -> None:
    assert apply({"w": 10.0}, [check("/w", 10)]) == {"w": 10.0}


def test_an_absent_key_is_added_and_a_present_one_is_guarded() -> None:
    assert put("/a", {}, "k", 1) == [add("/a/k", 1)]
    assert put("/a", {"k": 0}, "k", 1) == [check("/a/k", 0), replace("/a/k", 1)]


def test_tests_come_first_and_once() -> None:
    mixed = [check("/a", 1), add("/b", 2), check("/a", 1), check("/c", 3)]
    assert guards_first(mixed) == (check("/a", 1), check("/c", 3), add("/b", 2))
