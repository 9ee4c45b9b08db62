"""Worlds behind a user's own VirtualService (and DestinationRule), driven by the Istio router."""

from collections.abc import Sequence
from typing import Any

from agent.api.meta import Ref
from agent.rollout.types import Policy
from agent.traffic.istio import Istio
from tests.rollout import given
from tests.rollout.world import World

ROUTE = Ref("VirtualService", "default", "web")
SUBSETS = Ref("DestinationRule", "default", "web")
ISTIO: dict[str, Any] = {
    "virtualService": {"name": "web", "routes": ["primary"]},
    "destinationRule": {
        "name": "web",
        "canarySubsetName": "canary",
        "stableSubsetName": "stable",
    },
}


def istio_world(
    steps: list[dict[str, Any]],
    *,
    by_subset: bool = False,
    ping_pong: bool = False,
    managed: Sequence[str] = (),
    policy: Policy | None = None,
    **strategy: Any,
) -> World:
    """v1 is stable behind a VirtualService with a foreign route, and a DestinationRule by subset.

    With `ping_pong` the Services `stable` and `canary` are pong and ping: the first version swaps them.
    """
    istio: dict[str, Any] = ISTIO if by_subset else {"virtualService": ISTIO["virtualService"]}
    routing = {"istio": istio, "managedRoutes": [{"name": name} for name in managed]}
    canary: dict[str, Any] = {"trafficRouting": routing, **strategy}
    if by_subset or ping_pong:
        canary |= {"canaryService": "", "stableService": ""}
    if ping_pong:
        canary["pingPong"] = {"pingService": "canary", "pongService": "stable"}
    world = World(
        given.rollout(steps, canary=canary),
        start=given.START,
        services=("canary", "stable"),
        templates=(given.TEMPLATE,),
        policy=policy or Policy(drain_seconds=0),
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


def weights(world: World, name: str = "primary") -> list[int]:
    """Weights of stable and canary in a route of the VirtualService."""
    route = next(item for item in http(world) if item.get("name") == name)
    return [item["weight"] for item in route["route"]]


def names(world: World) -> list[str]:
    """Names of the http routes, top to bottom."""
    return [item.get("name", "") for item in http(world)]


def http(world: World) -> list[dict[str, Any]]:
    """The http routes."""
    routes: list[dict[str, Any]] = world.objects[ROUTE]["spec"]["http"]
    return routes
