"""What the Gateway API router writes, carried out by a real Envoy: the split that users get is the weight that was planned.

Bounded: 10,000 calls at each weight, 200 changes under load, on loopback alone.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.api.meta import Object, Ref
from agent.api.rollout import HeaderRoutingMatch, Rollout, SetHeaderRoute, StringMatch
from agent.demo.envoy import Envoy, envoy_running
from agent.demo.load import Load
from agent.demo.processes import free_port
from agent.demo.translate import Endpoint, clusters_of, route_configuration
from agent.demo.upstream import Upstream
from agent.traffic.gateway import Gateway
from agent.traffic.types import Desired
from tests.e2e.gateway_translate import virtual_service_of
from tests.e2e.split import CALLS, FLIPS, SPLITS, calls, deviation
from tests.e2e.tcp_proxy import connections, greeters, tcp_proxy_running
from tests.traffic.gateway_objects import pair, ref, rollout, route, rule
from tests.traffic.objects import observed

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]
HEADER = SetHeaderRoute(
    name="beta",
    match=[HeaderRoutingMatch(header_name="x-beta", header_value=StringMatch(prefix="1"))],
)
GONE = SetHeaderRoute(name="beta")


class Mesh:
    """A rollout's route, and a proxy that follows it."""

    def __init__(self, ro: Rollout, made: Object) -> None:
        self.rollout = ro
        self.objects: dict[Ref, Object] = dict(observed(made))
        self.version = 0

    @property
    def service(self) -> Object:
        (found,) = self.objects.values()
        return virtual_service_of(found)

    def plan(self, weight: int, *managed: SetHeaderRoute) -> None:
        """Write what the router plans for this weight."""
        desired = Desired(canary_weight=weight, managed=managed)
        plan = Gateway().plan(self.rollout, self.objects, desired)
        assert plan.refusal is None
        for change in plan.changes:
            self.objects[change.ref] = change.after

    async def move(self, envoy: Envoy, weight: int, *managed: SetHeaderRoute) -> None:
        """Plan, write, and wait until the proxy routes by it."""
        self.plan(weight, *managed)
        self.version += 1
        version = str(self.version)
        envoy.write_routes(route_configuration(self.service, version), version)
        await envoy.applied(version)


@asynccontextmanager
async def http_mesh(*others: dict[str, Any]) -> AsyncIterator[tuple[Mesh, Envoy]]:
    """`others` are backends beside the pair, which a third version answers."""
    total = 100 if not others else 200
    made = route(rule(*pair(total, 0), *others))
    mesh = Mesh(rollout(managed=("beta",)), made)
    clusters = clusters_of(mesh.service)
    async with (
        Upstream("stable").running() as one,
        Upstream("canary").running() as two,
        Upstream("legacy").running() as three,
    ):
        endpoints = {
            cluster: [Endpoint(up.host, up.port, up.version)]
            for cluster, up in zip(clusters, (one, two, three), strict=False)
        }
        async with envoy_running(route_configuration(mesh.service, "0"), endpoints) as envoy:
            yield mesh, envoy


async def test_http_calls_split_as_planned() -> None:
    async with http_mesh() as (mesh, envoy):
        for weight in (0, *SPLITS, 100):
            await mesh.move(envoy, weight)
            tally = await calls(envoy)
            hits, _ = tally.of_version("canary")
            assert tally.failed_by_switch == 0
            if weight in (0, 100):
                assert hits == weight * tally.total // 100, "exact, no stray call"
            else:
                assert abs(deviation(hits, tally.total, weight)) < 4, (weight, hits, tally.total)


async def test_a_third_backend_gets_what_it_got_before() -> None:
    async with http_mesh(ref("legacy", 50)) as (mesh, envoy):
        for weight in (0, 30, 100):
            await mesh.move(envoy, weight)
            tally = await calls(envoy)
            legacy, canary = tally.of_version("legacy")[0], tally.of_version("canary")[0]
            assert abs(deviation(legacy, tally.total, 20)) < 4, "a fifth, whatever the canary has"
            rest = tally.total - legacy
            if weight in (0, 100):
                assert canary == rest * weight // 100
            else:
                assert abs(deviation(canary, rest, weight)) < 4


async def test_header_rules_take_their_users_and_nobody_else() -> None:
    async with http_mesh() as (mesh, envoy):
        for weight in (0, 30):
            await mesh.move(envoy, weight, HEADER)
            chosen = await calls(envoy, {"x-beta": "1.5"}, 2_000)
            assert chosen.of_version("canary")[0] == chosen.total
            others = await calls(envoy, {"x-beta": "2"})
            hits, _ = others.of_version("canary")
            assert hits == 0 if weight == 0 else abs(deviation(hits, others.total, weight)) < 4
        await mesh.move(envoy, 0, GONE)
        gone = await calls(envoy, {"x-beta": "1.5"}, 2_000)
        assert gone.of_version("canary")[0] == 0
        assert gone.failed_by_switch + chosen.failed_by_switch + others.failed_by_switch == 0


async def test_200_changes_under_load_fail_no_call() -> None:
    async with http_mesh() as (mesh, envoy):
        load = Load(envoy.host, envoy.port, authority="shop", rate=1_000)
        async with load.generating():
            for flip in range(FLIPS):
                header = HEADER if flip % 4 == 1 else GONE
                await mesh.move(envoy, (0, 100, 30, 99)[flip % 4], header)
                await load.until_total(load.tally().total + 5, within_seconds=10)
        tally = load.tally()
    assert tally.failed_by_switch == 0, tally
    assert tally.total > 5 * FLIPS
    assert min(tally.of_version("stable")[0], tally.of_version("canary")[0]) > FLIPS


async def test_tcp_connections_split_as_planned_and_200_changes_fail_none(tmp_path: Path) -> None:
    made = route(rule(*pair(100, 0)), kind="TCPRoute")
    mesh = Mesh(rollout(config={"tcpRoute": "web"}), made)
    async with (
        greeters("stable", "canary") as ports,
        tcp_proxy_running(mesh.service, ports, free_port(), tmp_path) as proxy,
    ):
        for weight in (0, *SPLITS, 100):
            mesh.plan(weight)
            await proxy.apply(mesh.service, f"split-{weight}")
            seen = await connections(proxy.port, CALLS)
            assert seen[""] == 0
            if weight in (0, 100):
                assert seen["canary"] == CALLS * weight // 100
            else:
                assert abs(deviation(seen["canary"], CALLS, weight)) < 4, (weight, seen)
        for flip in range(FLIPS):
            mesh.plan(100 * (flip % 2))
            _, seen = await asyncio.gather(
                proxy.apply(mesh.service, f"flip-{flip}"), connections(proxy.port, 20, at_once=4)
            )
            assert seen[""] == 0, flip
