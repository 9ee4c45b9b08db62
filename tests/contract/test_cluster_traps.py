"""The contract of every cluster, part three: where API servers are known to surprise their clients."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agent.clock import SystemClock
from agent.cluster.kubernetes import connect
from agent.cluster.port import KINDS, Cluster, WatchEvent
from agent.errors import Conflict, Gone, NotFound
from tests.contract.objects import CONFIG_MAP, ROLLOUT, a_config_map, a_name, a_rollout

SERVICE = KINDS["Service"]
MANY = 505
"""More than one page (agent.cluster.kubernetes.PAGE)."""


async def test_a_list_of_more_than_a_page_is_whole_and_watched_on_from(
    cluster: Cluster, namespace: str
) -> None:
    gate = asyncio.Semaphore(20)

    async def create(index: int) -> None:
        async with gate:
            await cluster.create(
                CONFIG_MAP, a_config_map(namespace, f"many-{index:04}", run="many")
            )

    async with asyncio.TaskGroup() as group:
        for index in range(MANY):
            group.create_task(create(index))
    listing = await cluster.list(CONFIG_MAP, namespace, labels="run=many")
    names = [item["metadata"]["name"] for item in listing.items]
    assert names == [f"many-{index:04}" for index in range(MANY)]
    await cluster.create(CONFIG_MAP, a_config_map(namespace, "late", run="many"))
    watching = cluster.watch(
        CONFIG_MAP, namespace, resource_version=listing.resource_version, labels="run=many"
    )
    event = await first(watching)
    assert (event.type, event.object["metadata"]["name"]) == ("ADDED", "late")


async def test_of_many_swaps_from_one_version_one_succeeds(
    cluster: Cluster, namespace: str
) -> None:
    name = a_name()
    made = await cluster.create(CONFIG_MAP, a_config_map(namespace, name))
    version = {"resourceVersion": made["metadata"]["resourceVersion"]}

    async def swap(index: int) -> bool:
        # None is what is there already: that one would change nothing, so another one could succeed after it.
        patch = {"metadata": version, "data": {"a": f"swap-{index}"}}
        try:
            await cluster.merge_patch(CONFIG_MAP, namespace, name, patch)
        except Conflict:
            return False
        return True

    won = await asyncio.gather(*(swap(index) for index in range(8)))
    assert won.count(True) == 1
    assert (await cluster.get(CONFIG_MAP, namespace, name))["data"] == {
        "a": f"swap-{won.index(True)}"
    }


async def test_the_status_is_swapped_like_everything_else(cluster: Cluster, namespace: str) -> None:
    name = a_name()
    old = await cluster.create(ROLLOUT, a_rollout(namespace, name))
    await cluster.merge_patch(ROLLOUT, namespace, name, {"metadata": {"labels": {"a": "b"}}})
    stale = {
        "metadata": {"resourceVersion": old["metadata"]["resourceVersion"]},
        "status": {"phase": "Paused"},
    }
    with pytest.raises(Conflict):
        await cluster.merge_patch(ROLLOUT, namespace, name, stale, status=True)
    assert "status" not in await cluster.get(ROLLOUT, namespace, name)


async def test_a_merge_patch_replaces_the_lists_of_a_built_in_kind_too(
    cluster: Cluster, namespace: str
) -> None:
    """A strategic one would merge them by their keys."""
    ports = [{"name": name, "port": port} for name, port in (("a", 80), ("b", 81))]
    spec = {"selector": {"app": "x"}, "ports": ports}
    await cluster.create(SERVICE, {"metadata": {"namespace": namespace, "name": "s"}, "spec": spec})
    patch = {"spec": {"ports": [{"name": "c", "port": 82, "protocol": "TCP"}]}}
    answer = await cluster.merge_patch(SERVICE, namespace, "s", patch)
    assert [port["name"] for port in answer["spec"]["ports"]] == ["c"]


async def test_a_namespace_must_be_there_first_but_for_the_doubles(
    cluster: Cluster, side: str
) -> None:
    """The one difference that is wanted: a local cluster asks nobody to make namespaces."""
    obj = a_config_map(a_name(), "x")
    if side == "real":
        with pytest.raises(NotFound):
            await cluster.create(CONFIG_MAP, obj)
    else:
        assert (await cluster.create(CONFIG_MAP, obj))["metadata"]["name"] == "x"


async def test_a_watch_from_a_version_that_is_not_reached_is_gone(
    cluster: Cluster, namespace: str
) -> None:
    """Of a cluster before it was restored from a backup: an API server itself would say nothing at all."""
    future = (await cluster.list(CONFIG_MAP, namespace)).resource_version + "000"
    with pytest.raises(Gone):
        await first(cluster.watch(CONFIG_MAP, namespace, resource_version=future))


async def test_unicode_and_empty_values_come_back_as_they_were(
    cluster: Cluster, namespace: str
) -> None:
    data = {"greek": "λόγος", "emoji": "🐤", "nul": "a\u0000b", "empty": "", "lines": "a\r\n\tb\n"}
    await cluster.create(CONFIG_MAP, {**a_config_map(namespace, "text"), "data": data})
    assert (await cluster.get(CONFIG_MAP, namespace, "text"))["data"] == data


async def first(watching: AsyncIterator[WatchEvent]) -> WatchEvent:
    """The first event that is no bookmark."""
    async with asyncio.timeout(20):
        async for event in watching:
            if event.type != "BOOKMARK":
                return event
    raise AssertionError("the watch ended")


# Through the adapter only: the store has neither connections nor credentials.


async def test_what_we_write_is_ours_in_the_managed_fields(
    cluster: Cluster, namespace: str, side: str
) -> None:
    """By their names two engines on one Rollout are told apart."""
    if side != "real":
        pytest.skip("the local cluster keeps no managedFields")
    name = a_name()
    await cluster.create(ROLLOUT, a_rollout(namespace, name))
    status = {"status": {"phase": "Paused"}}
    answer = await cluster.merge_patch(ROLLOUT, namespace, name, status, status=True)
    fields = answer["metadata"]["managedFields"]
    assert {(entry["manager"], entry.get("subresource", "")) for entry in fields} == {
        ("serinus", ""),
        ("serinus", "status"),
    }


async def test_a_watch_that_the_server_ends_is_gone_on_with_from_its_bookmark(
    cluster: Cluster, namespace: str, side: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if side == "store":
        pytest.skip("see tests/cluster/test_store.py")
    monkeypatch.setattr("agent.cluster.kubernetes.WATCH_SECONDS", (4, 4))
    version = (await cluster.list(CONFIG_MAP, namespace)).resource_version
    events: list[WatchEvent] = []
    async with asyncio.timeout(20):
        watching = cluster.watch(CONFIG_MAP, namespace, resource_version=version)
        async for event in watching:
            events.append(event)
            version = event.object["metadata"]["resourceVersion"]
    # A real API server also sends one shortly before the end.
    assert {event.type for event in events} <= {"BOOKMARK", "ADDED"}
    if side == "real":
        assert "BOOKMARK" in {event.type for event in events}
    await cluster.create(CONFIG_MAP, a_config_map(namespace, "later"))
    watching = cluster.watch(CONFIG_MAP, namespace, resource_version=version)
    while (event := await first(watching)).object["metadata"]["name"] != "later":
        assert event.type == "ADDED", "the root certificate that each namespace gets"


async def test_credentials_that_are_not_known_any_more_are_read_again(
    cluster: Cluster, namespace: str, side: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if side == "store":
        pytest.skip("it knows no credentials")
    right = kubeconfig_of(side, tmp_path, request)
    wrong = tmp_path / "rotated"
    wrong.write_text(right.replace(token_of(right), "expired"))
    rotating = await connect(SystemClock(), kubeconfig=wrong)
    try:
        wrong.write_text(right)
        made = await rotating.create(CONFIG_MAP, a_config_map(namespace, "rotated"))
        assert made["data"] == {"a": "1"}
    finally:
        await rotating.aclose()


def kubeconfig_of(side: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    if side == "facade":
        return (tmp_path / "kubeconfig").read_text()
    where: dict[str, Any] = request.getfixturevalue("bed").part("kubernetes")
    return Path(where["kubeconfig"]).read_text()


def token_of(kubeconfig: str) -> str:
    (line,) = (line for line in kubeconfig.splitlines() if "token:" in line)
    return line.partition("token:")[2].strip().strip('"')
