"""I7 and I8 with the Istio router: a user's route objects through random runs."""

from copy import deepcopy
from typing import Any

from hypothesis import given as over
from hypothesis import settings
from hypothesis import strategies as st

from agent.api.meta import Object, Ref
from agent.api.names import POD_TEMPLATE_HASH
from agent.rollout.types import Policy, Write
from agent.traffic.istio import Istio
from tests.rollout import given
from tests.rollout import random_runs as runs
from tests.rollout.world import World

ROUTE = Ref("VirtualService", "default", "web")
SUBSETS = Ref("DestinationRule", "default", "web")
MODEST = settings(max_examples=40, deadline=None, derandomize=True)
ISTIO: dict[str, Any] = {
    "virtualService": {"name": "web", "routes": ["primary"]},
    "destinationRule": {
        "name": "web",
        "canarySubsetName": "canary",
        "stableSubsetName": "stable",
    },
}


def _world(steps: list[dict[str, Any]], *, by_subset: bool) -> World:
    """v1 is stable behind a VirtualService with a foreign route, and a DestinationRule by subset."""
    istio: dict[str, Any] = ISTIO if by_subset else {"virtualService": ISTIO["virtualService"]}
    canary: dict[str, Any] = {"trafficRouting": {"istio": istio}}
    if by_subset:
        canary |= {"canaryService": "", "stableService": ""}
    world = World(
        given.rollout(steps, canary=canary),
        start=given.START,
        services=("canary", "stable"),
        templates=(given.TEMPLATE,),
        policy=Policy(drain_seconds=0),
    )
    world.routers = {"istio": Istio()}
    world.route_kinds = ("VirtualService", "DestinationRule")
    to = [
        {"destination": {"host": "web", "subset": role} if by_subset else {"host": role}, "x": 1}
        for role in ("stable", "canary")
    ]
    weighted = [{**to[0], "weight": 100}, {**to[1], "weight": 0}]
    world.objects[ROUTE] = {
        "metadata": {"name": "web", "labels": {"keep": "me"}},
        "spec": {
            "hosts": ["web.example.com"],
            "http": [
                {"name": "admin", "route": [{"destination": {"host": "admin"}, "weight": 100}]},
                {"name": "primary", "timeout": "5s", "route": weighted},
            ],
        },
    }
    if by_subset:
        world.objects[SUBSETS] = {
            "metadata": {"name": "web"},
            "spec": {
                "host": "web",
                "trafficPolicy": {"tls": {"mode": "DISABLE"}},
                "subsets": [
                    {"name": "other", "labels": {"app": "other"}},
                    {"name": "stable", "labels": {"app": "demo"}},
                    {"name": "canary", "labels": {"app": "demo", "mine": "too"}},
                ],
            },
        }
    world.settle()
    return world


def _weights(world: World) -> list[int]:
    return [item["weight"] for item in world.objects[ROUTE]["spec"]["http"][1]["route"]]


def _users(world: World) -> list[Object]:
    """The route objects without what is ours: weights of the named route, hashes, our annotation."""
    kinds = world.route_kinds
    made = deepcopy([obj for ref, obj in world.objects.items() if ref.kind in kinds])
    for obj in made:
        obj["metadata"].pop("annotations", None)
        for item in (obj["spec"].get("http") or [{}, {}])[1].get("route") or ():
            item.pop("weight")
        for subset in obj["spec"].get("subsets") or ():
            subset["labels"].pop(POD_TEMPLATE_HASH, None)
    return made


def _play(world: World, events: list[runs.Event]) -> None:
    for event in (("image", "v2"), *events):
        runs.play(world, event)


@MODEST
@over(runs.STEPS, st.booleans(), runs.EVENTS)
def test_i7_every_other_byte_of_the_routes_stays(
    steps: list[dict[str, Any]], by_subset: bool, events: list[runs.Event]
) -> None:
    world = _world(steps, by_subset=by_subset)
    before = _users(world)
    _play(world, events)
    assert _users(world) == before


@MODEST
@over(runs.STEPS, st.booleans(), runs.EVENTS)
def test_i8_weights_sum_to_100_at_every_moment(
    steps: list[dict[str, Any]], by_subset: bool, events: list[runs.Event]
) -> None:
    world = _world(steps, by_subset=by_subset)

    def check(write: Write) -> None:
        assert sum(_weights(world)) == 100, write

    world.on_write = check
    _play(world, events)
    assert sum(_weights(world)) == 100


def test_a_version_by_subset_gets_all_traffic_and_its_names() -> None:
    world = _world([{"setWeight": 20}, {"pause": {}}], by_subset=True)
    world.set_image("v2")
    world.settle()
    assert _weights(world) == [80, 20]
    given.promote(world)
    world.settle()
    assert _weights(world) == [100, 0]
    labels = [item["labels"] for item in world.objects[SUBSETS]["spec"]["subsets"]]
    assert labels[1][POD_TEMPLATE_HASH] == world.status["stableRS"]
