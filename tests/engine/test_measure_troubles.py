"""Providers in every trouble, over real sockets: bounded, named, and the other runs do not notice."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from agent.analysis.providers.registry import providers
from agent.api.meta import Object
from agent.clock import SystemClock
from agent.cluster.cache import Cache
from agent.cluster.local.store import LocalCluster
from agent.cluster.port import KINDS
from agent.engine.measure import DONE, AnalysisDriver
from agent.http import MOST_AT_ONCE, Http
from tests.analysis.troubled_servers import SAYS, TROUBLES, tls, troubled, web

RUN: Final = KINDS["AnalysisRun"]
DEADLINE_SECONDS: Final = 30.0


class Bench:
    """A driver with the real providers."""

    def __init__(self) -> None:
        self.clock = SystemClock()
        self.store = LocalCluster(self.clock)

    @asynccontextmanager
    async def driving(self, http: Http) -> AsyncIterator[None]:
        cache = Cache(self.store, ("AnalysisRun",), self.clock)
        driver = AnalysisDriver(self.store, cache, self.clock, providers(http, {}, self.store))
        cache.on_change(driver.changed)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(cache.run()), group.create_task(driver.run())]
            await cache.synced.wait()
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()

    async def start(self, name: str, metric: Object) -> None:
        await self.store.create(
            RUN,
            {
                "apiVersion": "argoproj.io/v1alpha1",
                "kind": "AnalysisRun",
                "metadata": {"name": name, "namespace": "shop"},
                "spec": {"metrics": [{"name": "m", "consecutiveErrorLimit": 0, **metric}]},
            },
        )

    def status(self, name: str) -> Object:
        return (self.store.peek("AnalysisRun", "shop", name) or {}).get("status") or {}

    async def ended(self, *names: str) -> None:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not all(self.status(name).get("phase") in DONE for name in names):
                await asyncio.sleep(0.02)


def asks(kind: str, url: str, **more: Any) -> Object:
    settings: dict[str, Any] = {
        "web": {"url": url, "jsonPath": "{$.ok}", "timeoutSeconds": 3, **more},
        "prometheus": {"address": url, "query": "up", "timeout": 1, **more},
    }
    return {"provider": {kind: settings[kind]}, "successCondition": "true"}


async def fine(request: Request) -> Response:
    await request.body()
    return JSONResponse({"ok": True})


async def test_every_trouble_is_bounded_and_named_and_the_other_runs_do_not_notice(
    tmp_path: Path,
) -> None:
    bench, http = Bench(), Http()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(http.aclose)
        healthy = await stack.enter_async_context(web(fine))
        urls = {t: await stack.enter_async_context(troubled(t, tmp_path)) for t in TROUBLES}
        await stack.enter_async_context(bench.driving(http))
        names = []
        for trouble, url in urls.items():
            oauth2 = {"tokenUrl": f"{url}/token", "clientId": "a", "clientSecret": "b"}
            for kind, metric in (
                ("web", asks("web", url)),
                ("prometheus", asks("prometheus", url)),
                ("oauth2", asks("web", healthy, authentication={"oauth2": oauth2})),
            ):
                names.append((f"{kind}-{trouble.replace(' ', '-').lower()}", trouble))
                await bench.start(names[-1][0], metric)
        for number in range(20):
            metric = asks("web", healthy, timeoutSeconds=20)
            await bench.start(f"fine-{number}", {**metric, "count": 2, "interval": "1s"})
        await bench.ended(*(f"fine-{number}" for number in range(20)))
        found = [bench.status(f"fine-{number}") for number in range(20)]
        assert {(s["phase"], s.get("message", "")) for s in found} == {("Successful", "")}
        await bench.ended(*(name for name, _ in names))
        for name, trouble in names:
            status = bench.status(name)
            assert (name, status["phase"]) == (name, "Error")
            said = status["metricResults"][0]["measurements"][0]["message"]
            assert SAYS[trouble] in said, (name, said)


async def test_many_that_wait_for_one_slow_server_hold_up_nobody_else(tmp_path: Path) -> None:
    """More than it has places for, and none of them has given up when the others are done."""
    bench, http = Bench(), Http()
    waiting = [f"slow-{number}" for number in range(MOST_AT_ONCE + 10)]
    async with AsyncExitStack() as stack:
        stack.push_async_callback(http.aclose)
        healthy = await stack.enter_async_context(web(fine))
        await stack.enter_async_context(bench.driving(http))
        async with troubled("slow", tmp_path) as slow:
            for name in waiting:
                await bench.start(name, asks("web", slow, timeoutSeconds=60))
            await bench.start("fine", asks("web", healthy, timeoutSeconds=20))
            await bench.ended("fine")
            assert bench.status("fine")["phase"] == "Successful"
            assert {bench.status(name)["phase"] for name in waiting} == {"Running"}
        await bench.ended(*waiting)


@pytest.mark.parametrize("kind", ["web", "prometheus"])
async def test_an_authority_that_is_named_is_trusted_and_insecure_trusts_all(
    kind: str, tmp_path: Path
) -> None:
    sample = '{"metric":{},"value":[32503680000,"1"]}'
    body = {
        "web": b'{"ok": true}',
        "prometheus": b'{"status":"success","data":{"resultType":"vector","result":[%b]}}'
        % sample.encode(),
    }
    certificate = tmp_path / "own.pem"
    async with tls(body[kind], certificate) as url:
        for name, http, more in (
            ("refused", Http(), {}),
            ("insecure", Http(), {"insecure": True}),
            ("trusted", Http(ca_file=str(certificate)), {}),
        ):
            bench = Bench()
            async with bench.driving(http):
                await bench.start("a", asks(kind, url, **more))
                await bench.ended("a")
            await http.aclose()
            status = bench.status("a")
            assert (name, status["phase"]) == (name, "Error" if name == "refused" else "Successful")
            if name == "refused":
                said = status["metricResults"][0]["measurements"][0]["message"]
                assert "certificate verify failed" in said
