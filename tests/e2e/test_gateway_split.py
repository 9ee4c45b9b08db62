"""What the Gateway API router writes, carried out by a real Envoy: the split that users get is the weight that was planned."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.api.meta import Object
from agent.api.rollout import HeaderRoutingMatch, SetHeaderRoute, StringMatch
from agent.demo.envoy import Envoy, envoy_running
from agent.demo.translate import Endpoint, clusters_of, route_configuration
from agent.demo.upstream import Upstream
from agent.traffic.gateway import Gateway
from agent.traffic.types import RouteObjects
from tests.e2e.gateway_translate import virtual_service_of
from tests.e2e.split import (
    EXACT_CALLS,
    Mesh,
    calls,
    changes_fail_no_call,
    connections_split_and_changes_fail_none,
    enough,
    http_calls_split,
    splits,
)
from tests.traffic.gateway_objects import pair, ref, rollout, route, rule
from tests.traffic.objects import observed

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]
HEADER = SetHeaderRoute(
    name="beta",
    match=[HeaderRoutingMatch(header_name="x-beta", header_value=StringMatch(prefix="1"))],
)
TCP_WEIGHTS = (0, 1, 50, 100)
"""How Envoy shares out connections is seen in test_istio_split, at every weight; the plan is another here."""


def _service(objects: RouteObjects) -> Object:
    (found,) = objects.values()
    return virtual_service_of(found)


@asynccontextmanager
async def http_mesh(*others: dict[str, Any]) -> AsyncIterator[tuple[Mesh, Envoy]]:
    """`others` are backends beside the pair, which a third version answers."""
    total = 100 if not others else 200
    made = route(rule(*pair(total, 0), *others))
    mesh = Mesh(Gateway(), rollout(managed=("beta",)), observed(made), _service)
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
        await http_calls_split(mesh, envoy)


async def test_a_third_backend_gets_what_it_got_before() -> None:
    async with http_mesh(ref("legacy", 50)) as (mesh, envoy):
        for weight in (0, 30, 100):
            await mesh.move(envoy, weight)
            tally = await calls(envoy, 4_000)
            legacy, canary = tally.of_version("legacy")[0], tally.of_version("canary")[0]
            assert splits(legacy, tally.total, 20), "a fifth, whatever the canary has"
            assert splits(canary, tally.total - legacy, weight)


async def test_header_rules_take_their_users_and_nobody_else() -> None:
    async with http_mesh() as (mesh, envoy):
        for weight in (0, 30):
            await mesh.move(envoy, weight, HEADER)
            chosen = await calls(envoy, EXACT_CALLS, {"x-beta": "1.5"})
            assert chosen.of_version("canary")[0] == chosen.total
            others = await calls(envoy, enough(weight), {"x-beta": "2"})
            hits, _ = others.of_version("canary")
            assert splits(hits, others.total, weight)
        await mesh.move(envoy, 0, SetHeaderRoute(name="beta"))
        gone = await calls(envoy, EXACT_CALLS, {"x-beta": "1.5"})
        assert gone.of_version("canary")[0] == 0


async def test_200_changes_under_load_fail_no_call() -> None:
    async with http_mesh() as (mesh, envoy):
        await changes_fail_no_call(mesh, envoy, HEADER)


async def test_tcp_connections_split_as_planned_and_200_changes_fail_none(tmp_path: Path) -> None:
    made = route(rule(*pair(100, 0)), kind="TCPRoute")
    mesh = Mesh(Gateway(), rollout(config={"tcpRoute": "web"}), observed(made), _service)
    await connections_split_and_changes_fail_none(mesh, tmp_path, TCP_WEIGHTS)
