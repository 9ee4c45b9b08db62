"""A Git agent that re-applies its own weights: users of an aborted version are not exposed again."""

import pytest

from agent.api.names import WEIGHT_SINCE
from agent.cluster.port import KINDS
from agent.errors import Forbidden
from tests.engine.shop import annotations, is_paused, shop
from tests.simulation.manifests import KEY
from tests.simulation.scenario import alert, is_rolled_back
from tests.simulation.virtual import run
from tests.simulation.world import World

PATCH = [
    {"op": "replace", "path": "/spec/http/1/route/0/weight", "value": 90},
    {"op": "replace", "path": "/spec/http/1/route/1/weight", "value": 10},
]
ONE_WATCH_EVENT = 0.15
"""Watch lag (at most 0.05 s), the write (at most 0.03 s), and the steps in which this test looks."""


async def resync(world: World) -> float:
    """Git's 90/10 is applied; seconds until the canary has nothing again."""
    await world.store.json_patch(KINDS["VirtualService"], "shop", "web", PATCH)
    world.checker.remember()
    began = world.clock.monotonic()
    await world.until(lambda: world.weight() == 0, within=30, what="weight 0", every=0.005)
    return world.clock.monotonic() - began


def drifts(world: World) -> int:
    return sum("drifted" in event["type"] for event in world.bus.events())


@pytest.mark.parametrize("state", ["aborted", "just aborted", "healthy"])
def test_a_resync_exposes_for_one_watch_event_however_often_it_comes(state: str) -> None:
    is_aborted = state != "healthy"

    async def main() -> None:
        async with shop(at_weight=20 if is_aborted else None) as world:
            if is_aborted:
                await world.engine.abort(KEY, alert("Down"))
                await world.until(lambda: is_rolled_back(world), within=5, what="the rollback")
                # Times of aborts are stored in whole seconds, and all of this may be within one.
                await world.until(
                    lambda: annotations(world).get(WEIGHT_SINCE, "").startswith("0@"),
                    within=0.5,
                    what="the weight was read back",
                    every=0.01,
                )
            if state != "just aborted":
                await world.clock.sleep(30)
            for _ in range(60):
                assert await resync(world) <= ONE_WATCH_EVENT
                await world.clock.sleep(0.1)
            await world.clock.sleep(5)
            assert drifts(world) == 60
            said = [event["type"] for event in world.bus.events()]
            assert sum("rolledback" in name for name in said) == is_aborted

    run(main())


def test_a_lane_that_waits_after_a_failure_lowers_all_the_same() -> None:
    """Another write of this rollout is refused again and again; the weight does not wait for its turn."""

    def refuse(kind: str, name: str) -> None:
        if (kind, name) == ("Service", "web-canary"):
            raise Forbidden("simulated: the agent may not write Services")

    async def main() -> None:
        async with shop(at_weight=20) as world:
            world.refuse = refuse
            await world.engine.abort(KEY, alert("Down"))
            await world.until(lambda: world.weight() == 0, within=5, what="the rollback")
            await world.clock.sleep(120)
            wait = world.engine.wait_of(KEY)
            assert wait is not None
            assert "may not write Services" in wait.why
            for _ in range(5):
                assert await resync(world) <= ONE_WATCH_EVENT
                await world.clock.sleep(3)

    run(main())


def test_a_raise_that_somebody_undoes_is_repeated_once_a_period() -> None:
    async def main() -> None:
        async with shop(at_weight=20) as world:
            assert is_paused(world)
            down = [{**item, "value": 100 - 100 * number} for number, item in enumerate(PATCH)]
            raises = 0
            for _ in range(1200):
                if world.weight() == 20:
                    raises += 1
                    await world.store.json_patch(KINDS["VirtualService"], "shop", "web", down)
                    world.checker.remember()
                await world.clock.sleep(0.1)
            assert 4 <= raises <= 6, "120 s, one correction every 30 s, the first at once"

    run(main())
