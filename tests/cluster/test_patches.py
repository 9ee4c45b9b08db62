"""JSON Patch, merge patch and strategic merge patch, by their specifications."""

import contextlib
import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.cluster.local import patches, strategic
from agent.errors import Conflict, Invalid

# The examples of RFC 7386, appendix A: original, patch, result.
MERGES: list[tuple[Any, Any, Any]] = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]


@pytest.mark.parametrize(("original", "patch", "result"), MERGES)
def test_a_merge_patch_does_as_the_rfc_says(original: Any, patch: Any, result: Any) -> None:
    before = copy.deepcopy(original)
    assert patches.merge(original, patch) == result
    assert original == before


def op(kind: str, path: str, *value: Any, **more: Any) -> dict[str, Any]:
    return {"op": kind, "path": path, **({"value": value[0]} if value else {}), **more}


@pytest.mark.parametrize(
    ("document", "operations", "result"),
    [
        pytest.param({"a": 1}, [op("add", "/b", 2)], {"a": 1, "b": 2}, id="add a member"),
        pytest.param({"a": 1}, [op("add", "/a", 2)], {"a": 2}, id="add over a member"),
        pytest.param({"a": [1, 3]}, [op("add", "/a/1", 2)], {"a": [1, 2, 3]}, id="add in a list"),
        pytest.param({"a": [1]}, [op("add", "/a/-", 2)], {"a": [1, 2]}, id="add at a list's end"),
        pytest.param({"a": 1, "b": 2}, [op("remove", "/a")], {"b": 2}, id="remove a member"),
        pytest.param({"a": [1, 2]}, [op("remove", "/a/0")], {"a": [2]}, id="remove from a list"),
        pytest.param(
            {"a": {"b": [{"c": 1}]}},
            [op("replace", "/a/b/0/c", 2)],
            {"a": {"b": [{"c": 2}]}},
            id="replace deep inside",
        ),
        pytest.param({"a": 1}, [op("replace", "", {"b": 1})], {"b": 1}, id="replace all of it"),
        pytest.param(
            {"a": {"b": 1}, "c": {}},
            [op("move", "/c/d", **{"from": "/a/b"})],
            {"a": {}, "c": {"d": 1}},
            id="move",
        ),
        pytest.param({"a": 1}, [op("copy", "/b", **{"from": "/a"})], {"a": 1, "b": 1}, id="copy"),
        pytest.param(
            {"a/b": {"m~n": 1}}, [op("replace", "/a~1b/m~0n", 2)], {"a/b": {"m~n": 2}}, id="escapes"
        ),
        pytest.param({"a": 1}, [op("test", "/a", 1.0)], {"a": 1}, id="test of an equal number"),
        pytest.param(
            {"a": {"x": [1, {"y": None}]}},
            [op("test", "/a", {"x": [1, {"y": None}]})],
            {"a": {"x": [1, {"y": None}]}},
            id="test of a tree",
        ),
    ],
)
def test_a_json_patch_does_as_the_rfc_says(
    document: Any, operations: list[dict[str, Any]], result: Any
) -> None:
    before = copy.deepcopy(document)
    assert patches.apply(document, operations) == result
    assert document == before


