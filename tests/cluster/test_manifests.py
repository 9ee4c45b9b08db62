"""Manifests: read with errors that help, applied as kubectl applies them."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.clock import SystemClock
from agent.cluster.kinds import kind_named
from agent.cluster.local import patches
from agent.cluster.local.store import LocalCluster
from agent.cluster.manifests import LAST_APPLIED, apply, parse, three_way
from agent.cluster.port import KINDS
from agent.errors import Refused

SEVERAL = """
# a comment and an empty document come first
---
apiVersion: v1
kind: ConfigMap
metadata: {name: a, creationTimestamp: 2024-05-01T10:00:00Z}
data: {since: 2024-05-01T10:00:00Z}
status: {ignored: true}
---
apiVersion: v1
kind: List
items:
- {apiVersion: apps/v1, kind: ReplicaSet, metadata: {name: b, namespace: shop}}
- {apiVersion: v1, kind: Namespace, metadata: {name: shop}}
"""


def test_a_text_has_several_documents_and_lists() -> None:
    found = parse(SEVERAL, source="x.yaml", namespace="mine")
    assert [str(manifest) for manifest in found] == [
        "configmap/a",
        "replicaset.apps/b",
        "namespace/shop",
    ]
    config_map, replica_set, namespace = (manifest.obj for manifest in found)
    assert config_map["metadata"] == {"name": "a", "namespace": "mine"}
    assert config_map["data"] == {"since": "2024-05-01T10:00:00Z"}
    assert "status" not in config_map
    assert replica_set["metadata"]["namespace"] == "shop"
    assert "namespace" not in namespace["metadata"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("a: [", "f.yaml: not YAML", id="no YAML"),
        pytest.param("# nothing", "f.yaml: no objects", id="nothing"),
        pytest.param("- 1", "f.yaml, document 1: not an object", id="a list"),
        pytest.param("kind: Castle", "document 1: kind 'Castle' is not known", id="another kind"),
        pytest.param("kind: Rollout", "use 'argoproj.io/v1alpha1'", id="no version"),
        pytest.param(
            "{apiVersion: apps/v1, kind: Rollout}", "'apps/v1' is not one of Rollout", id="a group"
        ),
        pytest.param("{apiVersion: v1, kind: Pod}", "metadata.name is missing", id="no name"),
        pytest.param(
            "{apiVersion: v1, kind: Pod, metadata: {name: a}}\n---\n1",
            "document 2: not an object",
            id="the second document",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_place(text: str, words: str) -> None:
    with pytest.raises(Refused) as raised:
        parse(text, source="f.yaml")
    assert words in str(raised.value)


def a_service(**spec: Any) -> str:
    obj = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": spec}
    return msgspec.json.encode(obj).decode()


async def test_apply_creates_changes_removes_and_leaves_what_others_wrote() -> None:
    cluster = LocalCluster(SystemClock())
    service = KINDS["Service"]

    async def outcome(text: str) -> str:
        (manifest,) = parse(text, source="-")
        return await apply(cluster, manifest)

    assert await outcome(a_service(selector={"app": "x"}, type="ClusterIP")) == "created"
    assert await outcome(a_service(selector={"app": "x"}, type="ClusterIP")) == "unchanged"
    theirs = {
        "spec": {"selector": {"rollouts-pod-template-hash": "abc"}},
        "metadata": {"labels": {"team": "pay"}},
    }
    await cluster.merge_patch(service, "default", "s", theirs)
    assert await outcome(a_service(selector={"app": "y"})) == "configured"
    found = await cluster.get(service, "default", "s")
    assert found["spec"] == {"selector": {"app": "y", "rollouts-pod-template-hash": "abc"}}
    assert found["metadata"]["labels"] == {"team": "pay"}
    assert msgspec.json.decode(found["metadata"]["annotations"][LAST_APPLIED])["spec"] == {
        "selector": {"app": "y"}
    }


async def test_apply_adopts_an_object_that_somebody_else_created() -> None:
    cluster = LocalCluster(SystemClock())
    await cluster.create(
        KINDS["Service"], {"metadata": {"name": "s"}, "spec": {"type": "ClusterIP"}}
    )
    (manifest,) = parse(a_service(selector={"app": "x"}), source="-")
    assert await apply(cluster, manifest) == "configured"
    found = await cluster.get(KINDS["Service"], "default", "s")
    assert found["spec"] == {"type": "ClusterIP", "selector": {"app": "x"}}


TREES = st.recursive(
    st.integers(0, 3),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
MAPS = st.dictionaries(st.sampled_from("abc"), TREES, max_size=3)


@given(MAPS, MAPS)
def test_applying_to_what_was_applied_gives_exactly_what_is_wanted(
    last: dict[str, Any], wanted: dict[str, Any]
) -> None:
    assert patches.merge(last, three_way(last, last, wanted)) == wanted


@given(MAPS, MAPS, MAPS)
def test_applying_twice_has_nothing_left_to_do(
    last: dict[str, Any], live: dict[str, Any], wanted: dict[str, Any]
) -> None:
    once = patches.merge(live, three_way(last, live, wanted))
    assert three_way(wanted, once, wanted) == {}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Rollout", "Rollout"),
        ("rollouts", "Rollout"),
        ("ro", "Rollout"),
        ("RO", "Rollout"),
        ("rollouts.argoproj.io", "Rollout"),
        ("vs", "VirtualService"),
        ("cm", "ConfigMap"),
    ],
)
def test_kinds_have_the_names_that_people_use(name: str, kind: str) -> None:
    assert kind_named(name).kind == kind


def test_an_unknown_kind_is_answered_with_the_known_ones() -> None:
    with pytest.raises(Refused, match="rollouts"):
        kind_named("castle")
