"""The demo's control plane follows the cluster's objects into a real Envoy."""

import asyncio
from typing import Any

import pytest

from agent.api.meta import Object
from agent.api.names import POD_TEMPLATE_HASH
from agent.clock import SystemClock
from agent.cluster.local.store import LocalCluster
from agent.cluster.port import KINDS
from agent.demo.load import Load
from agent.demo.manifests import Setup, complete
from agent.demo.mesh import Names, mesh_running
from agent.demo.translate import Endpoint
from agent.demo.upstream import Upstream
from agent.errors import Unavailable

NAME = "canary-demo"
NAMES = Names("demo", NAME, NAME)
LIMIT = 5.0


def replica_set(version: str) -> Object:
    labels = {"app": NAME, POD_TEMPLATE_HASH: version}
    container = {"name": "app", "image": f"{NAME}:{version}"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {"name": f"{NAME}-{version}", "namespace": "demo", "labels": labels},
        "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": template},
    }


async def ready(cluster: LocalCluster, version: str, pods: int) -> None:
    status = {"status": {"replicas": pods, "readyReplicas": pods, "availableReplicas": pods}}
    name = f"{NAME}-{version}"
    await cluster.merge_patch(KINDS["ReplicaSet"], "demo", name, status, status=True)


async def set_weight(cluster: LocalCluster, canary: int) -> None:
    patch: list[dict[str, Any]] = [
        {"op": "replace", "path": f"/spec/http/0/route/{index}/weight", "value": weight}
        for index, weight in enumerate((100 - canary, canary))
    ]
    await cluster.json_patch(KINDS["VirtualService"], "demo", NAME, patch)


async def point(cluster: LocalCluster, subset: int, version: str) -> None:
    path = f"/spec/subsets/{subset}/labels/{POD_TEMPLATE_HASH}"
    patch: list[dict[str, Any]] = [{"op": "add", "path": path, "value": version}]
    await cluster.json_patch(KINDS["DestinationRule"], "demo", NAME, patch)


async def test_a_release_from_v1_to_v2_fails_no_call() -> None:
    cluster = LocalCluster(SystemClock())
    manifests = complete(Setup())
    await cluster.create(KINDS["DestinationRule"], manifests.destination_rule)
    await cluster.create(KINDS["VirtualService"], manifests.virtual_service)
    for version in ("v1", "v2"):
        await cluster.create(KINDS["ReplicaSet"], replica_set(version))
    await ready(cluster, "v1", 2)
    await point(cluster, 0, "v1")
    await point(cluster, 1, "v1")
    async with Upstream("v1").running() as one, Upstream("v2").running() as two:
        application = {
            f"{NAME}:{up.version}": Endpoint(up.host, up.port, up.version) for up in (one, two)
        }
        async with mesh_running(cluster, SystemClock(), NAMES, application) as (mesh, envoy):
            assert mesh.weight == 10
            load = Load(envoy.host, envoy.port, authority=NAME, rate=500)
            async with load.generating():
                await set_weight(cluster, 0)
                await mesh.until_weight(0, within_seconds=LIMIT)
                await ready(cluster, "v2", 2)
                await point(cluster, 1, "v2")
                for weight in (50, 100):
                    await set_weight(cluster, weight)
                    await mesh.until_weight(weight, within_seconds=LIMIT)
                    await load.until_total(load.tally().total + 40, within_seconds=LIMIT)
                await point(cluster, 0, "v2")
                await set_weight(cluster, 0)
                await mesh.until_weight(0, within_seconds=LIMIT)
                await ready(cluster, "v1", 0)
                async with asyncio.timeout(LIMIT):
                    while True:
                        before = load.tally()
                        await load.until_total(before.total + 40, within_seconds=LIMIT)
                        if load.tally().since(before).of_version("v1") == (0, 0):
                            break
            tally = load.tally()
    assert tally.failed_by_switch == 0, tally
    assert tally.of_version("v2")[0] > 0
    assert [state.weight for state in mesh.history] == [10, 0, 50, 100, 0]
    assert all(state.seen <= state.since for state in mesh.history)
    assert mesh.problem == ""


async def test_routes_that_cannot_be_translated_leave_the_old_ones_in_force_and_are_named() -> None:
    cluster = LocalCluster(SystemClock())
    manifests = complete(Setup())
    await cluster.create(KINDS["VirtualService"], manifests.virtual_service)
    async with mesh_running(cluster, SystemClock(), NAMES, {}) as (mesh, _):
        patch = {"spec": {"http": [{"redirect": {"uri": "/x"}}]}}
        await cluster.merge_patch(KINDS["VirtualService"], "demo", NAME, patch)
        with pytest.raises(Unavailable, match="only knows rules with a route"):
            await mesh.until_weight(100, within_seconds=0.5)
        assert mesh.weight == 10
