"""The contract of every cluster, part one: objects, patches, versions, lists, watches."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from agent.api.meta import Object
from agent.clock import SystemClock
from agent.cluster.kubernetes import connect
from agent.cluster.local.kubeconfig import write_kubeconfig
from agent.cluster.local.rest import Facade
from agent.cluster.local.store import LocalCluster
from agent.cluster.port import Cluster, WatchEvent
from agent.errors import AlreadyExists, Conflict, Forbidden, Gone, Invalid, NotFound
from agent.http_server import serving
from tests.contract.objects import (
    ANALYSIS_RUN,
    CONFIG_MAP,
    ROLLOUT,
    VIRTUAL_SERVICE,
    a_config_map,
    a_name,
    a_rollout,
)


async def test_what_is_created_is_named_typed_and_numbered(
    cluster: Cluster, namespace: str
) -> None:
    name = a_name()
    made = await cluster.create(CONFIG_MAP, a_config_map(namespace, name))
    assert (made["kind"], made["apiVersion"]) == ("ConfigMap", "v1")
    meta = made["metadata"]
    assert meta["namespace"] == namespace
    assert meta["uid"]
    assert int(meta["resourceVersion"]) > 0
    assert meta["creationTimestamp"].endswith("Z")
    assert (await cluster.get(CONFIG_MAP, namespace, name))["data"] == {"a": "1"}


async def test_a_name_is_taken_once(cluster: Cluster, namespace: str) -> None:
    name = a_name()
    await cluster.create(CONFIG_MAP, a_config_map(namespace, name))
    with pytest.raises(AlreadyExists):
        await cluster.create(CONFIG_MAP, a_config_map(namespace, name))


async def test_what_is_not_there_is_not_found(cluster: Cluster, namespace: str) -> None:
    name = a_name()
    with pytest.raises(NotFound):
        await cluster.get(CONFIG_MAP, namespace, name)
    with pytest.raises(NotFound):
        await cluster.merge_patch(CONFIG_MAP, namespace, name, {"data": {}})
    with pytest.raises(NotFound):
        await cluster.delete(CONFIG_MAP, namespace, name)


async def test_a_merge_patch_merges_removes_and_replaces_lists(
    cluster: Cluster, namespace: str
) -> None:
    name = a_name()
    await cluster.create(ROLLOUT, a_rollout(namespace, name))
    containers = [{"name": "other", "image": "v2"}]
    patch = {
        "metadata": {"annotations": {"x": "1"}},
        "spec": {"replicas": None, "template": {"spec": {"containers": containers}}},
    }
    answer = await cluster.merge_patch(ROLLOUT, namespace, name, patch)
    assert answer["metadata"]["annotations"]["x"] == "1"
    assert answer["spec"]["template"]["spec"]["containers"] == containers
    assert answer["spec"]["template"]["metadata"]["labels"] == {"app": name}
    assert "replicas" not in answer["spec"]


async def test_a_stale_resource_version_is_a_conflict(cluster: Cluster, namespace: str) -> None:
    name = a_name()
    old = await cluster.create(CONFIG_MAP, a_config_map(namespace, name))
    await cluster.merge_patch(CONFIG_MAP, namespace, name, {"data": {"a": "2"}})
    stale = {
        "metadata": {"resourceVersion": old["metadata"]["resourceVersion"]},
        "data": {"a": "3"},
    }
    with pytest.raises(Conflict):
        await cluster.merge_patch(CONFIG_MAP, namespace, name, stale)
    assert (await cluster.get(CONFIG_MAP, namespace, name))["data"] == {"a": "2"}


async def test_a_write_without_a_difference_makes_no_version(
    cluster: Cluster, namespace: str
) -> None:
    name = a_name()
    old = await cluster.create(CONFIG_MAP, a_config_map(namespace, name))
    new = await cluster.merge_patch(CONFIG_MAP, namespace, name, {"data": {"a": "1"}})
    assert new["metadata"]["resourceVersion"] == old["metadata"]["resourceVersion"]


async def test_a_json_patch_changes_only_where_its_tests_hold(
    cluster: Cluster, namespace: str
) -> None:
    name = a_name()
    await cluster.create(CONFIG_MAP, a_config_map(namespace, name))
    test = {"op": "test", "path": "/data/a", "value": "1"}
    replace = {"op": "replace", "path": "/data/a", "value": "2"}
    answer = await cluster.json_patch(CONFIG_MAP, namespace, name, [test, replace])
    assert answer["data"] == {"a": "2"}
    with pytest.raises(Conflict):
        await cluster.json_patch(CONFIG_MAP, namespace, name, [test, replace])
    with pytest.raises(Invalid):
        await cluster.json_patch(
            CONFIG_MAP, namespace, name, [{"op": "remove", "path": "/data/none"}]
        )


async def test_spec_and_status_have_doors_of_their_own(cluster: Cluster, namespace: str) -> None:
    name = a_name()
    made = await cluster.create(
        ROLLOUT, {**a_rollout(namespace, name), "status": {"phase": "Healthy"}}
    )
    assert "status" not in made
    by_status = await cluster.merge_patch(
        ROLLOUT,
        namespace,
        name,
        {"status": {"phase": "Paused"}, "spec": {"replicas": 7}},
        status=True,
    )
    assert (by_status["status"]["phase"], by_status["spec"]["replicas"]) == ("Paused", 1)
    by_spec = await cluster.merge_patch(
        ROLLOUT, namespace, name, {"status": {"phase": "Healthy"}, "spec": {"replicas": 2}}
    )
    assert (by_spec["status"]["phase"], by_spec["spec"]["replicas"]) == ("Paused", 2)


async def test_the_generation_counts_changes_of_the_spec_only(
    cluster: Cluster, namespace: str
) -> None:
    name = a_name()
    made = await cluster.create(ROLLOUT, a_rollout(namespace, name))
    assert made["metadata"]["generation"] == 1
    for patch, status, generation in (
        ({"status": {"phase": "Paused"}}, True, 1),
        ({"metadata": {"annotations": {"x": "1"}}}, False, 1),
        ({"spec": {"replicas": 2}}, False, 2),
    ):
        answer = await cluster.merge_patch(ROLLOUT, namespace, name, patch, status=status)
        assert answer["metadata"]["generation"] == generation


async def test_lists_select_by_label_and_give_a_version_to_watch_from(
    cluster: Cluster, namespace: str
) -> None:
    run = a_name()
    for index in range(3):
        await cluster.create(
            CONFIG_MAP, a_config_map(namespace, f"{run}-{index}", run=run, even=str(index % 2 == 0))
        )
    listing = await cluster.list(CONFIG_MAP, namespace, labels=f"run={run},even!=False")
    assert [item["metadata"]["name"] for item in listing.items] == [f"{run}-0", f"{run}-2"]
    assert all(item["kind"] == "ConfigMap" for item in listing.items)
    assert int(listing.resource_version) > 0


async def test_a_watch_tells_every_change_after_its_version_in_order(
    cluster: Cluster, namespace: str
) -> None:
    name = a_name()
    start = (await cluster.list(CONFIG_MAP, namespace)).resource_version
    await cluster.create(CONFIG_MAP, a_config_map(namespace, name))
    seen: list[WatchEvent] = []

    async def follow() -> None:
        watching = cluster.watch(CONFIG_MAP, namespace, resource_version=start)
        async for event in watching:
            if event.type != "BOOKMARK" and event.object["metadata"]["name"] == name:
                seen.append(event)
            if event.type == "DELETED":
                return

    task = asyncio.create_task(follow())
    await cluster.merge_patch(CONFIG_MAP, namespace, name, {"data": {"a": "2"}})
    await cluster.delete(CONFIG_MAP, namespace, name)
    await asyncio.wait_for(task, 10)
    assert [event.type for event in seen] == ["ADDED", "MODIFIED", "DELETED"]
    versions = [int(event.object["metadata"]["resourceVersion"]) for event in seen]
    assert versions == sorted(set(versions))


async def test_a_failed_test_beside_other_operations_changes_nothing(
    cluster: Cluster, namespace: str
) -> None:
    name = a_name()
    made = await cluster.create(CONFIG_MAP, a_config_map(namespace, name))
    patch: list[dict[str, Any]] = [
        {"op": "add", "path": "/data/b", "value": "2"},
        {"op": "test", "path": "/metadata/resourceVersion", "value": "1"},
    ]
    with pytest.raises(Conflict):
        await cluster.json_patch(CONFIG_MAP, namespace, name, patch)
    assert (await cluster.get(CONFIG_MAP, namespace, name))["data"] == {"a": "1"}
    patch[1]["value"] = made["metadata"]["resourceVersion"]
    answer = await cluster.json_patch(CONFIG_MAP, namespace, name, patch)
    assert answer["data"] == {"a": "1", "b": "2"}


async def test_a_kind_without_status_subresource_keeps_its_status_like_any_field(
    cluster: Cluster,
    namespace: str,
) -> None:
    name = a_name()
    run = {
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"metrics": [{"name": "m", "provider": {"web": {"url": "http://x"}}}]},
        "status": {"phase": "Pending", "message": ""},
    }
    made = await cluster.create(ANALYSIS_RUN, run)
    assert made["status"]["phase"] == "Pending"
    answer = await cluster.merge_patch(
        ANALYSIS_RUN, namespace, name, {"status": {"phase": "Running"}}, status=True
    )
    assert answer["status"]["phase"] == "Running"
    assert answer["metadata"]["generation"] == 2


async def test_a_manifest_of_an_older_version_of_istio_is_accepted(
    cluster: Cluster, namespace: str
) -> None:
    name = a_name()
    route = {"route": [{"destination": {"host": name}, "weight": 100}]}
    for version in ("v1", "v1beta1", "v1alpha3"):
        made = await cluster.create(
            VIRTUAL_SERVICE,
            {
                "apiVersion": f"networking.istio.io/{version}",
                "kind": "VirtualService",
                "metadata": {"namespace": namespace, "name": f"{name}-{version}"},
                "spec": {"hosts": [name], "http": [route]},
            },
        )
        assert made["spec"]["http"] == [route]
        patch = [{"op": "replace", "path": "/spec/http/0/route/0/weight", "value": 90}]
        answer = await cluster.json_patch(
            VIRTUAL_SERVICE, namespace, f"{name}-{version}", patch, urgent=True
        )
        assert answer["spec"]["http"][0]["route"][0]["weight"] == 90


async def test_an_object_cannot_be_renamed_by_a_patch(cluster: Cluster, namespace: str) -> None:
    name = a_name()
    await cluster.create(CONFIG_MAP, a_config_map(namespace, name))
    with pytest.raises(Invalid):
        await cluster.merge_patch(CONFIG_MAP, namespace, name, {"metadata": {"name": "other"}})


async def test_a_list_of_many_pages_is_whole(
    cluster: Cluster, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.cluster.kubernetes.PAGE", 2)
    run = a_name()
    names = [f"{run}-{index}" for index in range(5)]
    for name in names:
        await cluster.create(CONFIG_MAP, a_config_map(namespace, name, run=run))
    listing = await cluster.list(CONFIG_MAP, namespace, labels=f"run={run}")
    assert [item["metadata"]["name"] for item in listing.items] == names


async def test_a_watch_with_a_selector_sees_what_leaves_it_as_deleted(
    cluster: Cluster, namespace: str
) -> None:
    name = a_name()
    start = (await cluster.list(CONFIG_MAP, namespace)).resource_version
    await cluster.create(CONFIG_MAP, a_config_map(namespace, name, stage="in"))
    for stage in ("out", "in"):
        patch = {"metadata": {"labels": {"stage": stage}}}
        await cluster.merge_patch(CONFIG_MAP, namespace, name, patch)
    seen: list[str] = []
    async with asyncio.timeout(10):
        watching = cluster.watch(
            CONFIG_MAP, namespace, resource_version=start, labels=f"run={name},stage in (in)"
        )
        async for event in watching:
            if event.type != "BOOKMARK":
                seen.append(event.type)
            if len(seen) == 3:
                break
    assert seen == ["ADDED", "DELETED", "ADDED"]


async def test_a_watch_from_no_version_begins_with_what_there_is(
    cluster: Cluster, namespace: str
) -> None:
    name = a_name()
    await cluster.create(CONFIG_MAP, a_config_map(namespace, name))
    async with asyncio.timeout(10):
        async for event in cluster.watch(
            CONFIG_MAP, namespace, resource_version="", labels=f"run={name}"
        ):
            if event.type == "ADDED":
                assert event.object["metadata"]["name"] == name
                break


async def test_urgent_calls_do_the_same(cluster: Cluster, namespace: str) -> None:
    name = a_name()
    await cluster.create(CONFIG_MAP, a_config_map(namespace, name))
    replace = [{"op": "replace", "path": "/data/a", "value": "2"}]
    await cluster.json_patch(CONFIG_MAP, namespace, name, replace, urgent=True)
    await cluster.merge_patch(CONFIG_MAP, namespace, name, {"data": {"b": "3"}}, urgent=True)
    assert (await cluster.get(CONFIG_MAP, namespace, name, urgent=True))["data"] == {
        "a": "2",
        "b": "3",
    }


async def test_a_watch_from_too_old_a_version_is_gone(tmp_path: Path) -> None:
    """The doubles only: a real API server compacts when it likes."""
    store = LocalCluster(SystemClock(), history=4)
    facade = Facade(store, token="t")
    for index in range(8):
        await store.create(CONFIG_MAP, a_config_map("default", f"c-{index}"))
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
        with pytest.raises(Forbidden):
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
        await test_a_stale_resource_version_is_a_conflict(Forgetful(SystemClock()), "default")
