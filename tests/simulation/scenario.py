"""Seeded runs: everything that happens follows from one number."""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from agent.api.holds import Hold
from agent.api.meta import Object
from agent.api.names import HOLDS, OUTBOX_CONDITION
from agent.api.times import format_time
from agent.cluster.port import KINDS
from agent.engine.crash_points import CRASH_POINTS
from agent.events.catalogue import Cause
from tests.simulation.faults import CALM, Weather
from tests.simulation.invariants import http_names
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
    weight_patch,
    weights_of,
)
from tests.simulation.world import World

STORMY: Final = Weather(conflict=0.05, unavailable=0.03, lost_answer=0.03)
SETTLE_SECONDS: Final = 120.0
SEVERAL: Final = 0.4
"""Share of the seeds with several VirtualServices, header and mirror routes, and foreign weights."""
SWAPPING: Final = 0.15
"""Share of the seeds with ping and pong."""
GATEWAY: Final = 0.3
"""Share of the seeds on HTTPRoutes, whose status must confirm each weight."""
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
    seed: int, *, crash_at: Sequence[tuple[str, int]] = (), weather: Weather = CALM
) -> Result:
    """A new version goes all the way to 100 %, whatever dies on the way."""
    rng = random.Random(seed)
    world = World(seed, weather=weather, ready_seconds=rng.choice([0.2, 1.0]))
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
    seed: int, *, crash_at: Sequence[tuple[str, int]] = (), weather: Weather = CALM
) -> Result:
    """An alert ends a run half-way, whatever dies on the way."""
    rng = random.Random(seed)
    world = World(seed, weather=weather, ready_seconds=rng.choice([0.2, 1.0]))
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


async def eventful(seed: int) -> Result:
    """Aborts, holds, new images, foreign writers, scaling, outages and deaths at random moments."""
    rng = random.Random(seed)
    gateway = random.Random(f"gateway {seed}").random() < GATEWAY
    world = World(
        seed,
        weather=rng.choice([CALM, STORMY, STORMY]),
        ready_seconds=rng.choice([0.2, 1.0, 3.0]),
        replicas=rng.choice([1, 2]),
        route_kind="HTTPRoute" if gateway else "VirtualService",
    )
    points = list(CRASH_POINTS)
    crash_at = [(rng.choice(points), rng.randint(1, 4)) for _ in range(rng.choice([0, 1, 2, 4]))]
    steps, happenings = _steps(rng, waits=True), HAPPENINGS
    replicas = rng.choice([1, 2, 5, 10])
    if not gateway and random.Random(f"ping {seed}").random() < SWAPPING:
        await _shop(world, steps, replicas, **PING_PONG)
    elif random.Random(f"several {seed}").random() < SEVERAL:
        steps, happenings = [*MANAGED_STEPS, *steps], (*HAPPENINGS, *[_foreign_weights] * 4)
        await _several_routes(world, steps, replicas)
    else:
        await _shop(world, steps, replicas)
    async with world.alive(*crash_at):
        await _first_version(world)
        await set_image(world, "web:2")
        async with asyncio.TaskGroup() as group:
            for number in range(rng.randint(1, 6)):
                happening = rng.choice(happenings)
                group.create_task(_later(world, rng.uniform(0, 12), happening, number))
        await _settled(world)
        await _quiet(world)
    return _result(world, seed)


def alert(name: str) -> Cause:
    """The cause of an abort by an alert."""
    return Cause(
        kind="alert",
        summary=f"alert {name} (critical): 5xx above 5 %",
        evidence={"labels": {"alertname": name}},
        event_id=f"id-{name}",
        started_at="2026-05-01T10:00:00.000Z",
        received_at="2026-05-01T10:00:01.000Z",
    )


async def set_image(world: World, image: str) -> None:
    """A user (or a GitOps tool) applies another image."""
    path = "/spec/template/spec/containers/0/image"
    operations = [{"op": "replace", "path": path, "value": image}]
    await world.store.json_patch(KINDS["Rollout"], *KEY, operations)
    world.checker.foreign_write()


def is_promoted(world: World) -> bool:
    """The wanted version is the stable one and has the traffic."""
    status = world.status()
    observed = status.get("observedGeneration") == str(world.rollout()["metadata"]["generation"])
    same = status.get("currentPodHash") == status.get("stableRS")
    return observed and same and status.get("phase") == "Healthy"


