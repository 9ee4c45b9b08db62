"""What only the local store has: isolation, bounded history, faults, namespaces. The rest is the contract."""

from datetime import UTC, datetime
from typing import Any

import pytest

from agent.api.meta import Object
from agent.clock import LoopClock, SystemClock
from agent.cluster.local.store import LocalCluster
from agent.cluster.port import KINDS, WatchEvent
from agent.errors import Conflict, Gone, Invalid, NotFound, Unavailable

CONFIG_MAP, POD, ROLLOUT = KINDS["ConfigMap"], KINDS["Pod"], KINDS["Rollout"]
EPOCH = datetime(2026, 5, 1, 10, tzinfo=UTC)


def a_config_map(name: str, **metadata: Any) -> Object:
    return {"metadata": {"name": name, **metadata}, "data": {"a": "1"}}


async def next_event(store: LocalCluster, version: str) -> WatchEvent:
    return await anext(store.watch(CONFIG_MAP, resource_version=version))


async def test_nobody_can_change_what_is_stored_by_changing_what_was_given_or_taken() -> None:
    store = LocalCluster(SystemClock())
    given = a_config_map("a", labels={"x": "1"})
    made = await store.create(CONFIG_MAP, given)
    patch: dict[str, Any] = {"metadata": {"annotations": {"y": "1"}}}
    patched = await store.merge_patch(CONFIG_MAP, "default", "a", patch)
    taken = await store.get(CONFIG_MAP, "default", "a")
    listed = (await store.list(CONFIG_MAP)).items[0]
    watched = (await next_event(store, "1")).object
    for mine in (given, made, patched, taken, listed, watched):
        mine["data"]["a"] = "spoilt"
        mine["metadata"]["labels"]["x"] = "spoilt"
    patch["metadata"]["annotations"]["y"] = "spoilt"
    assert "spoilt" not in str(await store.get(CONFIG_MAP, "default", "a"))
    assert "spoilt" not in str((await next_event(store, "1")).object)


async def test_history_is_bounded_by_kind_so_that_a_quiet_kind_keeps_its_watch() -> None:
    store = LocalCluster(SystemClock(), history=4)
    quiet = await store.create(ROLLOUT, {"metadata": {"name": "quiet"}, "spec": {}})
    for number in range(10):
        await store.create(CONFIG_MAP, a_config_map(f"c-{number}"))
    with pytest.raises(Gone):
        await next_event(store, "2")
    before = str(int(quiet["metadata"]["resourceVersion"]) - 1)
    seen = await anext(store.watch(ROLLOUT, resource_version=before))
    assert seen.object["metadata"]["name"] == "quiet"


async def test_a_version_of_a_store_that_was_here_before_is_gone() -> None:
    with pytest.raises(Gone, match="ahead"):
        await next_event(LocalCluster(SystemClock()), "99")


@pytest.mark.looptime
async def test_a_quiet_watch_sends_bookmarks_and_ends_after_some_minutes() -> None:
    clock = LoopClock(EPOCH)
    store = LocalCluster(clock)
    await store.create(ROLLOUT, {"metadata": {"name": "other"}, "spec": {}})
    events = [event async for event in store.watch(CONFIG_MAP, resource_version="1")]
    assert {event.type for event in events} == {"BOOKMARK"}
    assert {event.object["metadata"]["resourceVersion"] for event in events} == {"2"}
    assert clock.now() == EPOCH.replace(minute=5)


async def test_a_fault_before_a_write_prevents_it_and_one_after_it_does_not() -> None:
    store = LocalCluster(SystemClock())
    asked: list[tuple[str, ...]] = []

    def fault(when: str, *place: str) -> None:
        asked.append((when, *place))
        if (when, place[0]) in failing:
            raise Unavailable("simulated")

    store.fault = fault
    failing = {("before", "create")}
    with pytest.raises(Unavailable):
        await store.create(CONFIG_MAP, a_config_map("a"))
    assert store.peek("ConfigMap", "default", "a") is None
    failing = {("after", "create")}
    with pytest.raises(Unavailable):
        await store.create(CONFIG_MAP, a_config_map("a"))
    assert store.peek("ConfigMap", "default", "a") is not None
    failing = set()
    await store.delete(CONFIG_MAP, "default", "a")
    assert asked[-1] == ("after", "delete", "ConfigMap", "default", "a")


