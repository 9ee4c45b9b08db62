"""Replicas that elect their owner by a lease: whoever dies, rollouts end where they must, and so do aborts."""

import random
from typing import Any

import pytest

from agent.engine.lease import LeaseOwner, Terms
from tests.simulation.faults import CALM, Connection
from tests.simulation.manifests import KEY, namespace, rollout, service, virtual_service
from tests.simulation.scenario import STORMY, alert, is_promoted, is_rolled_back, set_image
from tests.simulation.virtual import run
from tests.simulation.world import Process, Shares, World

STEPS: list[dict[str, Any]] = [
    {"setWeight": 20},
    {"pause": {"duration": 20}},
    {"setWeight": 60},
    {"pause": {"duration": 20}},
]


class Elected(World):
    """Replicas with a lease, and no other ruling of who owns."""

    def ownership(self, number: int, connection: Connection) -> Shares | LeaseOwner:
        """A process that was not there before, with a name of its own."""
        terms = Terms(
            name="serinus", namespace="ops", identity=f"{number}_{self.rng.randrange(1 << 30)}"
        )
        return LeaseOwner(connection, self.clock, terms)

    def owners_now(self) -> list[Process]:
        """Processes that live and own."""
        return [process for process in self.processes if process and process.shares.holds()]

    async def until_owned(self) -> Process:
        """The one owner, as soon as there is one."""
        await self.until(lambda: bool(self.owners_now()), within=60, what="an owner")
        (owner,) = self.owners_now()
        return owner


async def shop(world: World) -> None:
    await world.apply(
        namespace(), service("web-stable"), service("web-canary"), virtual_service(),
        rollout(STEPS, replicas=5),
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(6))
def test_whoever_dies_the_rollout_ends_promoted(seed: int) -> None:
    async def main() -> Elected:
        rng = random.Random(seed)
        world = Elected(seed, replicas=3, weather=STORMY if seed % 2 else CALM)
        await shop(world)
        async with world.alive():
            await world.until(lambda: is_promoted(world), within=120, what="the first version")
            await set_image(world, "web:2")
            for _ in range(3):
                await world.clock.sleep(rng.uniform(1, 15))
                (await world.until_owned()).kill()
                await world.clock.sleep(1)
                assert len(world.owners_now()) <= 1
            await world.until(lambda: is_promoted(world), within=240, what="the second version")
            await world.clock.sleep(30)
        return world

    world = run(main())
    assert world.violations() == []
    assert world.crashes == 3
    raised = [weight for weight in world.checker.weights if weight]
    assert raised == [20, 60, 100], "as without a death"


@pytest.mark.parametrize("seed", range(4))
def test_while_nobody_owns_an_alert_takes_the_canary_off_at_any_replica(seed: int) -> None:
    """I2: who aborts need not be elected."""

    async def main() -> tuple[Elected, float]:
        world = Elected(seed, replicas=2)
        await shop(world)
        async with world.alive():
            await world.until(lambda: is_promoted(world), within=120, what="the first version")
            await set_image(world, "web:2")
            await world.until(
                lambda: bool(world.status().get("pauseConditions")), within=60, what="the pause"
            )
            owner = await world.until_owned()
            (other,) = (process for process in world.processes if process not in (owner, None))
            owner.kill()
            await world.clock.sleep(0.1)
            assert world.owners_now() == []
            began = world.clock.monotonic()
            assert other is not None
            assert (await other.engine.abort(KEY, alert("Down"))).result == "done"
            await world.until(lambda: world.weight() == 0, within=10, what="weight 0")
            took = world.clock.monotonic() - began
            assert world.owners_now() == []
            await world.until(lambda: is_rolled_back(world), within=60, what="the rollback")
            await world.clock.sleep(30)
        return world, took

    world, took = run(main())
    assert world.violations() == []
    assert took < 0.3, "on the virtual clock"
    told = [event["type"].split(".")[-2] for event in world.bus.events()]
    assert (told.count("aborted"), told.count("rolledback")) == (1, 1)
