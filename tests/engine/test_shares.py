"""The meter of shares: Prometheus' counters become a note on the Rollout, and the rollout goes on by it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from agent.api.names import CONFIRM_SHARES, SHARES
from agent.cluster.port import KINDS
from agent.engine.shares import PERIOD_SECONDS, ShareMeter
from agent.errors import Refused, Unavailable
from agent.traffic.routers import ROUTERS
from tests.engine.shop import shop
from tests.simulation.manifests import KEY
from tests.simulation.scenario import alert, is_promoted, is_rolled_back, set_image
from tests.simulation.virtual import run
from tests.simulation.world import World


class Requests:
    """Prometheus in front of a mesh in which `lag` seconds pass before a weight is in force."""

    def __init__(self, world: World, *, lag: float = 0.0, rate: float = 100.0) -> None:
        self._world = world
        self.rate = rate
        self.lag = lag
        self.asked: list[str] = []
        self.trouble: Exception | None = None
        self._share, self._counted = 0.0, {"web-canary": 0.0, "web-stable": 0.0}

    async def flow(self) -> None:
        """Requests come in, split by the weight of a while ago."""
        past: list[float] = []
        while True:
            past.append(self._world.weight() / 100)
            share = past[max(0, len(past) - 1 - int(self.lag))]
            self._counted["web-canary"] += self.rate * share
            self._counted["web-stable"] += self.rate * (1 - share)
            await self._world.clock.sleep(1)

    async def ask(self, query: str) -> Any:
        self.asked.append(query)
        if self.trouble is not None:
            raise self.trouble
        return [
            {"metric": {"destination_service_name": name}, "value": [0, str(value)]}
            for name, value in self._counted.items()
        ]


@asynccontextmanager
async def metered(
    prepare: Callable[[Requests], None] = lambda _requests: None, **options: Any
) -> AsyncIterator[tuple[World, Requests]]:
    """A shop whose next version waits for the requests at every weight."""
    async with shop(at_weight=None) as world:
        process = world.processes[0]
        assert process is not None
        requests = Requests(world, **options)
        prepare(requests)
        meter = ShareMeter(
            process.connection, process.cache, world.clock, requests.ask, ROUTERS,
            owns=lambda _key: True, least=500,
        )  # fmt: skip
        body: dict[str, Any] = {"metadata": {"annotations": {CONFIRM_SHARES: "istio"}}}
        await world.store.merge_patch(KINDS["Rollout"], *KEY, body)
        world.checker.foreign_write()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(meter.run()), group.create_task(requests.flow())]
            await set_image(world, "web:2")
            await world.until(lambda: world.weight() == 20, within=60, what="the first weight")
            yield world, requests
            for task in tasks:
                task.cancel()


def note(world: World) -> str:
    return str((world.rollout()["metadata"].get("annotations") or {}).get(SHARES, ""))


def index(world: World) -> int:
    return int(world.status().get("currentStepIndex") or 0)


def test_a_weight_that_the_requests_show_lets_the_rollout_go_on() -> None:
    async def main() -> None:
        async with metered() as (world, requests):
            assert index(world) == 0
            await world.until(lambda: index(world) == 1, within=60, what="the step is complete")
            assert note(world).partition("=")[2].startswith("confirmed the canary got 20.0 % of ")
            assert world.status()["canary"]["weights"]["verified"] is True
            asked = len(requests.asked)
            await world.clock.sleep(20 * PERIOD_SECONDS)
            assert len(requests.asked) == asked, "what was confirmed is not asked for again"

    run(main())


def test_proxies_that_are_late_are_waited_for() -> None:
    async def main() -> None:
        async with metered(lag=30) as (world, _requests):
            await world.until(lambda: "=off" in note(world), within=60, what="another share")
            assert index(world) == 0
            await world.until(lambda: index(world) == 1, within=60, what="the step is complete")

    run(main())


def test_no_data_is_no_confirmation_and_an_abort_does_not_wait() -> None:
    async def main() -> None:
        for trouble, said in (
            (Unavailable("no answer"), "Prometheus does not answer"),
            (
                Refused("parse error"),
                "the query of serinus.dev/confirm-shares is refused: parse error",
            ),
        ):

            def broken(requests: Requests, trouble: Exception = trouble) -> None:
                requests.trouble = trouble

            async with metered(broken) as (world, requests):
                await world.clock.sleep(100)
                assert (index(world), world.weight()) == (0, 20)
                assert f"=absent {said}" in note(world)
                assert "the requests do not show weight 20 yet" in world.engine.wait_of(KEY).why  # type: ignore[union-attr] # it is known
                assert len(requests.asked) > 10
                await world.engine.abort(KEY, alert("Down"))
                await world.until(lambda: is_rolled_back(world), within=2, what="the rollback")

    run(main())


def test_a_trickle_of_requests_is_waited_for_and_writes_nothing_meanwhile() -> None:
    async def main() -> None:
        async with metered(rate=2.0) as (world, _requests):
            await world.until(lambda: "=few" in note(world), within=30, what="few requests")
            await world.clock.sleep(30)
            version = world.store.now_version()
            await world.clock.sleep(100)
            assert world.store.now_version() == version, "counts alone are no news"
            await world.until(lambda: index(world) == 1, within=300, what="500 requests")

    run(main())


def test_the_whole_way_by_shown_weights() -> None:
    async def main() -> None:
        async with metered() as (world, _requests):
            for _ in range(2):
                await world.until(
                    lambda: bool(world.status().get("pauseConditions")), within=120, what="a pause"
                )
                await world.engine.command(KEY, "promote", cause=alert("x"), skip=False)
                await world.clock.sleep(1)
            await world.until(lambda: is_promoted(world), within=120, what="promoted")
            await world.until(lambda: world.weight() == 0, within=30, what="the names are over")

    run(main())