async def test_a_write_that_failed_does_not_ask_the_fault_after_it() -> None:
    store = LocalCluster(SystemClock())
    asked: list[str] = []
    store.fault = lambda when, *_: asked.append(when)
    with pytest.raises(NotFound):
        await store.merge_patch(CONFIG_MAP, "default", "none", {"data": {}})
    assert asked == ["before"]


async def test_uids_can_be_repeatable() -> None:
    numbers = iter(range(10))
    store = LocalCluster(SystemClock(), new_uid=lambda: f"uid-{next(numbers)}")
    assert (await store.create(CONFIG_MAP, a_config_map("a")))["metadata"]["uid"] == "uid-0"
    made = await store.create(CONFIG_MAP, {"metadata": {"generateName": "b-"}})
    assert (made["metadata"]["name"], made["metadata"]["uid"]) == ("b-uid-1", "uid-2")


@pytest.mark.parametrize("has_status", [True, False], ids=["with subresource", "without"])
async def test_whether_a_kind_has_a_status_subresource_can_be_chosen(has_status: bool) -> None:
    without = frozenset() if has_status else frozenset({"Rollout"})
    store = LocalCluster(SystemClock(), without_status=without)
    both = {"spec": {"replicas": 1}, "status": {"phase": "Healthy"}}
    made = await store.create(ROLLOUT, {"metadata": {"name": "r"}, **both})
    assert ("status" in made) is not has_status
    patch = {"spec": {"replicas": 2}, "status": {"phase": "Paused"}}
    new = await store.merge_patch(ROLLOUT, "default", "r", patch, status=True)
    assert new["status"]["phase"] == "Paused"
    assert new["spec"]["replicas"] == (1 if has_status else 2)


async def test_a_namespace_takes_everything_in_it_along() -> None:
    store = LocalCluster(SystemClock())
    await store.create(KINDS["Namespace"], {"metadata": {"name": "shop"}})
    await store.create(CONFIG_MAP, a_config_map("a", namespace="shop"))
    await store.create(CONFIG_MAP, a_config_map("a", namespace="other"))
    await store.delete(KINDS["Namespace"], "", "shop")
    assert [obj["metadata"]["namespace"] for obj in store.peek_all("ConfigMap")] == ["other"]


async def test_a_grace_period_marks_first_and_a_second_delete_removes() -> None:
    store = LocalCluster(SystemClock())
    store.grace_seconds["Pod"] = 30
    await store.create(POD, {"metadata": {"name": "p"}, "spec": {}})
    await store.delete(POD, "default", "p")
    marked = await store.get(POD, "default", "p")
    assert marked["metadata"]["deletionGracePeriodSeconds"] == 30
    await store.delete(POD, "default", "p", grace_seconds=0)
    assert store.peek("Pod", "default", "p") is None


async def test_a_deletion_cannot_be_patched_away() -> None:
    store = LocalCluster(SystemClock())
    await store.create(CONFIG_MAP, a_config_map("a", finalizers=["x/y"]))
    await store.delete(CONFIG_MAP, "default", "a")
    gone = {"metadata": {"deletionTimestamp": None, "generation": 7, "uid": None}}
    patched = await store.merge_patch(CONFIG_MAP, "default", "a", gone)
    assert "deletionTimestamp" in patched["metadata"]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        pytest.param({"metadata": {"uid": "other"}}, Conflict, id="another uid"),
        pytest.param({"metadata": {"namespace": "other"}}, Invalid, id="another namespace"),
        pytest.param({"metadata": None}, Invalid, id="no metadata"),
        pytest.param({"kind": "Secret"}, Invalid, id="another kind"),
        pytest.param({"apiVersion": "apps/v1"}, Invalid, id="another group"),
    ],
)
async def test_a_patch_cannot_make_it_another_object(
    change: dict[str, Any], error: type[Exception]
) -> None:
    store = LocalCluster(SystemClock())
    old = await store.create(CONFIG_MAP, a_config_map("a"))
    with pytest.raises(error):
        await store.merge_patch(CONFIG_MAP, "default", "a", change)
    assert await store.get(CONFIG_MAP, "default", "a") == old


async def test_an_unknown_propagation_is_invalid() -> None:
    store = LocalCluster(SystemClock())
    await store.create(CONFIG_MAP, a_config_map("a"))
    with pytest.raises(Invalid, match="propagationPolicy"):
        await store.delete(CONFIG_MAP, "default", "a", propagation="Sideways")
