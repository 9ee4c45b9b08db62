"""What may happen to a rollout: intents, new versions, other writers, deaths; at a time or at a write."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

from agent.api.holds import Hold
from agent.api.times import format_time
from agent.cluster.port import KINDS
from agent.events.catalogue import Cause
from tests.simulation.invariants import GATEWAY_KINDS, ROUTE_KINDS
from tests.simulation.manifests import KEY, a_route, weight_patch
from tests.simulation.world import World


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
    routes = [route for kind in ROUTE_KINDS for route in world.store.peek_all(kind)]
    route = world.rng.choice(sorted(routes, key=lambda item: str(item["metadata"]["name"])))
    patch = weight_patch(route, world.rng.choice([0, 10, 70, 100]))
    name = route["metadata"]["name"]
    await world.store.json_patch(KINDS[route["kind"]], KEY.namespace, name, patch)
    world.checker.foreign_route()


async def _silent_gateway(world: World, _number: int) -> None:
    """The controller of the gateway does not answer for a while."""
    world.gateway.is_silent = True
    await world.clock.sleep(world.rng.uniform(0.5, 10))
    world.gateway.is_silent = False
    for kind in GATEWAY_KINDS:
        for route in tuple(world.store.peek_all(kind)):
            await world.gateway.answer(route)


async def _death(world: World, _number: int) -> None:
    world.crash()


async def _rebalance(world: World, _number: int) -> None:
    """The rollout moves to the other process; for a while both believe that they own it."""
    last = len(world.processes) - 1
    world.rebalance(0, last)
    await world.clock.sleep(world.rng.uniform(0, 3))
    world.rebalance(last)


Happening = Callable[[World, int], Coroutine[Any, Any, None]]
HAPPENINGS: Final[tuple[Happening, ...]] = (
    _abort, _abort, _abort_as_cli, _hold, _another_image, _back, _scale, _foreign_annotation,
    _gitops_resync, _foreign_weights, _death, _rebalance, _rebalance,
)  # fmt: skip
ON_SEVERAL_ROUTES: Final[tuple[Happening, ...]] = (_foreign_weights,) * 3
ON_GATEWAY_ROUTES: Final[tuple[Happening, ...]] = (_silent_gateway,) * 2
AT_A_WRITE: Final[tuple[Happening, ...]] = (
    _abort_as_cli, _another_image, _back, _scale, _foreign_annotation, _gitops_resync, _foreign_weights,
    _foreign_weights, _death,
)  # fmt: skip
"""Those that take no time."""


async def later(world: World, seconds: float, happening: Happening, number: int) -> None:
    """Have it happen after a while."""
    await world.clock.sleep(seconds)
    await happening(world, number)


def at_a_write(world: World, point: str, writes: int, happening: Happening, number: int) -> None:
    """Have it happen at the n-th write from now, of whichever process: "before-write" or "after-write"."""
    time = world.reached_points()[point] + writes
    world.when(point, time, lambda: at_once(happening(world, number)))


def at_once(write: Coroutine[Any, Any, Any]) -> None:
    """Carry out writes to the store without giving anybody else a turn."""
    try:
        write.send(None)
    except StopIteration:
        return
    raise AssertionError("the store waited")
