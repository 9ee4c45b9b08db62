"""Two rollouts on one route, subset or Service: both are refused, and both may still lower."""

from copy import deepcopy
from typing import Any

import pytest

from agent.api.decode import read
from agent.api.meta import Object, Ref
from agent.api.rollout import Rollout
from agent.rollout.decide import decide
from agent.rollout.sharing import sharing_errors
from agent.rollout.types import Stage
from agent.traffic.istio import Istio
from tests.rollout.istio_world import ROUTE, SUBSETS, istio_world, weights

ROUTERS = {"istio": Istio()}


def a_rollout(name: str, *, namespace: str = "default", **canary: Any) -> Object:
    return {
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"strategy": {"canary": canary}},
    }


def on_route(name: str, route: str, **canary: Any) -> Object:
    istio: dict[str, Any] = {"virtualService": {"name": "web.default", "routes": [route]}}
    return a_rollout(name, trafficRouting={"istio": istio}, **canary)


def errors(mine: Object, *rivals: Object) -> list[str]:
    world = istio_world([{"setWeight": 20}], by_subset=True)
    routes = {ref: world.objects[ref] for ref in (ROUTE, SUBSETS)}
    rollout = read(Rollout, mine)
    found = sharing_errors(rollout, Istio(), routes, rivals, ROUTERS)
    return [f"{error.field}: {error.detail}" for error in found]


def test_one_route_of_two_rollouts_is_named_on_both() -> None:
    ours, theirs = on_route("a", "primary"), on_route("b", "primary")
    for mine, rival, name in ((ours, theirs, "b"), (theirs, ours, "a")):
        (found,) = errors(mine, rival)
        assert found == (
            "spec.strategy.canary.trafficRouting: route 'primary' of VirtualService default/web is also "
            f"driven by Rollout default/{name}: give each its own route"
        )


def test_one_subset_of_two_rollouts_is_refused() -> None:
    rule = {"name": "web", "canarySubsetName": "canary", "stableSubsetName": "other"}
    made = []
    for name, route in (("a", "primary"), ("b", "admin")):
        obj = on_route(name, route)
        obj["spec"]["strategy"]["canary"]["trafficRouting"]["istio"]["destinationRule"] = rule
        made.append(obj)
    found = errors(*made)
    assert len(found) == 2
    assert "subset 'canary' of DestinationRule default/web is also driven by" in found[0]


@pytest.mark.parametrize(
    "rival",
    [
        pytest.param(on_route("b", "admin"), id="another route of the same object"),
        pytest.param(a_rollout("b", namespace="other", canaryService="canary"), id="another namespace"),
        pytest.param({"metadata": {"name": "b"}, "spec": {"replicas": "many"}}, id="cannot be read"),
        pytest.param(
            {
                "metadata": {"name": "b", "namespace": "default", "deletionTimestamp": "now"},
                "spec": on_route("b", "primary")["spec"],
            },
            id="is being deleted",
        ),
    ],
)  # fmt: skip
def test_who_does_not_write_the_same_is_no_rival(rival: Object) -> None:
    assert errors(on_route("a", "primary", canaryService="canary"), rival) == []


@pytest.mark.parametrize(
    ("strategy", "field"),
    [
        ({"canary": {"stableService": "canary"}}, "spec.strategy.canary.canaryService"),
        ({"blueGreen": {"previewService": "canary"}}, "spec.strategy.canary.canaryService"),
    ],
    ids=["a canary", "blue-green"],
)
def test_one_service_of_two_rollouts_is_refused(strategy: dict[str, Any], field: str) -> None:
    rival = a_rollout("b")
    rival["spec"]["strategy"] = strategy
    assert errors(a_rollout("a", canaryService="canary"), rival) == [
        f'{field}: Service "canary" is also used by Rollout default/b: give each its own Service'
    ]


def test_a_refused_rollout_raises_nothing_and_still_lowers() -> None:
    world = istio_world([{"setWeight": 20}, {"setWeight": 60}, {"pause": {}}])
    rival = on_route("b", "primary")
    world.set_image("v2")
    world.pods_follow()
    while weights(world) != [80, 20]:
        world.one_pass()
        world.pods_follow()
    for settled in range(2):
        observation = deepcopy(world.observe())
        decision = decide(
            type(observation)(
                **{
                    f: getattr(observation, f)
                    for f in observation.__struct_fields__
                    if f != "rivals"
                },
                rivals=(rival,),
            ),
            world.routers,
        )
        assert "is also driven by Rollout default/b" in decision.why
        assert decision.status["phase"] == "Degraded"
        downs = [write.stage for write in decision.writes]
        assert downs == ([Stage.ROUTES_DOWN] if settled else [])
        world.unhealthy.add("v2")
        world.pods_follow()


def test_an_abort_of_a_refused_rollout_is_no_matter_of_the_refusal() -> None:
    world = istio_world([{"setWeight": 20}, {"pause": {}}])
    world.set_image("v2")
    world.settle()
    world.patch({"status": {"abort": True}})
    observation = world.observe()
    fields = {f: getattr(observation, f) for f in observation.__struct_fields__ if f != "rivals"}
    decision = decide(
        type(observation)(**fields, rivals=(on_route("b", "primary"),)), world.routers
    )
    assert [write.ref for write in decision.writes if write.stage is Stage.ROUTES_DOWN] == [
        Ref("VirtualService", "default", "web")
    ]
    assert "InvalidSpec" not in decision.status["message"]
