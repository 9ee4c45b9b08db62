"""A companion whose abort nobody carries out, and one that sees nobody who could, in virtual time."""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from agent.engine.companion.driver import Driver
from agent.engine.metrics import Meter
from agent.engine.other_engine import OtherEngine
from agent.errors import Forbidden, Unavailable
from agent.rollout.sighting import UNHEEDED_SECONDS
from tests.engine.beside import Beside, beside
from tests.engine.shop import shop
from tests.engine.test_switch import LOCK, a_cluster
from tests.simulation.manifests import KEY
from tests.simulation.scenario import alert, is_rolled_back
from tests.simulation.virtual import run
from tests.simulation.world import World


def told(companion: Beside) -> list[str]:
    return [item[0] for item in companion.told()]


async def until_told(world: World, companion: Beside, transition: str, within: float) -> None:
    await world.until(
        lambda: transition in told(companion), within=within, what=f"{transition} is told"
    )


def test_an_abort_that_nobody_carries_out_is_told_in_time_and_once() -> None:
    async def main() -> None:
        async with shop() as world, beside(world) as companion:
            world.rebalance()
            with capture_logs() as logs:
                await companion.engine.abort(KEY, alert("Down"))
                await until_told(world, companion, "aborted", 5)
                await world.clock.sleep(UNHEEDED_SECONDS - 6)
                assert "unheeded" not in told(companion)
                await until_told(world, companion, "unheeded", 10)
                await world.clock.sleep(120)
            assert told(companion).count("unheeded") == 1
            assert world.weight() == 20, "what it tells is true"
            (event,) = [e for e in companion.bus.events() if ".unheeded." in e["type"]]
            assert event["data"]["weights"] == {"before": 20, "after": 20}
            assert event["data"]["cause"]["evidence"] == {"labels": {"alertname": "Down"}}
            (line,) = [line for line in logs if line["event"] == "rollout.abort_unheeded"]
            assert (line["log_level"], line["rollout"]) == ("error", "shop/web")
            world.rebalance(0)
            await world.until(lambda: is_rolled_back(world), within=60, what="the rollback")
            await until_told(world, companion, "rolledback", 30)
            assert companion.bus.violations() == []

    run(main())


def test_an_abort_that_is_carried_out_is_not_told_of() -> None:
    async def main() -> None:
        async with shop() as world, beside(world) as companion:
            await companion.engine.abort(KEY, alert("Down"))
            await world.until(lambda: is_rolled_back(world), within=30, what="the rollback")
            await world.clock.sleep(120)
            assert "unheeded" not in told(companion)

    run(main())


@pytest.mark.parametrize("pause", [1.0, 2 * UNHEEDED_SECONDS], ids=["before", "after"])
def test_a_companion_that_dies_meanwhile_tells_it_when_it_is_back(pause: float) -> None:
    async def main() -> None:
        async with shop() as world, beside(world) as companion:
            world.rebalance()
            await companion.engine.abort(KEY, alert("Down"))
            await until_told(world, companion, "aborted", 5)
            await world.clock.sleep(pause)
            first = companion.living[0]
            assert first is not None
            first.kill()
            await until_told(world, companion, "unheeded", 2 * UNHEEDED_SECONDS)
            await world.clock.sleep(60)
            assert told(companion).count("unheeded") == 1
            assert companion.bus.violations() == []
            world.rebalance(0)
            await world.until(lambda: is_rolled_back(world), within=60, what="the rollback")

    run(main())


# Who drives.


@asynccontextmanager
async def watching(cluster: Any, world: World, *leases: str) -> AsyncIterator[Driver]:
    other = OtherEngine(cluster, world.clock, leases=leases, quiet_seconds=60)
    driver = Driver(other, world.clock)
    task = asyncio.create_task(driver.run())
    try:
        yield driver
        assert not task.done(), task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def lines(logs: Any) -> list[str]:
    return [line["event"] for line in logs if line["event"].startswith("companion.")]


def test_without_a_controller_readiness_the_metric_and_the_log_say_so() -> None:
    async def main() -> None:
        async with a_cluster() as (world, argo):
            with capture_logs() as logs:
                async with watching(world.store, world, LOCK) as driver:
                    assert "is not known: nobody has looked yet" in driver.note
                    await world.clock.sleep(5)
                    assert driver.state == "absent"
                    assert "as set, but no Argo Rollouts controller lives" in driver.note
                    assert driver.gauge() == 0
                    await argo.start()
                    await world.clock.sleep(7)
                    assert (driver.note, driver.gauge()) == ("companion: as set", 1)
                    await argo.stop()
                    await world.clock.sleep(50)
                    assert driver.gauge() == 1, "one that moves is silent for a while, too"
                    await world.clock.sleep(15)
                    assert driver.gauge() == 0
            assert lines(logs) == [
                "companion.nobody_drives", "companion.driven_again", "companion.nobody_drives",
            ]  # fmt: skip

    run(main())


def test_beside_a_living_controller_nothing_is_said() -> None:
    async def main() -> None:
        async with a_cluster() as (world, argo):
            await argo.start()
            with capture_logs() as logs:
                async with watching(world.store, world, LOCK) as driver:
                    await world.clock.sleep(120)
                    assert driver.note == "companion: as set"
            assert lines(logs) == []
            await argo.stop()

    run(main())


class _Refusing:
    """An API server that lets nobody read Leases, or does not answer."""

    def __init__(self, error: Exception) -> None:
        self.error: Exception | None = error

    async def list(self, *_args: object, **_options: object) -> Any:
        if self.error is not None:
            raise self.error
        return type("Listing", (), {"items": []})


def test_what_cannot_be_seen_is_not_called_absent() -> None:
    async def main() -> None:
        async with a_cluster() as (world, _argo):
            forbidden, down = _Refusing(Forbidden("no")), _Refusing(Unavailable("later"))
            with capture_logs() as logs:
                async with (
                    watching(world.store, world) as unnamed,
                    watching(forbidden, world, LOCK) as refused,
                    watching(down, world, LOCK) as unread,
                ):
                    await world.clock.sleep(90)
                    assert "engine.argo_leases is empty" in unnamed.note
                    assert f"Lease {LOCK} may not be read" in refused.note
                    assert "its Lease could not be read" in unread.note
                    for driver in (unnamed, refused, unread):
                        assert driver.state == "unseen"
                        assert math.isnan(driver.gauge())
                    forbidden.error = down.error = None
                    await world.clock.sleep(5)
                    assert (refused.state, unread.state) == ("absent", "absent")
            assert lines(logs).count("companion.driver_unseen") == 3
            assert lines(logs).count("companion.nobody_drives") == 2

    run(main())


def test_a_meter_that_counts_nothing_takes_it() -> None:
    Meter().unheeded()
