"""Nothing that can be written down as YAML makes the linter raise."""

from copy import deepcopy
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.lint.manifests import Objects, by_deployment, experiment, findings_in, shop

ODD: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, 0, -1, 1.5, "", "x", "{{", "{{args.x}}", "{", [], {}, [None], [[]], {"": None}, {"a": 1}, "9" * 30]
)  # fmt: skip


def paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where something stands in an object, itself included."""
    members: Any = ()
    if isinstance(value, dict):
        members = value.items()
    elif isinstance(value, list):
        members = enumerate(value)
    return [at, *(deeper for key, item in members for deeper in paths(item, (*at, key)))]


def borrowing() -> Objects:
    """The shop whose pods are a Deployment's, with an Experiment."""
    objects = shop()
    experiment()(objects)
    by_deployment()(objects)
    return objects


SHOPS = (shop(), borrowing())
PLACES = [
    [(name, path) for name, obj in shop_.items() for path in paths(obj) if path] for shop_ in SHOPS
]
CHANGES = [
    st.lists(st.tuples(st.sampled_from(places), ODD), min_size=1, max_size=3) for places in PLACES
]


@pytest.mark.parametrize("number", range(len(SHOPS)))
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_odd_values_in_odd_places(number: int, data: st.DataObject) -> None:
    objects = deepcopy(SHOPS[number])
    for (name, path), value in data.draw(CHANGES[number]):
        inner = objects[name]
        for part in path[:-1]:
            inner = inner[part] if isinstance(inner, dict | list) and _has(inner, part) else {}
        if isinstance(inner, dict) or (isinstance(inner, list) and _has(inner, path[-1])):
            inner[path[-1]] = value
    findings_in(yaml.safe_dump_all(list(objects.values()), sort_keys=False))


def _has(inner: Any, part: Any) -> bool:
    if isinstance(inner, dict):
        return part in inner
    return isinstance(part, int) and part < len(inner)
