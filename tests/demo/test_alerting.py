"""Envoy, Prometheus and Alertmanager for real, where they are installed; their configuration anywhere."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from agent.clock import SystemClock
from agent.demo import alertmanager, prometheus
from agent.demo.alertmanager import alertmanager_running
from agent.demo.counters import counting
from agent.demo.envoy import envoy_running
from agent.demo.load import Load
from agent.demo.loopback import Answer, Request, serving
from agent.demo.manifests import Setup, complete, hasten
from agent.demo.observability import observing
from agent.demo.prometheus import Prometheus, prometheus_running
from agent.demo.translate import Endpoint, clusters_of, route_configuration
from agent.demo.upstream import Upstream
from agent.errors import Unavailable
from tests.traffic.objects import subset_pair, virtual_service

LIMIT = 15.0
SERVICE = virtual_service(
    {"route": subset_pair(90, 10, "canary-demo")}, name="canary-demo", namespace="demo"
)


def test_rules_are_named_by_an_absolute_path() -> None:
    config = prometheus.configuration(metrics="h:1", alertmanager="", rules_file=Path("rules.yml"))
    assert Path(config["rule_files"][0]).is_absolute()
    assert "alerting" not in config


def test_alerts_are_sent_at_once_with_the_token() -> None:
    config = alertmanager.configuration(webhook_url="http://h/alerts", token="secret")
    (webhook,) = config["receivers"][0]["webhook_configs"]
    assert config["route"]["group_wait"] == "0s"
    assert webhook["http_config"]["authorization"] == {"type": "Bearer", "credentials": "secret"}


async def test_what_is_missing_is_named_with_the_way_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(Unavailable, match=r"missing: prometheus .*apt-get install"):
        async with prometheus_running(admin_url="http://127.0.0.1:1", rollout="a/b"):
            pass
    with pytest.raises(Unavailable, match=r"missing: alertmanager .*apt-get install"):
        async with alertmanager_running(webhook_url="http://127.0.0.1:1", token="t"):
            pass


async def eventually(probe: Any, expected: Any) -> None:
    async with asyncio.timeout(LIMIT):
        while not expected(await probe()):
            await asyncio.sleep(0.05)


async def test_the_counters_serve_the_ratio_that_clients_see() -> None:
    stable, canary = clusters_of(SERVICE)
    async with Upstream("v1").running() as one, Upstream("v3", failing=1).running() as three:
        endpoints = {
            stable: [Endpoint(one.host, one.port, "v1")],
            canary: [Endpoint(three.host, three.port, "v3")],
        }
        routes = route_configuration(SERVICE, "0")
        async with (
            envoy_running(routes, endpoints) as envoy,
            counting(envoy, SystemClock(), seconds=60) as counters,
            httpx.AsyncClient(trust_env=False) as client,
        ):
            assert (await client.get(counters.url)).json() == {"result": []}
            load = Load(envoy.host, envoy.port, authority="canary-demo", rate=1000)
            async with load.generating():
                await load.until_total(300, within_seconds=LIMIT)
            tally = load.tally()

            async def counted() -> int:
                return counters.window.calls()[0]

            await eventually(counted, lambda count: count >= tally.total - 50)
            (ratio,) = (await client.get(counters.url)).json()["result"]
            calls, failed = counters.window.calls("canary")
    assert calls == failed
    assert 0.7 < ratio < 1


async def test_without_the_programs_the_counters_take_their_place_and_it_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "")
    stable, canary = clusters_of(SERVICE)
    hooks: asyncio.Queue[Request] = asyncio.Queue()

    def receive(request: Request) -> Answer:
        hooks.put_nowait(request)
        return Answer(200)

    async with Upstream("v1").running() as one, Upstream("v3").running() as three:
        endpoints = {
            stable: [Endpoint(one.host, one.port, "v1")],
            canary: [Endpoint(three.host, three.port, "v3")],
        }
        async with (
            serving(receive) as (host, port),
            envoy_running(route_configuration(SERVICE, "0"), endpoints) as envoy,
            observing(
                envoy,
                SystemClock(),
                Setup(),
                webhook_url=f"http://{host}:{port}/alerts",
                token="t",
            ) as seen,
        ):
            load = Load(envoy.host, envoy.port, authority="canary-demo", rate=1000)
            async with load.generating():
                await load.until_total(200, within_seconds=LIMIT)
                assert hooks.empty()
                three.failing = 1.0
                hook = await asyncio.wait_for(hooks.get(), LIMIT)
    assert prometheus.INSTALL_LINE in seen.notice
    (metric,) = seen.analysis_template["spec"]["metrics"]
    assert list(metric["provider"]) == ["web"]
    (alert,) = msgspec.json.decode(hook.body)["alerts"]
    assert alert["labels"]["rollout"] == "demo/canary-demo"


@pytest.mark.skipif(
    prometheus.binary() is None or alertmanager.binary() is None,
    reason=f"needs Prometheus and Alertmanager ({prometheus.INSTALL_LINE})",
)
async def test_a_failing_canary_reaches_the_webhook_and_the_pages_query_sees_it() -> None:
    stable, canary = clusters_of(SERVICE)
    template, _ = hasten(complete(Setup()).analysis_template, 30)
    query = template["spec"]["metrics"][0]["provider"]["prometheus"]["query"]
    query = query.replace("{{args.service-name}}", "canary-demo")
    hooks: asyncio.Queue[Request] = asyncio.Queue()

    def receive(request: Request) -> Answer:
        hooks.put_nowait(request)
        return Answer(200)

    async with Upstream("v1").running() as one, Upstream("v3").running() as three:
        endpoints = {
            stable: [Endpoint(one.host, one.port, "v1")],
            canary: [Endpoint(three.host, three.port, "v3")],
        }
        routes = route_configuration(SERVICE, "0")
        async with (
            serving(receive) as (host, port),
            envoy_running(routes, endpoints) as envoy,
            observing(
                envoy, SystemClock(), Setup(), webhook_url=f"http://{host}:{port}/a", token="t"
            ) as seen,
            httpx.AsyncClient(trust_env=False) as client,
        ):
            assert seen.alertmanager_url in seen.notice
            (metric,) = seen.analysis_template["spec"]["metrics"]
            real = Prometheus(metric["provider"]["prometheus"]["address"], client)
            load = Load(envoy.host, envoy.port, authority="canary-demo", rate=300)
            async with load.generating():
                await eventually(lambda: real.value(query), lambda value: value == 1)
                assert hooks.empty()
                three.failing = 1.0
                hook = await asyncio.wait_for(hooks.get(), LIMIT)
                await eventually(lambda: real.value(query), lambda value: value and value < 0.95)
            assert load.tally().failed_by_switch == 0
    (alert,) = msgspec.json.decode(hook.body)["alerts"]
    assert hook.headers["authorization"] == "Bearer t"
    assert alert["labels"]["rollout"] == "demo/canary-demo"
    assert alert["labels"]["destination_version"] == "v3"
