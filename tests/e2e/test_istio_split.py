"""What the Istio router writes, carried out by a real Envoy: the split that users get is the weight that was planned."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from agent.api.meta import Object
from agent.api.rollout import HeaderRoutingMatch, Rollout, SetHeaderRoute, StringMatch
from agent.demo.envoy import Envoy, envoy_running
from agent.demo.translate import Endpoint, clusters_of, route_configuration
from agent.demo.upstream import Upstream
from agent.traffic.istio import Istio
from agent.traffic.types import RouteObjects
from tests.e2e.split import (
    EXACT_CALLS,
    SPLITS,
    Mesh,
    calls,
    changes_fail_no_call,
    connections_split_and_changes_fail_none,
    enough,
    http_calls_split,
    splits,
)
from tests.traffic.objects import (
    destination_rule,
    observed,
    pair,
    rollout,
    subset_pair,
    virtual_service,
)

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]
HEADER: Final = SetHeaderRoute(
    name="beta",
    match=[HeaderRoutingMatch(header_name="x-beta", header_value=StringMatch(exact="1"))],
)


def _service(objects: RouteObjects) -> Object:
    return next(obj for ref, obj in objects.items() if ref.kind == "VirtualService")


def a_mesh(ro: Rollout, service: Object) -> Mesh:
    rule = destination_rule({"name": "stable"}, {"name": "canary"})
    return Mesh(Istio(), ro, observed(service, rule), _service)


@asynccontextmanager
async def http_mesh() -> AsyncIterator[tuple[Mesh, Envoy]]:
    ro = rollout(routes=["primary"], by_subset=True, managed=["beta"])
    mesh = a_mesh(ro, virtual_service({"name": "primary", "route": subset_pair(100, 0)}))
    stable, canary = clusters_of(mesh.service)
    async with Upstream("stable").running() as one, Upstream("canary").running() as two:
        endpoints = {
            stable: [Endpoint(one.host, one.port, one.version)],
            canary: [Endpoint(two.host, two.port, two.version)],
        }
        async with envoy_running(route_configuration(mesh.service, "0"), endpoints) as envoy:
            yield mesh, envoy


async def test_http_calls_split_as_planned() -> None:
    async with http_mesh() as (mesh, envoy):
        await http_calls_split(mesh, envoy)


async def test_header_routes_take_their_users_and_nobody_else() -> None:
    async with http_mesh() as (mesh, envoy):
        for weight in (0, *SPLITS, 100):
            await mesh.move(envoy, weight, HEADER)
            chosen = await calls(envoy, EXACT_CALLS, {"x-beta": "1"})
            assert chosen.of_version("canary")[0] == chosen.total
            others = await calls(envoy, enough(weight), {"x-beta": "2"})
            hits, _ = others.of_version("canary")
            assert splits(hits, others.total, weight), (weight, hits)
        await mesh.move(envoy, 0, SetHeaderRoute(name="beta"))
        gone = await calls(envoy, EXACT_CALLS, {"x-beta": "1"})
        assert gone.of_version("canary")[0] == 0


async def test_200_changes_under_load_fail_no_call() -> None:
    async with http_mesh() as (mesh, envoy):
        await changes_fail_no_call(mesh, envoy, HEADER)


async def test_tcp_connections_split_as_planned_and_200_changes_fail_none(tmp_path: Path) -> None:
    tcp: dict[str, Any] = {"match": [{"port": 5432}], "route": pair(100, 0)}
    mesh = a_mesh(rollout(), virtual_service(spec={"tcp": [tcp]}))
    await connections_split_and_changes_fail_none(mesh, tmp_path)
