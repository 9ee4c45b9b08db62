"""One contract for every cluster: the local store, and the same store through REST and the adapter.

A real API server joins by the environment variable SERINUS_CONTRACT_KUBECONFIG.
"""

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.api.meta import Object
from agent.clock import SystemClock
from agent.cluster.kubernetes import connect
from agent.cluster.local.kubeconfig import write_kubeconfig
from agent.cluster.local.rest import Facade
from agent.cluster.local.store import LocalCluster
from agent.cluster.port import KINDS, Cluster, WatchEvent
from agent.errors import AlreadyExists, Conflict, Gone, Invalid, NotFound, SerinusError
from agent.http_server import serving

ROLLOUT, CONFIG_MAP, REPLICA_SET = KINDS["Rollout"], KINDS["ConfigMap"], KINDS["ReplicaSet"]
VIRTUAL_SERVICE = KINDS["VirtualService"]


@asynccontextmanager
async def _store(_path: Path) -> AsyncIterator[Cluster]:
    yield LocalCluster(SystemClock())


@asynccontextmanager
async def _facade(path: Path) -> AsyncIterator[Cluster]:
    facade = Facade(LocalCluster(SystemClock()), token="secret")
    async with serving(facade.app, host="127.0.0.1", port=0) as port:
        write_kubeconfig(path / "kubeconfig", server=f"http://127.0.0.1:{port}", token="secret")
        cluster = await connect(SystemClock(), kubeconfig=path / "kubeconfig")
        try:
            yield cluster
        finally:
            facade.close()
            await cluster.aclose()


@asynccontextmanager
async def _real(_path: Path) -> AsyncIterator[Cluster]:
    cluster = await connect(
        SystemClock(), kubeconfig=Path(os.environ["SERINUS_CONTRACT_KUBECONFIG"])
    )
    try:
        yield cluster
    finally:
        await cluster.aclose()


CLUSTERS: dict[str, Callable[[Path], Any]] = {"store": _store, "facade": _facade}
if "SERINUS_CONTRACT_KUBECONFIG" in os.environ:
    CLUSTERS["real"] = _real


@pytest.fixture(params=list(CLUSTERS))
async def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Cluster]:
    async with CLUSTERS[request.param](tmp_path) as made:
        yield made


def a_name() -> str:
    return f"c-{uuid.uuid4().hex[:8]}"


def a_config_map(name: str, **labels: str) -> Object:
    return {"metadata": {"name": name, "labels": {"run": name, **labels}}, "data": {"a": "1"}}


def a_rollout(name: str) -> Object:
    return {
        "metadata": {"name": name},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": "v1"}]},
            },
            "strategy": {"canary": {}},
        },
    }


async def test_what_is_created_is_named_typed_and_numbered(cluster: Cluster) -> None:
    name = a_name()
    made = await cluster.create(CONFIG_MAP, a_config_map(name))
    assert (made["kind"], made["apiVersion"]) == ("ConfigMap", "v1")
    meta = made["metadata"]
    assert meta["namespace"] == "default"
    assert meta["uid"]
    assert int(meta["resourceVersion"]) > 0
    assert meta["creationTimestamp"].endswith("Z")
    assert (await cluster.get(CONFIG_MAP, "default", name))["data"] == {"a": "1"}


async def test_a_name_is_taken_once(cluster: Cluster) -> None:
    name = a_name()
    await cluster.create(CONFIG_MAP, a_config_map(name))
    with pytest.raises(AlreadyExists):
        await cluster.create(CONFIG_MAP, a_config_map(name))


async def test_what_is_not_there_is_not_found(cluster: Cluster) -> None:
    name = a_name()
    with pytest.raises(NotFound):
        await cluster.get(CONFIG_MAP, "default", name)
    with pytest.raises(NotFound):
        await cluster.merge_patch(CONFIG_MAP, "default", name, {"data": {}})
    with pytest.raises(NotFound):
        await cluster.delete(CONFIG_MAP, "default", name)


async def test_a_merge_patch_merges_removes_and_replaces_lists(cluster: Cluster) -> None:
    name = a_name()
    await cluster.create(ROLLOUT, a_rollout(name))
    containers = [{"name": "other", "image": "v2"}]
    patch = {
        "metadata": {"annotations": {"x": "1"}},
        "spec": {"replicas": None, "template": {"spec": {"containers": containers}}},
    }
    answer = await cluster.merge_patch(ROLLOUT, "default", name, patch)
    assert answer["metadata"]["annotations"]["x"] == "1"
    assert answer["spec"]["template"]["spec"]["containers"] == containers
    assert answer["spec"]["template"]["metadata"]["labels"] == {"app": name}
    assert "replicas" not in answer["spec"]


