"""What of an object the cache keeps, and what of it is read."""

from typing import Any

import pytest

from agent.api.meta import Object
from agent.cluster.trim import trimmed
from agent.rollout.replica_sets import view

CONTAINERS: list[dict[str, Any]] = [
    {"name": "main", "image": "web:1", "env": [{"name": "A", "value": "1"}], "resources": {}},
    {"name": "proxy", "image": "envoy:2", "args": ["x"]},
]
TEMPLATE: Object = {
    "metadata": {"labels": {"app": "web"}, "annotations": {"a": "b"}},
    "spec": {"containers": CONTAINERS, "volumes": [{"name": "v"}], "nodeSelector": {"a": "b"}},
}


def replica_set(replicas: int | None, pods: int | None = None, **spec: Any) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {"name": "web-1", "annotations": {"rollout.argoproj.io/revision": "3"}},
        "spec": {
            **({} if replicas is None else {"replicas": replicas}),
            "template": TEMPLATE,
            "selector": {"matchLabels": {"app": "web"}},
            **spec,
        },
        "status": {} if pods is None else {"replicas": pods},
    }


def test_history_keeps_what_the_rules_read() -> None:
    obj = replica_set(0)
    kept = trimmed(obj)
    assert kept["spec"]["template"] == {
        "metadata": TEMPLATE["metadata"],
        "spec": {
            "containers": [
                {"name": "main", "image": "web:1"},
                {"name": "proxy", "image": "envoy:2"},
            ]
        },
    }
    assert {**kept, "spec": 0} == {**obj, "spec": 0}
    before, after = view(obj), view(kept)
    assert [getattr(before, name) for name in before.__struct_fields__ if name != "raw"] == [
        getattr(after, name) for name in after.__struct_fields__ if name != "raw"
    ]


@pytest.mark.parametrize(
    "obj",
    [
        pytest.param(replica_set(1, 1), id="one with pods"),
        pytest.param(replica_set(None), id="one that says nothing wants a pod"),
        pytest.param(replica_set(0, 2), id="one whose pods still end"),
        pytest.param(replica_set(3, 0), id="one that waits for its pods"),
        pytest.param({**replica_set(0), "kind": "Deployment"}, id="a Deployment without pods"),
    ],
)
def test_others_are_kept_whole(obj: Object) -> None:
    assert trimmed(obj) == obj


@pytest.mark.parametrize(
    "spec",
    [{"template": None}, {"template": {}}, {"template": {"spec": {"containers": None}}}],
    ids=["no template", "an empty one", "no containers"],
)
def test_a_template_that_is_none_is_no_trouble(spec: dict[str, Any]) -> None:
    assert view(trimmed(replica_set(0, **spec))).images == ()


def test_managed_fields_are_not_kept_and_the_given_object_is_left_alone() -> None:
    obj = {**replica_set(0), "metadata": {"name": "x", "managedFields": [{"manager": "y"}]}}
    assert "managedFields" not in trimmed(obj)["metadata"]
    assert obj["metadata"]["managedFields"]
    assert obj["spec"]["template"] is TEMPLATE
