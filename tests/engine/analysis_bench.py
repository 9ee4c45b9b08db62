"""An analysis driver over the local store on a virtual clock, with providers that answer by script."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from agent.analysis.missing import POLICY, Policy
from agent.analysis.providers.port import Asked, Provider
from agent.analysis.verdict import Compat
from agent.api.analysis import Measurement, Metric
from agent.api.meta import Key, Object
from agent.clock import LoopClock
from agent.cluster.cache import Cache
from agent.cluster.local.store import LocalCluster
from agent.cluster.port import KINDS
from agent.engine.measure import DONE, AnalysisDriver
from tests.simulation.virtual import run

EPOCH = datetime(2026, 5, 1, 10, tzinfo=UTC)
CACHED = ("AnalysisRun", "Rollout", "Job")


class Scripted:
    """A provider that gives these phases in turn, the last one for ever; keeps what it was asked."""

    name = "web"

    def __init__(self, *phases: str) -> None:
        self.phases = list(phases)
        self.asked: list[Asked] = []

    def check(self, metric: Metric) -> None:
        """Everything can be measured."""

    async def measure(self, asked: Asked) -> Measurement:
        self.asked.append(asked)
        phase = self.phases.pop(0) if len(self.phases) > 1 else self.phases[0]
        if phase == "hang":
            await asyncio.Event().wait()
        if phase == "nothing":
            return Measurement(phase="Inconclusive", metadata={POLICY: "ignore"})
        if phase == "bug":
            raise ZeroDivisionError
        return Measurement(phase=phase, value="1", message="" if phase != "Error" else "away")


class Bench:
    """Store, cache and driver on a virtual clock."""

    def __init__(self, *made: Provider) -> None:
        self.clock = LoopClock(EPOCH)
        self.store = LocalCluster(self.clock)
        self.providers = {provider.name: provider for provider in made}

    @asynccontextmanager
    async def driving(
        self,
        missing: Policy = "error",
        owns: Callable[[Key], bool] = lambda _rollout: True,
        compat: Compat = "safe",
    ) -> AsyncIterator[AnalysisDriver]:
        cache = Cache(self.store, CACHED, self.clock)
        driver = AnalysisDriver(
            self.store,
            cache,
            self.clock,
            self.providers,
            missing=missing,
            owns=owns,
            compat=compat,
        )
        cache.on_change(driver.changed)
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(cache.run())
            await cache.synced.wait()
            working = group.create_task(driver.run())
            try:
                yield driver
            finally:
                for task in (working, reading):
                    task.cancel()

    async def start(self, name: str, *metrics: Object, **meta: Any) -> None:
        obj = {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "AnalysisRun",
            "metadata": {"name": name, "namespace": "shop", **meta},
            "spec": {"metrics": list(metrics)},
        }
        await self.store.create(KINDS["AnalysisRun"], obj)

    def run(self, name: str) -> Object | None:
        return self.store.peek("AnalysisRun", "shop", name)

    def status(self, name: str) -> Object:
        return (self.run(name) or {}).get("status") or {}

    async def until(self, there: Callable[[], object], within: float = 600) -> None:
        async with asyncio.timeout(within):
            while not there():
                await self.clock.sleep(0.05)

    async def ended(self, *names: str, within: float = 600) -> list[str]:
        async with asyncio.timeout(within):
            while not all(self.status(name).get("phase") in DONE for name in names):
                await self.clock.sleep(0.05)
        return [self.status(name)["phase"] for name in names]


def metric(**more: Any) -> Object:
    return {"name": "m", "provider": {"web": {"url": "http://x"}}, **more}


def on_a_bench(provider: Provider, test: Callable[[Bench], Awaitable[None]]) -> None:
    async def main() -> None:
        await test(Bench(provider))

    run(main())