def is_rolled_back(world: World) -> bool:
    """Aborted, and no traffic is left on the new version."""
    return bool(world.status().get("abort")) and world.weight() == 0


# What may happen.


async def _abort(world: World, number: int) -> None:
    cause = alert(f"Down{number}")
    twice = (world.deliver(lambda engine: engine.abort(KEY, cause)) for _ in range(2))
    await asyncio.gather(*twice)


async def _abort_as_cli(world: World, _number: int) -> None:
    await world.store.merge_patch(KINDS["Rollout"], *KEY, {"status": {"abort": True}}, status=True)
    world.checker.foreign_write()


async def _hold(world: World, number: int) -> None:
    hold = Hold(
        fingerprint=f"f{number}",
        starts_at="2026-05-01T09:00:00Z",
        since=format_time(world.clock.now()),
        alert="Noisy",
    )
    await world.deliver(lambda engine: engine.hold(KEY, hold, alert("Noisy")))
    await world.clock.sleep(world.rng.uniform(0.5, 5))
    await world.deliver(lambda engine: engine.release(KEY, hold.fingerprint, hold.starts_at))


async def _another_image(world: World, number: int) -> None:
    await set_image(world, f"web:{number + 3}")


async def _back(world: World, _number: int) -> None:
    await set_image(world, "web:1")


async def _scale(world: World, _number: int) -> None:
    body = {"spec": {"replicas": world.rng.choice([1, 3, 8])}}
    await world.store.merge_patch(KINDS["Rollout"], *KEY, body)
    world.checker.foreign_write()


async def _foreign_annotation(world: World, number: int) -> None:
    body = {"metadata": {"annotations": {"example.com/touched": str(number)}}}
    for kind, name in (("Rollout", "web"), (world.route.kind, "web"), ("Service", "web-canary")):
        await world.store.merge_patch(KINDS[kind], KEY.namespace, name, body)
        world.checker.foreign_write()


async def _gitops_resync(world: World, _number: int) -> None:
    """A tool re-applies the route as it is in Git: all to stable (to pong, where the Services swap)."""
    spec = a_route(world.route.kind, "web")["spec"]
    rules = {name: spec[name] for name in ("http", "rules") if name in spec}
    kind = KINDS[world.route.kind]
    await world.store.merge_patch(kind, KEY.namespace, "web", {"spec": rules})
    world.checker.foreign_route()


async def _foreign_weights(world: World, _number: int) -> None:
    """Somebody sets the weights of one route, up or down."""
    name = world.rng.choice(ROUTES)
    found = world.store.peek(world.route.kind, KEY.namespace, name) or a_route(
        world.route.kind, name
    )
    patch = weight_patch(found, world.rng.choice([0, 10, 70, 100]))
    await world.store.json_patch(KINDS[world.route.kind], KEY.namespace, name, patch)
    world.checker.foreign_route()


async def _death(world: World, _number: int) -> None:
    world.crash()


async def _rebalance(world: World, _number: int) -> None:
    """The rollout moves to the other process; for a while both believe that they own it."""
    last = len(world.processes) - 1
    world.rebalance(0, last)
    await world.clock.sleep(world.rng.uniform(0, 3))
    world.rebalance(last)


Happening = Callable[[World, int], Any]
HAPPENINGS: Final[tuple[Happening, ...]] = (
    _abort, _abort, _abort_as_cli, _hold, _another_image, _back, _scale, _foreign_annotation,
    _gitops_resync, _death, _rebalance, _rebalance,
)  # fmt: skip


# How a run begins and ends.


async def _later(world: World, seconds: float, happening: Happening, number: int) -> None:
    await world.clock.sleep(seconds)
    await happening(world, number)


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


async def _several_routes(world: World, steps: Steps, replicas: int) -> None:
    """Two route objects, and steps that put routes of their own in front."""
    both = [{"name": name, "routes": ["primary"]} for name in ROUTES]
    routing = {
        "istio": {"virtualServices": both},
        "managedRoutes": [{"name": "shadow"}, {"name": "beta"}],
    }
    if world.route.kind == "HTTPRoute":
        routing = on_http_routes(*ROUTES)
    await world.apply(
        namespace(),
        service("web-stable"),
        service("web-canary"),
        *(a_route(world.route.kind, name) for name in ROUTES),
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
        waits = bool(world.status().get("pauseConditions")) and not _has_timer(world)
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
    for route in world.store.peek_all(world.route.kind):
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