@pytest.mark.parametrize(
    ("operation", "error"),
    [
        pytest.param(op("test", "/a", 2), Conflict, id="a test of another value"),
        pytest.param(op("test", "/none", 1), Conflict, id="a test of nothing"),
        pytest.param(op("test", "/t", 1), Conflict, id="true is not 1"),
        pytest.param(op("replace", "/none", 1), Invalid, id="replace of nothing"),
        pytest.param(op("remove", "/none"), Invalid, id="remove of nothing"),
        pytest.param(op("remove", "/l/5"), Invalid, id="remove behind a list's end"),
        pytest.param(op("add", "/l/5", 1), Invalid, id="add behind a list's end"),
        pytest.param(op("add", "/a/b", 1), Invalid, id="add inside a number"),
        pytest.param(op("add", "/l/x", 1), Invalid, id="an index that is no number"),
        pytest.param(op("add", "a", 1), Invalid, id="a path without its slash"),
        pytest.param(op("add", "/b"), Invalid, id="add of nothing"),
        pytest.param(op("grow", "/a", 1), Invalid, id="an unknown operation"),
        pytest.param({"path": "/a"}, Invalid, id="no operation"),
    ],
)
def test_a_json_patch_that_cannot_be_applied(
    operation: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        patches.apply({"a": 1, "l": [1], "t": True}, [operation])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(JSON, JSON)
def test_a_merge_patch_applied_twice_is_applied_once(target: Any, patch: Any) -> None:
    before = copy.deepcopy(target)
    once = patches.merge(target, patch)
    assert patches.merge(once, patch) == once
    assert target == before


@given(JSON, st.lists(st.dictionaries(st.sampled_from(["op", "path", "value"]), JSON), max_size=3))
def test_any_json_patch_is_applied_or_refused(
    document: Any, operations: list[dict[str, Any]]
) -> None:
    before = copy.deepcopy(document)
    with contextlib.suppress(Conflict, Invalid):
        patches.apply(document, operations)
    assert document == before


POD: dict[str, Any] = {
    "containers": [
        {"name": "a", "image": "a:1", "env": [{"name": "X", "value": "1"}], "args": ["x", "y"]},
        {"name": "b", "image": "b:1", "ports": [{"containerPort": 80, "name": "http"}]},
    ],
    "volumes": [{"name": "v", "emptyDir": {}}],
}


def container(name: str, index: int, of: Any) -> Any:
    assert of["containers"][index]["name"] == name
    return of["containers"][index]


def test_a_strategic_patch_merges_containers_and_their_lists_by_their_keys() -> None:
    before = copy.deepcopy(POD)
    patch = {
        "containers": [
            {"name": "b", "image": "b:2", "ports": [{"containerPort": 81}]},
            {"name": "a", "env": [{"name": "Y", "value": "2"}], "args": ["z"]},
        ]
    }
    result = strategic.merge(POD, patch)
    assert container("a", 0, result) == {
        "name": "a",
        "image": "a:1",
        "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}],
        "args": ["z"],
    }
    assert container("b", 1, result)["image"] == "b:2"
    assert [port["containerPort"] for port in container("b", 1, result)["ports"]] == [80, 81]
    assert result["volumes"] == POD["volumes"]
    assert before == POD


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        pytest.param(
            {"ports": [{"port": 80}, {"port": 81}]},
            {"ports": [{"port": 80, "$patch": "delete"}]},
            {"ports": [{"port": 81}]},
            id="an item is deleted",
        ),
        pytest.param(
            {"env": [{"name": "a"}]},
            {"env": [{"$patch": "replace"}, {"name": "b"}]},
            {"env": [{"name": "b"}]},
            id="a list is replaced",
        ),
        pytest.param(
            {"x": {"a": 1, "b": 2}},
            {"x": {"$patch": "replace", "c": 3}},
            {"x": {"c": 3}},
            id="a map is replaced",
        ),
        pytest.param({"x": {"a": 1}}, {"x": {"$patch": "delete"}}, {}, id="a map is deleted"),
        pytest.param({"a": 1, "b": 2}, {"a": None}, {"b": 2}, id="null removes"),
        pytest.param(
            {"a": 1, "b": 2}, {"$retainKeys": ["a"], "a": 3}, {"a": 3}, id="only some are kept"
        ),
        pytest.param(
            {"finalizers": ["a", "b"]},
            {"finalizers": ["c"], "$deleteFromPrimitiveList/finalizers": ["a"]},
            {"finalizers": ["b", "c"]},
            id="words are added and deleted",
        ),
        pytest.param(
            {"env": [{"name": "a"}, {"name": "b"}]},
            {"env": [{"name": "c"}], "$setElementOrder/env": [{"name": "c"}, {"name": "b"}]},
            {"env": [{"name": "c"}, {"name": "b"}, {"name": "a"}]},
            id="items are ordered",
        ),
        pytest.param({"hosts": ["a"]}, {"hosts": ["b"]}, {"hosts": ["b"]}, id="others are whole"),
    ],
)
def test_directives_of_a_strategic_patch(
    target: dict[str, Any], patch: dict[str, Any], result: dict[str, Any]
) -> None:
    assert strategic.merge(target, patch) == result


def test_an_item_without_its_key_is_refused() -> None:
    with pytest.raises(Invalid, match="containers"):
        strategic.merge(POD, {"containers": [{"image": "x"}]})
