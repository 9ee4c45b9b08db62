"""The analysis driver over the local store, with providers that answer by script."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from agent.analysis.providers.port import Asked
from agent.api.analysis import Measurement, Metric
from agent.api.meta import Object
from agent.clock import LoopClock
from agent.cluster.cache import Cache
from agent.cluster.local.store import LocalCluster
from agent.cluster.port import KINDS
from agent.engine.measure import DONE, AnalysisDriver
from tests.simulation.virtual import run

EPOCH = datetime(2026, 5, 1, 10, tzinfo=UTC)
CACHED = ("AnalysisRun", "Rollout")


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
        if phase == "bug":
            raise ZeroDivisionError
        return Measurement(phase=phase, value="1", message="" if phase != "Error" else "away")


class Bench:
    """Store, cache and driver on a virtual clock."""

    def __init__(self, provider: Scripted) -> None:
        self.clock = LoopClock(EPOCH)
        self.store = LocalCluster(self.clock)
        self.provider = provider

    @asynccontextmanager
    async def driving(self) -> AsyncIterator[AnalysisDriver]:
        cache = Cache(self.store, CACHED, self.clock)
        driver = AnalysisDriver(self.store, cache, self.clock, {"web": self.provider})
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

    def status(self, name: str) -> Object:
        found = self.store.peek("AnalysisRun", "shop", name)
        return (found or {}).get("status") or {}

    async def ended(self, *names: str, within: float = 600) -> list[str]:
        async with asyncio.timeout(within):
            while not all(self.status(name).get("phase") in DONE for name in names):
                await self.clock.sleep(0.05)
        return [self.status(name)["phase"] for name in names]


def metric(**more: Any) -> Object:
    return {"name": "m", "provider": {"web": {"url": "http://x"}}, **more}


def on_a_bench(provider: Scripted, test: Callable[[Bench], Awaitable[None]]) -> None:
    async def main() -> None:
        await test(Bench(provider))

    run(main())


def test_a_run_measures_as_often_as_it_should_and_no_faster() -> None:
    provider = Scripted("Successful")

    async def test(bench: Bench) -> None:
        async with bench.driving():
            await bench.start("a", metric(count=3, interval="10s"))
            assert await bench.ended("a") == ["Successful"]
        times = [(asked.now - EPOCH).total_seconds() for asked in provider.asked]
        assert [round(time) for time in times] == [0, 10, 20]
        (result,) = bench.status("a")["metricResults"]
        assert (result["successful"], len(result["measurements"])) == (3, 3)

    on_a_bench(provider, test)


@pytest.mark.parametrize(
    ("phases", "more", "ends"),
    [
        (["Failed"], {}, "Failed"),
        (["Failed", "Successful"], {"count": 2, "interval": "1s", "failureLimit": 1}, "Successful"),
        (["Inconclusive"], {}, "Inconclusive"),
        (["Error"], {}, "Error"),
        (["Error", "Successful"], {}, "Successful"),
        (["bug"], {}, "Error"),
        (["hang"], {}, "Error"),
    ],
    ids=[
        "failed",
        "failed within the limit",
        "inconclusive",
        "away",
        "away for once",
        "a bug",
        "hangs",
    ],
)
def test_a_run_ends_as_its_measurements_say(
    phases: list[str], more: dict[str, Any], ends: str
) -> None:
    async def test(bench: Bench) -> None:
        async with bench.driving():
            await bench.start("a", metric(**more))
            assert await bench.ended("a") == [ends]

    on_a_bench(Scripted(*phases), test)


def test_a_restart_measures_only_what_is_missing() -> None:
    provider = Scripted("Successful")

    async def test(bench: Bench) -> None:
        async with bench.driving():
            await bench.start("a", metric(count=3, interval="10s"))
            await bench.clock.sleep(15)
        assert len(provider.asked) == 2
        async with bench.driving():
            assert await bench.ended("a") == ["Successful"]
        assert len(provider.asked) == 3

    on_a_bench(provider, test)


def test_what_is_wrong_with_one_run_stops_no_other() -> None:
    async def test(bench: Bench) -> None:
        async with bench.driving():
            unresolved = metric(successCondition="{{args.limit}} > 1")
            await bench.start("unresolved", unresolved)
            await bench.start("typed", metric(count={"a": 1}))
            await bench.start("unknown", {**metric(), "provider": {"datadog": {}}})
            await bench.start("good", metric())
            phases = await bench.ended("unresolved", "typed", "unknown", "good")
        assert phases == ["Error", "Error", "Error", "Successful"]
        assert "args.limit" in bench.status("unresolved")["message"]
        assert "count" in bench.status("typed")["message"]

    on_a_bench(Scripted("Successful"), test)


def test_a_run_that_is_terminated_ends() -> None:
    async def test(bench: Bench) -> None:
        async with bench.driving():
            await bench.start("a", metric(interval="10s"))
            await bench.clock.sleep(5)
            patch = {"spec": {"terminate": True}}
            await bench.store.merge_patch(KINDS["AnalysisRun"], "shop", "a", patch)
            assert await bench.ended("a", within=2) == ["Successful"]

    on_a_bench(Scripted("Successful"), test)


@pytest.mark.parametrize(
    ("own", "owners", "compat"), [("", "", "safe"), ("", "argo", "argo"), ("safe", "argo", "safe")]
)
def test_how_strict_verdicts_are_is_said_by_the_nearest_object(
    own: str, owners: str, compat: str
) -> None:
    provider = Scripted("Successful")

    async def test(bench: Bench) -> None:
        annotations = {"serinus.dev/compat": owners} if owners else {}
        meta = {"name": "web", "namespace": "shop", "annotations": annotations}
        rollout = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": meta}
        created = await bench.store.create(KINDS["Rollout"], {**rollout, "spec": {}})
        owner = {
            "apiVersion": rollout["apiVersion"],
            "kind": "Rollout",
            "name": "web",
            "uid": created["metadata"]["uid"],
            "controller": True,
        }
        async with bench.driving():
            said = {"serinus.dev/compat": own} if own else {}
            await bench.start("a", metric(), ownerReferences=[owner], annotations=said)
            await bench.ended("a")
        assert [asked.compat for asked in provider.asked] == [compat]

    on_a_bench(provider, test)


SECRET: Object = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "keys", "namespace": "shop"},
    "data": {"key": "czNjcmV0"},
}
WITH_SECRET: Object = {
    "apiVersion": "argoproj.io/v1alpha1",
    "kind": "AnalysisRun",
    "metadata": {"name": "a", "namespace": "shop"},
    "spec": {
        "args": [{"name": "k", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "key"}}}],
        "metrics": [{"name": "m", "provider": {"web": {"url": "http://x/{{args.k}}"}}}],
    },
}


def test_a_secret_is_waited_for_and_reaches_the_provider_but_no_status() -> None:
    provider = Scripted("Successful")

    async def test(bench: Bench) -> None:
        async with bench.driving():
            await bench.store.create(KINDS["AnalysisRun"], WITH_SECRET)
            await bench.clock.sleep(30)
            assert bench.status("a").get("phase") not in DONE
            await bench.store.create(KINDS["Secret"], SECRET)
            assert await bench.ended("a") == ["Successful"]
        (asked,) = provider.asked
        assert (asked.metric.provider or {})["web"]["url"] == "http://x/s3cret"
        assert asked.secrets == ("s3cret",)
        assert "s3cret" not in str(bench.status("a"))

    on_a_bench(provider, test)
