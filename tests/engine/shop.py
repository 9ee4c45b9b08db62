"""A shop whose new version stands at a weight, for tests of what happens to it then."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from agent.api.meta import Object
from agent.engine.port import Outcome
from agent.events.catalogue import Cause, Command
from tests.simulation.manifests import KEY, namespace, rollout, service, virtual_service
from tests.simulation.scenario import is_promoted, set_image
from tests.simulation.world import World

STEPS: list[dict[str, Any]] = [
    {"setWeight": 20}, {"pause": {}}, {"setWeight": 60}, {"pause": {}},
]  # fmt: skip


@asynccontextmanager
async def shop(*, at_weight: int | None = 20, **options: Any) -> AsyncIterator[World]:
    """A shop whose new version stands at a weight (None: the first version only)."""
    world = World(5, **options)
    await world.apply(
        namespace(), service("web-stable"), service("web-canary"), virtual_service(),
        rollout(STEPS, replicas=5),
    )  # fmt: skip
    async with world.alive():
        await world.until(lambda: is_promoted(world), within=60, what="the first version")
        if at_weight is not None:
            await set_image(world, "web:2")
            await world.until(
                lambda: world.weight() == at_weight and is_paused(world),
                within=60,
                what="the pause",
            )
        yield world
    assert world.violations() == []


def is_paused(world: World) -> bool:
    return bool(world.status().get("pauseConditions"))


def annotations(world: World) -> dict[str, str]:
    return world.rollout()["metadata"].get("annotations") or {}


def new_set(world: World) -> Object:
    found = world.store.peek("ReplicaSet", "shop", f"web-{world.status()['currentPodHash']}")
    assert found is not None
    return found


def why(world: World) -> str:
    wait = world.engine.wait_of(KEY)
    return wait.why if wait is not None else ""


PERSON = Cause(kind="command", summary="by a person", actor="ann")


async def command(world: World, name: Command, **options: Any) -> Outcome:
    """A person's command to the one rollout of the shop."""
    return await world.engine.command(KEY, name, cause=PERSON, **options)
