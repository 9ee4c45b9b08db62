"""What rollouts are known by is kept while nothing of it changes, and never longer."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from agent.api.meta import Key, Object
from agent.api.names import ABORT_ON
from agent.cluster.port import KINDS
from handlers.alert.candidates import Candidates, candidate
from handlers.alert.matching import Candidate
from tests.engine.shop import shop
from tests.simulation.manifests import KEY, rollout
from tests.simulation.scenario import set_image
from tests.simulation.virtual import run
from tests.simulation.world import World

Change = Callable[[World], Awaitable[Any]]


async def another_host(world: World) -> None:
    patch = [{"op": "add", "path": "/spec/hosts/-", "value": "shop.example.com"}]
    await world.store.json_patch(KINDS["VirtualService"], *KEY, patch)


async def no_route(world: World) -> None:
    await world.store.delete(KINDS["VirtualService"], *KEY)


async def matchers(world: World) -> None:
    body = {"metadata": {"annotations": {ABORT_ON: 'team="pay"'}}}
    await world.store.merge_patch(KINDS["Rollout"], *KEY, body)


async def another_service(world: World) -> None:
    body = {"spec": {"strategy": {"canary": {"canaryService": "web-other"}}}}
    await world.store.merge_patch(KINDS["Rollout"], *KEY, body)


async def another_revision(world: World) -> None:
    await set_image(world, "web:9")


async def unreadable(world: World) -> None:
    await world.store.merge_patch(
        KINDS["Rollout"], *KEY, {"spec": {"strategy": {"canary": {"steps": 7}}}}
    )


def fresh(world: World) -> tuple[Candidate, ...]:
    """Read from everything as it is now."""
    return tuple(candidate(world.engine, found) for found in world.engine.rollouts(KEY.namespace))


@pytest.mark.parametrize(
    "change",
    [another_host, no_route, matchers, another_service, another_revision, unreadable],
)
def test_a_change_of_anything_that_it_is_made_from_is_seen(change: Change) -> None:
    async def main() -> None:
        async with shop(at_weight=20) as world:
            candidates = Candidates(world.engine)
            (before,) = candidates.within(KEY.namespace)
            assert candidates.within(KEY.namespace)[0] is before, "nothing has changed"
            await change(world)
            world.checker.remember()
            await world.until(lambda: fresh(world) != (before,), within=30, what="it is seen")
            assert candidates.within(KEY.namespace) == fresh(world)
            world.checker.violations.clear()

    run(main())


def test_a_rollout_that_is_gone_is_forgotten_and_each_namespace_has_its_own() -> None:
    async def main() -> None:
        async with shop() as world:
            other: Object = rollout([])
            other["metadata"].update(name="other", annotations={"serinus.dev/x": "y"})
            await world.store.create(KINDS["Rollout"], other)
            candidates = Candidates(world.engine)

            def names() -> list[Key]:
                return [found.key for found in candidates.within("shop")]

            await world.until(lambda: len(names()) == 2, within=5, what="both are known")
            assert candidates.within("elsewhere") == ()
            await world.store.delete(KINDS["Rollout"], "shop", "other")
            await world.until(lambda: names() == [KEY], within=5, what="one is forgotten")
            world.checker.violations.clear()

    run(main())