async def test_a_stale_resource_version_is_a_conflict(cluster: Cluster) -> None:
    name = a_name()
    old = await cluster.create(CONFIG_MAP, a_config_map(name))
    await cluster.merge_patch(CONFIG_MAP, "default", name, {"data": {"a": "2"}})
    stale = {
        "metadata": {"resourceVersion": old["metadata"]["resourceVersion"]},
        "data": {"a": "3"},
    }
    with pytest.raises(Conflict):
        await cluster.merge_patch(CONFIG_MAP, "default", name, stale)
    assert (await cluster.get(CONFIG_MAP, "default", name))["data"] == {"a": "2"}


async def test_a_write_without_a_difference_makes_no_version(cluster: Cluster) -> None:
    name = a_name()
    old = await cluster.create(CONFIG_MAP, a_config_map(name))
    new = await cluster.merge_patch(CONFIG_MAP, "default", name, {"data": {"a": "1"}})
    assert new["metadata"]["resourceVersion"] == old["metadata"]["resourceVersion"]


async def test_a_json_patch_changes_only_where_its_tests_hold(cluster: Cluster) -> None:
    name = a_name()
    await cluster.create(CONFIG_MAP, a_config_map(name))
    test = {"op": "test", "path": "/data/a", "value": "1"}
    replace = {"op": "replace", "path": "/data/a", "value": "2"}
    answer = await cluster.json_patch(CONFIG_MAP, "default", name, [test, replace])
    assert answer["data"] == {"a": "2"}
    with pytest.raises(Conflict):
        await cluster.json_patch(CONFIG_MAP, "default", name, [test, replace])
    with pytest.raises(Invalid):
        await cluster.json_patch(
            CONFIG_MAP, "default", name, [{"op": "remove", "path": "/data/none"}]
        )


async def test_spec_and_status_have_doors_of_their_own(cluster: Cluster) -> None:
    name = a_name()
    made = await cluster.create(ROLLOUT, {**a_rollout(name), "status": {"phase": "Healthy"}})
    assert "status" not in made
    by_status = await cluster.merge_patch(
        ROLLOUT,
        "default",
        name,
        {"status": {"phase": "Paused"}, "spec": {"replicas": 7}},
        status=True,
    )
    assert (by_status["status"]["phase"], by_status["spec"]["replicas"]) == ("Paused", 1)
    by_spec = await cluster.merge_patch(
        ROLLOUT, "default", name, {"status": {"phase": "Healthy"}, "spec": {"replicas": 2}}
    )
    assert (by_spec["status"]["phase"], by_spec["spec"]["replicas"]) == ("Paused", 2)


async def test_the_generation_counts_changes_of_the_spec_only(cluster: Cluster) -> None:
    name = a_name()
    made = await cluster.create(ROLLOUT, a_rollout(name))
    assert made["metadata"]["generation"] == 1
    for patch, status, generation in (
        ({"status": {"phase": "Paused"}}, True, 1),
        ({"metadata": {"annotations": {"x": "1"}}}, False, 1),
        ({"spec": {"replicas": 2}}, False, 2),
    ):
        answer = await cluster.merge_patch(ROLLOUT, "default", name, patch, status=status)
        assert answer["metadata"]["generation"] == generation


async def test_lists_select_by_label_and_give_a_version_to_watch_from(cluster: Cluster) -> None:
    run = a_name()
    for index in range(3):
        await cluster.create(
            CONFIG_MAP, a_config_map(f"{run}-{index}", run=run, even=str(index % 2 == 0))
        )
    listing = await cluster.list(CONFIG_MAP, "default", labels=f"run={run},even!=False")
    assert [item["metadata"]["name"] for item in listing.items] == [f"{run}-0", f"{run}-2"]
    assert all(item["kind"] == "ConfigMap" for item in listing.items)
    assert int(listing.resource_version) > 0


