"""The contract of every cluster, part two: deleting, and what goes along."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from agent.api.meta import Object
from agent.cluster.port import KINDS, Cluster, Kind
from agent.errors import Conflict, Invalid, NotFound
from tests.contract.objects import CONFIG_MAP, ROLLOUT, a_config_map, a_name, a_rollout

SECRET = KINDS["Secret"]


def owned_by(owner: Object, **more: Any) -> dict[str, Any]:
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        **more,
    }


def with_owners(namespace: str, name: str, *owners: dict[str, Any]) -> Object:
    return {
        "metadata": {"namespace": namespace, "name": name, "ownerReferences": list(owners)},
        "data": {"a": "1"},
    }


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await holds():
            await asyncio.sleep(0.05)


async def is_gone(cluster: Cluster, kind: Kind, namespace: str, name: str) -> bool:
    try:
        await cluster.get(kind, namespace, name)
    except NotFound:
        return True
    return False


async def test_the_owned_go_with_their_owner(cluster: Cluster, namespace: str) -> None:
    name = a_name()
    owner = await cluster.create(ROLLOUT, a_rollout(namespace, name))
    await cluster.create(
        CONFIG_MAP, with_owners(namespace, f"{name}-owned", owned_by(owner, controller=True))
    )
    await cluster.delete(ROLLOUT, namespace, name)
    await until(lambda: is_gone(cluster, CONFIG_MAP, namespace, f"{name}-owned"))


async def test_what_has_another_living_owner_stays_and_forgets_the_dead_one(
    cluster: Cluster,
    namespace: str,
) -> None:
    name = a_name()
    one = await cluster.create(CONFIG_MAP, a_config_map(namespace, f"{name}-1"))
    two = await cluster.create(CONFIG_MAP, a_config_map(namespace, f"{name}-2"))
    await cluster.create(CONFIG_MAP, with_owners(namespace, name, owned_by(one), owned_by(two)))
    await cluster.delete(CONFIG_MAP, namespace, f"{name}-1")

    async def forgotten() -> bool:
        left = (await cluster.get(CONFIG_MAP, namespace, name))["metadata"]["ownerReferences"]
        return [reference["name"] for reference in left] == [f"{name}-2"]

    await until(forgotten)


async def test_orphans_stay_without_their_owner(cluster: Cluster, namespace: str) -> None:
    name = a_name()
    owner = await cluster.create(CONFIG_MAP, a_config_map(namespace, name))
    await cluster.create(CONFIG_MAP, with_owners(namespace, f"{name}-owned", owned_by(owner)))
    await cluster.delete(CONFIG_MAP, namespace, name, propagation="Orphan")
    await until(lambda: is_gone(cluster, CONFIG_MAP, namespace, name))
    left = await cluster.get(CONFIG_MAP, namespace, f"{name}-owned")
    assert "ownerReferences" not in left["metadata"]


async def test_in_the_foreground_the_owner_goes_last(cluster: Cluster, namespace: str) -> None:
    name = a_name()
    owner = await cluster.create(CONFIG_MAP, a_config_map(namespace, name))
    blocking = with_owners(namespace, f"{name}-owned", owned_by(owner, blockOwnerDeletion=True))
    blocking["metadata"]["finalizers"] = ["serinus.dev/test"]
    await cluster.create(CONFIG_MAP, blocking)
    await cluster.delete(CONFIG_MAP, namespace, name, propagation="Foreground")

    async def marked() -> bool:
        held = await cluster.get(CONFIG_MAP, namespace, f"{name}-owned")
        return "deletionTimestamp" in held["metadata"]

    await until(marked)
    waiting = await cluster.get(CONFIG_MAP, namespace, name)
    assert waiting["metadata"]["finalizers"] == ["foregroundDeletion"]
    release = {"metadata": {"finalizers": None}}
    await cluster.merge_patch(CONFIG_MAP, namespace, f"{name}-owned", release)
    await until(lambda: is_gone(cluster, CONFIG_MAP, namespace, f"{name}-owned"))
    await until(lambda: is_gone(cluster, CONFIG_MAP, namespace, name))


async def test_a_finalizer_holds_a_deleted_object_until_it_is_removed(
    cluster: Cluster, namespace: str
) -> None:
    name = a_name()
    held = a_config_map(namespace, name)
    held["metadata"]["finalizers"] = ["serinus.dev/test"]
    made = await cluster.create(CONFIG_MAP, held)
    await cluster.delete(CONFIG_MAP, namespace, name)
    marked = await cluster.get(CONFIG_MAP, namespace, name)
    assert marked["metadata"]["deletionTimestamp"].endswith("Z")
    assert int(marked["metadata"]["resourceVersion"]) > int(made["metadata"]["resourceVersion"])
    await cluster.merge_patch(CONFIG_MAP, namespace, name, {"metadata": {"finalizers": None}})
    assert await is_gone(cluster, CONFIG_MAP, namespace, name)


async def test_what_is_created_after_its_owner_is_gone_does_not_stay(
    cluster: Cluster, namespace: str
) -> None:
    name = a_name()
    owner = await cluster.create(CONFIG_MAP, a_config_map(namespace, name))
    await cluster.delete(CONFIG_MAP, namespace, name)
    await cluster.create(SECRET, {**with_owners(namespace, name, owned_by(owner)), "data": {}})
    await until(lambda: is_gone(cluster, SECRET, namespace, name))


async def test_a_delete_can_insist_on_the_uid(cluster: Cluster, namespace: str) -> None:
    name = a_name()
    made = await cluster.create(CONFIG_MAP, a_config_map(namespace, name))
    with pytest.raises(Conflict):
        await cluster.delete(
            CONFIG_MAP, namespace, name, uid="11111111-1111-1111-1111-111111111111"
        )
    await cluster.delete(CONFIG_MAP, namespace, name, uid=made["metadata"]["uid"])
    with pytest.raises(NotFound):
        await cluster.delete(CONFIG_MAP, namespace, name)


@pytest.mark.parametrize(
    "metadata",
    [
        pytest.param({"name": "Upper_Case"}, id="a name in upper case"),
        pytest.param({"name": "x", "labels": {"a": "no spaces"}}, id="a label value with a space"),
        pytest.param({}, id="no name"),
        pytest.param(
            {"name": "x", "ownerReferences": [{"kind": "Rollout", "name": "y"}]},
            id="an owner without uid",
        ),
    ],
)
async def test_what_no_api_server_accepts_is_invalid(
    cluster: Cluster, namespace: str, metadata: dict[str, Any]
) -> None:
    with pytest.raises(Invalid):
        await cluster.create(CONFIG_MAP, {"metadata": {"namespace": namespace, **metadata}})
