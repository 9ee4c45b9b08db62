"""Whether users can reach the new version: a table."""

from typing import Any

import pytest

from agent.api.decode import read
from agent.api.meta import Key, Object, Ref
from agent.api.rollout import Rollout
from agent.engine.exposure import exposes, is_overexposed, view_of
from agent.rollout.types import Stage, Write
from agent.traffic.routers import ROUTERS
from agent.traffic.types import Router
from tests.simulation.manifests import ROUTE, rollout, virtual_service

MESH: Router = ROUTERS["istio"]
RUNNING = {"currentPodHash": "new", "stableRS": "old", "currentStepIndex": 0}
HEADER_STEPS: list[dict[str, Any]] = [
    {"setHeaderRoute": {"name": "beta", "match": [{"headerName": "x"}]}},
    {"pause": {}},
    {"setHeaderRoute": {"name": "beta"}},
    {"pause": {}},
]


def a_rollout(status: dict[str, Any], *, steps: Any = (), routed: bool = True) -> Object:
    obj = rollout(list(steps))
    if not routed:
        del obj["spec"]["strategy"]["canary"]["trafficRouting"]
    return {**obj, "status": {**RUNNING, **status}}


def route(weight: int) -> dict[Ref, Object]:
    obj = virtual_service()
    obj["spec"]["http"][1]["route"][0]["weight"] = 100 - weight
    obj["spec"]["http"][1]["route"][1]["weight"] = weight
    return {ROUTE: obj}


def replica_set(ready: int, **annotations: str) -> Object:
    return {
        "metadata": {
            "name": "web-new",
            "labels": {"rollouts-pod-template-hash": "new"},
            "annotations": {"rollout.argoproj.io/revision": "7", **annotations},
        },
        "status": {"readyReplicas": ready},
    }


def recorded(weight: int) -> dict[str, Any]:
    return {"canary": {"weights": {"canary": {"weight": weight}}}}


@pytest.mark.parametrize(
    ("status", "weight", "exposed"),
    [
        ({}, 0, False),
        ({}, 5, True),
        (recorded(5), 0, True),
        ({**recorded(5), "abort": True}, 5, True),
        ({"currentPodHash": "old"}, 5, False),
    ],
    ids=[
        "no weight", "weight on the route", "weight only in the status", "aborted, weight still there",
        "nothing new",
    ],
)  # fmt: skip
def test_with_a_router(status: dict[str, Any], weight: int, exposed: bool) -> None:
    view = view_of(a_rollout(status), (replica_set(1),), route(weight), MESH)
    assert view.exposed is exposed


@pytest.mark.parametrize(
    ("index", "exposed"), [(0, True), (1, True), (2, False), (3, False)],
    ids=["header route set", "header route stands", "header route removed", "header route gone"],
)  # fmt: skip
def test_a_header_route_exposes_without_weight(index: int, exposed: bool) -> None:
    obj = a_rollout({"currentStepIndex": index}, steps=HEADER_STEPS)
    assert view_of(obj, (replica_set(1),), route(0), MESH).exposed is exposed


def test_a_managed_route_that_stands_exposes_whatever_the_step_is() -> None:
    """A retry begins at the first step, and a route of the run before may still be there."""
    obj = a_rollout({"currentStepIndex": 3}, steps=HEADER_STEPS)
    routes = route(0)
    routes[ROUTE]["spec"]["http"].insert(0, {"name": "beta", "match": [{}], "route": []})
    assert view_of(obj, (replica_set(1),), routes, MESH).exposed


@pytest.mark.parametrize(("ready", "exposed"), [(0, False), (1, True)])
def test_without_a_router_ready_pods_expose(ready: int, exposed: bool) -> None:
    obj = a_rollout({}, routed=False)
    assert view_of(obj, (replica_set(ready),), {}, None).exposed is exposed


@pytest.mark.parametrize(("active", "exposed"), [("old", False), ("new", True)])
def test_blue_green_is_exposed_by_its_active_selector(active: str, exposed: bool) -> None:
    obj = a_rollout({"blueGreen": {"activeSelector": active}}, routed=False)
    obj["spec"]["strategy"] = {"blueGreen": {"activeService": "web"}}
    assert view_of(obj, (replica_set(1),), {}, None).exposed is exposed


def test_what_a_view_says() -> None:
    note = {"serinus.dev/first-exposed": "2026-05-01T10:00:00.123Z"}
    view = view_of(a_rollout(recorded(10)), (replica_set(1, **note),), route(20), MESH)
    assert view.key == Key("shop", "web")
    assert (view.current_hash, view.stable_hash, view.revision) == ("new", "old", "7")
    assert (view.canary_weight, view.in_progress, view.aborted) == (20, True, False)
    assert view.first_exposed is not None
    assert view.first_exposed.microsecond == 123000


@pytest.mark.parametrize(
    ("status", "in_progress"),
    [
        ({}, True),
        ({"promoteFull": True, "currentStepIndex": 9}, True),
        ({"abort": True}, False),
        ({"stableRS": ""}, False),
        ({"currentPodHash": "old"}, False),
    ],
    ids=["an update", "promoted in full", "aborted", "first deploy", "promoted"],
)
def test_in_progress(status: dict[str, Any], in_progress: bool) -> None:
    assert view_of(a_rollout(status), (), {}, MESH).in_progress is in_progress


def test_a_spec_that_cannot_be_read_is_not_in_progress() -> None:
    obj = a_rollout({})
    obj["spec"]["replicas"] = "many"
    view = view_of(obj, (), {}, None)
    assert (view.in_progress, view.exposed) == (False, False)


def to_service(pod_hash: str) -> Write:
    body = {"spec": {"selector": {"rollouts-pod-template-hash": pod_hash}}}
    ref = Ref("Service", "shop", "web-canary")
    return Write(stage=Stage.SELECTORS, verb="merge", ref=ref, body=body)


def pods(name: str) -> Write:
    ref = Ref("ReplicaSet", "shop", name)
    return Write(stage=Stage.PODS_UP, verb="merge", ref=ref, body={"spec": {"replicas": 3}})


@pytest.mark.parametrize(
    ("write", "routed", "weight", "exposing"),
    [
        (to_service("new"), True, 20, True),
        (to_service("new"), True, 0, False),
        (to_service("old"), True, 20, False),
        (pods("web-new"), True, 20, False),
        (pods("web-new"), False, 0, True),
        (pods("web-old"), False, 0, False),
    ],
    ids=[
        "a name with traffic moves to the new version", "a name without traffic", "a name moves to stable",
        "pods behind a router", "pods that are the weight", "stable pods",
    ],
)  # fmt: skip
def test_writes_that_expose(write: Write, routed: bool, weight: int, exposing: bool) -> None:
    assert exposes(write, a_rollout({}), routed=routed, weight=weight) is exposing


@pytest.mark.parametrize(
    ("status", "dynamic", "over"),
    [
        (recorded(5), False, False),
        # A Git agent's weight was read and recorded; it is not what the abort asks for.
        ({**recorded(5), "abort": True}, False, True),
        ({**recorded(5), "abort": True}, True, False),
        ({**recorded(3), "abort": True}, True, True),
    ],
)
def test_more_than_is_asked_for(status: dict[str, Any], dynamic: bool, over: bool) -> None:
    obj = a_rollout(status)
    obj["spec"]["strategy"]["canary"]["dynamicStableScale"] = dynamic
    assert is_overexposed(read(Rollout, obj), route(5), MESH) is over