async def test_a_watch_tells_every_change_after_its_version_in_order(cluster: Cluster) -> None:
    name = a_name()
    start = (await cluster.list(CONFIG_MAP, "default")).resource_version
    await cluster.create(CONFIG_MAP, a_config_map(name))
    seen: list[WatchEvent] = []

    async def follow() -> None:
        watching = cluster.watch(CONFIG_MAP, "default", resource_version=start)
        async for event in watching:
            if event.type != "BOOKMARK" and event.object["metadata"]["name"] == name:
                seen.append(event)
            if event.type == "DELETED":
                return

    task = asyncio.create_task(follow())
    await cluster.merge_patch(CONFIG_MAP, "default", name, {"data": {"a": "2"}})
    await cluster.delete(CONFIG_MAP, "default", name)
    await asyncio.wait_for(task, 10)
    assert [event.type for event in seen] == ["ADDED", "MODIFIED", "DELETED"]
    versions = [int(event.object["metadata"]["resourceVersion"]) for event in seen]
    assert versions == sorted(set(versions))


async def test_the_owned_go_with_their_owner(cluster: Cluster) -> None:
    name = a_name()
    owner = await cluster.create(ROLLOUT, a_rollout(name))
    reference = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
        "name": name,
        "uid": owner["metadata"]["uid"],
        "controller": True,
    }
    await cluster.create(
        CONFIG_MAP,
        {
            **a_config_map(f"{name}-owned"),
            "metadata": {"name": f"{name}-owned", "ownerReferences": [reference]},
        },
    )
    await cluster.delete(ROLLOUT, "default", name)

    async def gone() -> bool:
        try:
            await cluster.get(CONFIG_MAP, "default", f"{name}-owned")
        except NotFound:
            return True
        return False

    async with asyncio.timeout(15):
        while not await gone():
            await asyncio.sleep(0.05)


async def test_a_delete_can_insist_on_the_uid(cluster: Cluster) -> None:
    name = a_name()
    await cluster.create(CONFIG_MAP, a_config_map(name))
    with pytest.raises(Conflict):
        await cluster.delete(
            CONFIG_MAP, "default", name, uid="11111111-1111-1111-1111-111111111111"
        )
    assert await cluster.get(CONFIG_MAP, "default", name)


async def test_urgent_calls_do_the_same(cluster: Cluster) -> None:
    name = a_name()
    await cluster.create(CONFIG_MAP, a_config_map(name))
    replace = [{"op": "replace", "path": "/data/a", "value": "2"}]
    await cluster.json_patch(CONFIG_MAP, "default", name, replace, urgent=True)
    await cluster.merge_patch(CONFIG_MAP, "default", name, {"data": {"b": "3"}}, urgent=True)
    assert (await cluster.get(CONFIG_MAP, "default", name, urgent=True))["data"] == {
        "a": "2",
        "b": "3",
    }


async def test_a_watch_from_too_old_a_version_is_gone(tmp_path: Path) -> None:
    """The doubles only: a real API server compacts when it likes."""
    store = LocalCluster(SystemClock(), history=4)
    facade = Facade(store, token="t")
    for index in range(8):
        await store.create(CONFIG_MAP, a_config_map(f"c-{index}"))
    async with serving(facade.app, host="127.0.0.1", port=0) as port:
        write_kubeconfig(tmp_path / "kubeconfig", server=f"http://127.0.0.1:{port}", token="t")
        remote = await connect(SystemClock(), kubeconfig=tmp_path / "kubeconfig")
        for cluster in (store, remote):
            with pytest.raises(Gone):
                await anext(aiter(cluster.watch(CONFIG_MAP, "default", resource_version="1")))
        facade.close()
        await remote.aclose()


async def test_a_wrong_token_is_refused(tmp_path: Path) -> None:
    facade = Facade(LocalCluster(SystemClock()), token="right")
    async with serving(facade.app, host="127.0.0.1", port=0) as port:
        write_kubeconfig(tmp_path / "kubeconfig", server=f"http://127.0.0.1:{port}", token="wrong")
        remote = await connect(SystemClock(), kubeconfig=tmp_path / "kubeconfig")
        with pytest.raises(SerinusError):
            await remote.get(CONFIG_MAP, "default", "x")
        await remote.aclose()


async def test_a_broken_double_is_caught() -> None:
    """The suite has teeth: a store that forgets compare-and-swap fails it."""

    class Forgetful(LocalCluster):
        async def merge_patch(self, *args: Any, **options: Any) -> Object:
            kind, namespace, name, patch = args
            patch = {**patch, "metadata": {**patch.get("metadata", {}), "resourceVersion": None}}
            return await super().merge_patch(kind, namespace, name, patch, **options)

    with pytest.raises(pytest.fail.Exception):
        await test_a_stale_resource_version_is_a_conflict(Forgetful(SystemClock()))
