"""Seeded runs: everything that happens follows from one number."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from agent.api.meta import Object
from agent.api.names import HOLDS, OUTBOX_CONDITION, PAUSE_HOLD
from agent.engine.crash_points import CRASH_POINTS
from tests.simulation.faults import CALM, Weather
from tests.simulation.happenings import (
    AT_A_WRITE,
    HAPPENINGS,
    ON_GATEWAY_ROUTES,
    ON_SEVERAL_ROUTES,
    alert,
    at_a_write,
    later,
    set_image,
)
from tests.simulation.invariants import ROUTE_KINDS, http_names
from tests.simulation.manifests import (
    KEY,
    PING_PONG,
    Steps,
    a_route,
    namespace,
    on_http_routes,
    roles_of,
    rollout,
    service,
    weights_of,
)
from tests.simulation.world import World

__all__ = [
    "CALM",
    "STORMY",
    "Result",
    "aborted",
    "alert",
    "eventful",
    "is_promoted",
    "is_rolled_back",
    "set_image",
    "straight",
]
STORMY: Final = Weather(conflict=0.05, unavailable=0.03, lost_answer=0.03)
SETTLE_SECONDS: Final = 120.0
SEVERAL: Final = 0.4
"""Share of the seeds with several routes, header and mirror routes, and more foreign weights."""
SWAPPING: Final = 0.15
"""Share of the seeds with ping and pong."""
ROUTES: Final = ("web", "web-internal")
MANAGED_STEPS: Final[Steps] = [
    {"setCanaryScale": {"replicas": 1}},
    {
        "setHeaderRoute": {
            "name": "beta",
            "match": [{"headerName": "x-beta", "headerValue": {"exact": "1"}}],
        }
    },
    {"setMirrorRoute": {"name": "shadow", "match": [{"path": {"prefix": "/"}}]}},
    {"setCanaryScale": {"matchTrafficWeight": True}},
]


@dataclass
class Result:
    """What a run came to."""

    seed: int
    weights: list[int] = field(default_factory=list)
    announced: list[tuple[Any, ...]] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    crashes: int = 0
    reached: dict[str, int] = field(default_factory=dict)
    status: dict[str, Any] = field(default_factory=dict)


async def straight(
    seed: int,
    *,
    crash_at: Sequence[tuple[str, int]] = (),
    weather: Weather = CALM,
    route_kind: str = "VirtualService",
) -> Result:
    """A new version goes all the way to 100 %, whatever dies on the way."""
    rng = random.Random(seed)
    ready_seconds = rng.choice([0.2, 1.0])
    world = World(seed, weather=weather, ready_seconds=ready_seconds, route_kind=route_kind)
    await _shop(world, _steps(rng, waits=False), rng.choice([1, 3, 5]))
    async with world.alive(*crash_at):
        await _first_version(world)
        await set_image(world, "web:2")
        await world.until(
            lambda: is_promoted(world), within=SETTLE_SECONDS, what="the new version is stable"
        )
        await _quiet(world)
    return _result(world, seed)


async def aborted(
    seed: int,
    *,
    crash_at: Sequence[tuple[str, int]] = (),
    weather: Weather = CALM,
    route_kind: str = "VirtualService",
) -> Result:
    """An alert ends a run half-way, whatever dies on the way."""
    rng = random.Random(seed)
    ready_seconds = rng.choice([0.2, 1.0])
    world = World(seed, weather=weather, ready_seconds=ready_seconds, route_kind=route_kind)
    await _shop(world, [{"setWeight": 20}, {"pause": {}}, {"setWeight": 60}], 5)
    async with world.alive(*crash_at):
        await _first_version(world)
        await set_image(world, "web:2")
        await world.until(
            lambda: bool(world.status().get("pauseConditions")), within=60, what="the pause"
        )
        await world.deliver(lambda engine: engine.abort(KEY, alert("Down")))
        await world.until(lambda: is_rolled_back(world), within=60, what="the rollback")
        await _quiet(world)
    return _result(world, seed)


async def eventful(seed: int, *, route_kind: str = "VirtualService") -> Result:
    """Aborts, holds, new images, foreign writers, scaling, outages and deaths at random moments and writes."""
    rng = random.Random(seed)
    is_gateway = route_kind != "VirtualService"
    world = World(
        seed,
        weather=rng.choice([CALM, STORMY, STORMY]),
        ready_seconds=rng.choice([0.2, 1.0, 3.0]),
        replicas=rng.choice([1, 2]),
        route_kind=route_kind,
    )
    points = list(CRASH_POINTS)
    crash_at = [(rng.choice(points), rng.randint(1, 4)) for _ in range(rng.choice([0, 1, 2, 4]))]
    steps, happenings = _steps(rng, waits=True), HAPPENINGS
    replicas = rng.choice([1, 2, 5, 10])
    if not is_gateway and random.Random(f"ping {seed}").random() < SWAPPING:
        await _shop(world, steps, replicas, **PING_PONG)
    elif random.Random(f"several {seed}").random() < SEVERAL:
        steps, happenings = [*MANAGED_STEPS, *steps], (*happenings, *ON_SEVERAL_ROUTES)
        await _several_routes(world, steps, replicas, grpc=bool(seed % 2))
    else:
        await _shop(world, steps, replicas)
    if is_gateway:
        happenings = (*happenings, *ON_GATEWAY_ROUTES)
    async with world.alive(*crash_at):
        await _first_version(world)
        await set_image(world, "web:2")
        moments = random.Random(f"moments {seed}")
        for number in range(moments.randint(0, 3)):
            point, writes = moments.choice(["before-write", "after-write"]), moments.randint(1, 40)
            at_a_write(world, point, writes, moments.choice(AT_A_WRITE), 10 + number)
        async with asyncio.TaskGroup() as group:
            for number in range(rng.randint(1, 6)):
                happening = rng.choice(happenings)
                group.create_task(later(world, rng.uniform(0, 12), happening, number))
        await _settled(world)
        await _quiet(world)
    return _result(world, seed)


def is_promoted(world: World) -> bool:
    """The wanted version is the stable one and has the traffic."""
    status = world.status()
    observed = status.get("observedGeneration") == str(world.rollout()["metadata"]["generation"])
    same = status.get("currentPodHash") == status.get("stableRS")
    return observed and same and status.get("phase") == "Healthy"


def is_rolled_back(world: World) -> bool:
    """Aborted, and no traffic is left on the new version."""
    return bool(world.status().get("abort")) and world.weight() == 0


# How a run begins and ends.


async def _shop(world: World, steps: Steps, replicas: int, **canary: Any) -> None:
    if world.route.kind == "HTTPRoute":
        canary |= {"trafficRouting": on_http_routes("web")}
    await world.apply(
        namespace(),
        service("web-stable"),
        service("web-canary"),
        a_route(world.route.kind, "web"),
        rollout(steps, replicas=replicas, **canary),
    )


async def _several_routes(world: World, steps: Steps, replicas: int, *, grpc: bool) -> None:
    """Two route objects, and steps that put routes of their own in front. `grpc`: one is for gRPC, if it may."""
    kinds = [world.route.kind] * len(ROUTES)
    both = [{"name": name, "routes": ["primary"]} for name in ROUTES]
    routing = {
        "istio": {"virtualServices": both},
        "managedRoutes": [{"name": "shadow"}, {"name": "beta"}],
    }
    if world.route.kind == "HTTPRoute":
        kinds[1:] = ["GRPCRoute"] if grpc else kinds[1:]
        routing = on_http_routes(ROUTES[0], grpc=ROUTES[1:]) if grpc else on_http_routes(*ROUTES)
    await world.apply(
        namespace(),
        service("web-stable"),
        service("web-canary"),
        *(a_route(kind, name) for kind, name in zip(kinds, ROUTES, strict=True)),
        rollout(steps, replicas=replicas, trafficRouting=routing),
    )


async def _first_version(world: World) -> None:
    await world.until(lambda: is_promoted(world), within=60, what="the first version is healthy")


def _steps(rng: random.Random, *, waits: bool) -> Steps:
    steps: Steps = []
    for weight in sorted(rng.sample(range(5, 100, 5), rng.randint(1, 4))):
        steps.append({"setWeight": weight})
        if rng.random() < 0.7:
            steps.append({"pause": {"duration": rng.randint(1, 6)}})
        elif waits and rng.random() < 0.3:
            steps.append({"pause": {}})
    return steps


async def _settled(world: World) -> None:
    """Until it is promoted, rolled back, or waits for a person."""

    def settled() -> bool:
        held = HOLDS in (world.rollout()["metadata"].get("annotations") or {})
        # One that is held no more goes on by itself, although the pause is on it until the next pass.
        reasons = {item["reason"] for item in world.status().get("pauseConditions") or ()}
        waits = bool(reasons - {PAUSE_HOLD}) and not _has_timer(world)
        return is_promoted(world) or is_rolled_back(world) or (waits and not held)

    await world.until(settled, within=SETTLE_SECONDS, what="it settles")


def _has_timer(world: World) -> bool:
    status = world.status()
    steps = world.rollout()["spec"]["strategy"]["canary"]["steps"]
    index = status.get("currentStepIndex") or 0
    return index < len(steps) and (steps[index].get("pause") or {}).get("duration") is not None


async def _quiet(world: World) -> None:
    """Everything that waits in the outbox is out, and nothing is written any more."""

    def is_empty() -> bool:
        conditions = world.status().get("conditions") or ()
        return not any(item["type"] == OUTBOX_CONDITION for item in conditions)

    await world.clock.sleep(2)
    await world.until(is_empty, within=60, what="the outbox is empty")
    # Pods that an abort or a promotion left over are gone by then, also when a raise had to wait its period.
    await world.clock.sleep(110)
    version = world.store.now_version()
    await world.clock.sleep(30)
    _served_as_said(world)
    if world.store.now_version() != version:
        world.checker.violations.append("the loop is hot: writes without a cause")


def _served_as_said(world: World) -> None:
    """When all is quiet users reach the version that the status calls stable, and nobody keeps the other one."""
    status, stable = world.status(), world.status().get("stableRS")
    names = roles_of(world.rollout())
    served = world.selected(names[1] if world.weight() == 100 else names[0])
    over = status.get("abort") or status.get("currentPodHash") == stable
    if over and world.weight() in (0, 100) and served != stable:
        world.checker.violations.append(f"users reach {served}, the status says {stable}")
    for route in (item for kind in ROUTE_KINDS for item in world.store.peek_all(kind)):
        standing = {"beta", "shadow"}.intersection(http_names(route))
        if over and (standing or weights_of(route) != weights_of(_route(world))):
            world.checker.violations.append(f"left on {route['metadata']['name']}: {standing}")
    left = {
        item["metadata"]["name"]: item["spec"]["replicas"]
        for item in world.store.peek_all("ReplicaSet")
        if item["spec"]["replicas"] and not item["metadata"]["name"].endswith(f"-{stable}")
    }
    if over and left:
        world.checker.violations.append(f"pods are left over: {left}")


def _route(world: World) -> Object:
    found = world.store.peek(*world.route)
    assert found is not None
    return found


def _result(world: World, seed: int) -> Result:
    return Result(
        seed=seed,
        weights=world.checker.weights,
        announced=[_essence(event) for event in world.bus.events()],
        violations=world.violations(),
        crashes=world.crashes,
        reached=dict(world.reached),
        status=world.status(),
    )


def _essence(event: dict[str, Any]) -> tuple[Any, ...]:
    """What an announcement says, without ids, versions and times."""
    data = event["data"]
    weights = data.get("weights") or {}
    return (
        event["type"].split(".")[-2],
        (data.get("step") or {}).get("index"),
        weights.get("before"),
        weights.get("after"),
    )
