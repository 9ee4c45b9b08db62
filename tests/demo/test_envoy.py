"""The demo's data plane with the real proxy."""

import pytest

from agent.demo.envoy import envoy_running
from agent.demo.load import Load
from agent.demo.translate import Cluster, Endpoint, clusters_of, route_configuration
from agent.demo.upstream import Upstream
from agent.errors import Invalid
from tests.traffic.objects import subset_pair, virtual_service

FLIPS = 10


def split(canary: int) -> dict[str, object]:
    return virtual_service({"route": subset_pair(100 - canary, canary, "shop")})


async def test_flipping_the_weights_under_load_fails_no_call() -> None:
    stable, canary = clusters_of(split(0))
    assert (stable.subset, canary.subset) == ("stable", "canary")
    async with Upstream("v1").running() as one, Upstream("v2").running() as two:
        endpoints = {
            stable: [Endpoint(one.host, one.port, one.version)],
            canary: [Endpoint(two.host, two.port, two.version)],
        }
        async with envoy_running(route_configuration(split(0), "0"), endpoints) as envoy:
            load = Load(envoy.host, envoy.port, authority="shop", rate=1000)
            async with load.generating():
                await load.until_total(50, within_seconds=5)
                assert load.tally().of_version("v2") == (0, 0)
                for flip in range(1, FLIPS + 1):
                    weight = 100 * (flip % 2)
                    version = str(flip)
                    envoy.write_routes(route_configuration(split(weight), version), version)
                    await envoy.applied(version)
                    seen = load.tally()
                    await load.until_total(seen.total + 50, within_seconds=5)
            tally = load.tally()
            counted = await envoy.requests()
    assert tally.failed_by_switch == 0, tally
    assert tally.of_version("v1")[0] > 0
    assert tally.of_version("v2")[0] > 0
    by_version = {
        labels["destination_version"]: value
        for labels, value in counted
        if labels["response_code"] == "200"
    }
    assert by_version == {version: tally.of_version(version)[0] for version in ("v1", "v2")}


async def test_routes_that_envoy_rejects_are_named_and_the_old_ones_stay() -> None:
    stable, canary = clusters_of(split(0))
    async with Upstream("v1").running() as one:
        endpoints: dict[Cluster, list[Endpoint]] = {
            stable: [Endpoint(one.host, one.port, one.version)],
            canary: [],
        }
        async with envoy_running(route_configuration(split(0), "0"), endpoints) as envoy:
            nothing = virtual_service({"route": subset_pair(0, 0, "shop")})
            for version in ("1", "2"):
                envoy.write_routes(route_configuration(nothing, version), version)
                with pytest.raises(Invalid, match=f"rejected version {version}"):
                    await envoy.applied(version)
            load = Load(envoy.host, envoy.port, authority="shop", rate=1000)
            async with load.generating():
                await load.until_total(20, within_seconds=5)
    assert load.tally().failed_by_switch == 0


async def test_a_subset_without_pods_fails_by_the_switch_and_a_bad_version_does_not() -> None:
    stable, canary = clusters_of(split(50))
    async with Upstream("v1", failing=0.5).running() as one:
        endpoints: dict[Cluster, list[Endpoint]] = {
            stable: [Endpoint(one.host, one.port, one.version)],
            canary: [],
        }
        async with envoy_running(route_configuration(split(0), "0"), endpoints) as envoy:
            load = Load(envoy.host, envoy.port, authority="shop", rate=1000)
            async with load.generating():
                await load.until_total(50, within_seconds=5)
                good = load.tally()
                envoy.write_routes(route_configuration(split(100), "1"), "1")
                await envoy.applied("1")
                await load.until_total(good.total + 50, within_seconds=5)
                envoy.write_endpoints(canary, [Endpoint(one.host, one.port, "v1")], "2")
                await envoy.endpoints_applied(canary, "2")
    calls, failed = good.of_version("v1")
    assert good.failed_by_switch == 0
    assert abs(failed - calls / 2) <= 1
    assert load.tally().since(good).failed_by_switch > 0
