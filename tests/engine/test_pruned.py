"""Differences, and what a server does not keep."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.engine.pruned import Pruned, dropped_items, merge_diff

scalars = st.none() | st.booleans() | st.integers(-3, 3) | st.text("ab", max_size=2)
json_objects = st.recursive(
    st.dictionaries(st.sampled_from("abcd"), scalars, max_size=4),
    lambda inner: st.dictionaries(
        st.sampled_from("abcd"), scalars | inner | st.lists(inner, max_size=2), max_size=4
    ),
    max_leaves=12,
)


def merged(target: Any, patch: Any) -> Any:
    """RFC 7386, section 2."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


def without_nulls(value: Any) -> Any:
    """Nulls in objects are absent members; those in lists stay what they are."""
    if isinstance(value, dict):
        return {name: without_nulls(item) for name, item in value.items() if item is not None}
    return value


@given(json_objects, json_objects)
def test_the_difference_turns_one_into_the_other(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    stored = without_nulls(before)
    assert merged(stored, merge_diff(stored, after)) == without_nulls(after)


@given(json_objects)
def test_there_is_no_difference_to_itself(value: dict[str, Any]) -> None:
    assert merge_diff(value, value) == {}


@pytest.mark.parametrize(
    ("before", "after", "patch"),
    [
        ({"a": 1}, {"a": 1}, {}),
        ({"a": 1}, {"a": True}, {"a": True}),
        ({"a": 1, "b": 2}, {"a": 1}, {"b": None}),
        ({"a": {"x": 1, "y": 2}}, {"a": {"x": 1, "y": 3}}, {"a": {"y": 3}}),
        ({"a": [1]}, {"a": [1, 2]}, {"a": [1, 2]}),
        ({}, {"a": None}, {}),
    ],
    ids=[
        "equal", "one is not true", "a removed member is null", "only the changed member is sent",
        "lists are replaced", "null is absent",
    ],
)  # fmt: skip
def test_smallest_patch(
    before: dict[str, Any], after: dict[str, Any], patch: dict[str, Any]
) -> None:
    assert merge_diff(before, after) == patch


def test_a_dropped_field_is_remembered_for_its_kind() -> None:
    pruned = Pruned()
    asked = {"duration": {"finishedAt": "t"}, "conditions": [{"type": "A", "extra": 1}]}
    pruned.learn("Rollout", asked, {"conditions": [{"type": "A"}], "phase": "Healthy"})
    assert pruned.keepable("Rollout", {**asked, "phase": "Paused"}) == {
        "conditions": [{"type": "A"}],
        "phase": "Paused",
    }
    assert pruned.keepable("AnalysisRun", asked) == asked


def test_a_removed_field_is_not_a_dropped_one() -> None:
    pruned = Pruned()
    pruned.learn("Rollout", {"abort": None}, {})
    assert pruned.keepable("Rollout", {"abort": True}) == {"abort": True}


MIRROR: dict[str, Any] = {"name": "m", "filters": [{"mirror": {"to": "canary", "percent": 5}}]}


@pytest.mark.parametrize(
    ("kept", "lost"),
    [
        pytest.param(MIRROR, (), id="everything"),
        pytest.param({**MIRROR, "added": "a default"}, (), id="and a default"),
        pytest.param({"filters": MIRROR["filters"]}, (), id="all but the name"),
        pytest.param(
            {"filters": [{"mirror": {"to": "canary"}}]},
            ("spec.rules.filters.*.mirror.percent",),
            id="not the percentage",
        ),
    ],
)
def test_an_item_that_was_added_is_kept_or_what_it_lost_is_told(
    kept: dict[str, Any], lost: tuple[str, ...]
) -> None:
    patch: list[dict[str, Any]] = [
        {"op": "test", "path": "/spec/rules", "value": [{"name": "base"}]},
        {"op": "add", "path": "/spec/rules/0", "value": MIRROR},
        {"op": "add", "path": "/metadata/labels", "value": {"a": "b"}},
        {"op": "replace", "path": "/spec/rules/1/weight", "value": 5},
    ]
    stored = {"spec": {"rules": [{"name": "another"}, kept, {"name": "base"}]}}
    assert dropped_items(patch, stored) == lost
    assert dropped_items(patch, {}) == ()
