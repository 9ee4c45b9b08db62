"""The cache follows a cluster through everything that watches do, on a virtual clock."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from agent.api.meta import Object, Ref
from agent.clock import LoopClock
from agent.cluster.cache import Cache
from agent.cluster.local.store import LocalCluster
from agent.cluster.port import KINDS, Kind, Listing, WatchEvent
from agent.errors import NotFound, Unavailable

pytestmark = pytest.mark.looptime

EPOCH = datetime(2026, 5, 1, 10, tzinfo=UTC)
CONFIG_MAP, ROLLOUT, REPLICA_SET = KINDS["ConfigMap"], KINDS["Rollout"], KINDS["ReplicaSet"]
A = Ref("ConfigMap", "default", "a")


class Connection(LocalCluster):
    """A store whose lists and watches can be made to fail or lag."""

    def __init__(self, clock: LoopClock, **options: Any) -> None:
        super().__init__(clock, **options)
        self.clock = clock
        self.down = False
        self.lag = 0.0
        self.missing: set[str] = set()
        self.lists = 0

    async def list(self, kind: Kind, namespace: str | None = None, **options: Any) -> Listing:
        self.lists += 1
        self._reachable(kind)
        return await super().list(kind, namespace, **options)

    async def watch(  # type: ignore[override]  # passes its options on
        self, kind: Kind, namespace: str | None = None, **options: Any
    ) -> AsyncIterator[WatchEvent]:
        self._reachable(kind)
        async for event in super().watch(kind, namespace, **options):
            await self.clock.sleep(self.lag)
            self._reachable(kind)
            yield event

    def _reachable(self, kind: Kind) -> None:
        if self.down:
            raise Unavailable("simulated")
        if kind.kind in self.missing:
            raise NotFound("simulated: not served")


def a_config_map(name: str, value: str = "1", **metadata: Any) -> Object:
    return {"metadata": {"name": name, **metadata}, "data": {"a": value}}


@asynccontextmanager
async def following(cache: Cache) -> AsyncIterator[Cache]:
    task = asyncio.create_task(cache.run())
    try:
        yield cache
        if task.done():
            task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def value(cache: Cache, ref: Ref = A) -> str | None:
    found = cache.get(ref)
    return None if found is None else str(found["data"]["a"])


async def write(store: LocalCluster, text: str) -> Object:
    return await store.merge_patch(CONFIG_MAP, "default", "a", {"data": {"a": text}})


async def test_it_is_synced_after_all_lists_and_follows_changes() -> None:
    store = Connection(LoopClock(EPOCH))
    await store.create(CONFIG_MAP, a_config_map("a"))
    cache = Cache(store, ["ConfigMap", "Rollout"], store.clock)
    assert cache.unsynced() == ("ConfigMap", "Rollout")
    seen: list[tuple[Ref, bool, bool]] = []
    cache.on_change(lambda ref, old, new: seen.append((ref, old is not None, new is not None)))
    async with following(cache):
        await cache.synced.wait()
        await write(store, "2")
        await asyncio.sleep(1)
        assert value(cache) == "2"
        await store.delete(CONFIG_MAP, "default", "a")
        await asyncio.sleep(1)
        assert (value(cache), cache.list("ConfigMap")) == (None, ())
    assert seen == [(A, False, True), (A, True, True), (A, True, False)]


async def test_objects_are_found_by_namespace_and_by_controller() -> None:
    store = Connection(LoopClock(EPOCH))
    owner = await store.create(ROLLOUT, {"metadata": {"name": "r"}, "spec": {}})
    uid = owner["metadata"]["uid"]
    reference = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "r", "uid": uid}
    for name, controller in (("mine", True), ("other", False)):
        references = [{**reference, "controller": controller}]
        await store.create(REPLICA_SET, {"metadata": {"name": name, "ownerReferences": references}})
    await store.create(REPLICA_SET, {"metadata": {"name": "x", "namespace": "far"}})
    async with following(Cache(store, ["ReplicaSet"], store.clock)) as cache:
        await cache.synced.wait()
        assert [obj["metadata"]["name"] for obj in cache.owned("ReplicaSet", uid)] == ["mine"]
        assert len(cache.list("ReplicaSet")) == 3
        assert [o["metadata"]["name"] for o in cache.list("ReplicaSet", "far")] == ["x"]
        patch = {"metadata": {"ownerReferences": None}}
        await store.merge_patch(REPLICA_SET, "default", "mine", patch)
        await asyncio.sleep(1)
        assert cache.owned("ReplicaSet", uid) == ()


async def test_our_own_write_is_seen_at_once_and_no_late_event_takes_it_back() -> None:
    store = Connection(LoopClock(EPOCH))
    await store.create(CONFIG_MAP, a_config_map("a"))
    async with following(Cache(store, ["ConfigMap"], store.clock)) as cache:
        await cache.synced.wait()
        await asyncio.sleep(0.1)
        store.lag = 5
        await write(store, "2")
        cache.observe_write(await write(store, "3"))
        values = set()
        for _ in range(12):
            values.add(value(cache))
            await asyncio.sleep(1)
        assert values == {"3"}


async def test_what_we_deleted_does_not_come_back_by_a_late_event() -> None:
    store = Connection(LoopClock(EPOCH))
    await store.create(CONFIG_MAP, a_config_map("a"))
    async with following(Cache(store, ["ConfigMap"], store.clock)) as cache:
        await cache.synced.wait()
        await asyncio.sleep(0.1)
        store.lag = 5
        cache.observe_write(await write(store, "2"))
        await store.delete(CONFIG_MAP, "default", "a")
        cache.observe_delete(A)
        for _ in range(12):
            assert value(cache) is None
            await asyncio.sleep(1)
        store.lag = 0
        await store.create(CONFIG_MAP, a_config_map("a", "again"))
        await asyncio.sleep(6)
        assert value(cache) == "again"


async def test_objects_that_it_does_not_follow_are_not_kept() -> None:
    store = Connection(LoopClock(EPOCH))
    cache = Cache(store, ["ConfigMap"], store.clock, namespaces=["shop"])
    cache.observe_write(await store.create(ROLLOUT, {"metadata": {"name": "r"}, "spec": {}}))
    cache.observe_write(await store.create(CONFIG_MAP, a_config_map("a")))
    cache.observe_write(await store.create(CONFIG_MAP, a_config_map("b", namespace="shop")))
    assert cache.list("Rollout") == ()
    assert [obj["metadata"]["name"] for obj in cache.list("ConfigMap")] == ["b"]


async def test_it_survives_an_outage_and_lists_again_when_its_version_is_gone() -> None:
    store = Connection(LoopClock(EPOCH), history=3)
    await store.create(CONFIG_MAP, a_config_map("a"))
    async with following(Cache(store, ["ConfigMap"], store.clock)) as cache:
        await cache.synced.wait()
        store.down = True
        await write(store, "x")  # wakes the watch, which ends
        for number in range(10):
            await store.create(CONFIG_MAP, a_config_map(f"c-{number}"))
        await store.delete(CONFIG_MAP, "default", "a")
        await asyncio.sleep(60)
        lists = store.lists
        store.down = False
        await asyncio.sleep(15)
        assert len(cache.list("ConfigMap")) == 10
        assert value(cache) is None
        assert store.lists == lists + 1
        await store.create(CONFIG_MAP, a_config_map("a", "new"))
        await asyncio.sleep(1)
        assert value(cache) == "new"


async def test_an_outage_is_not_hammered() -> None:
    store = Connection(LoopClock(EPOCH))
    store.down = True
    async with following(Cache(store, ["ConfigMap"], store.clock)):
        await asyncio.sleep(600)
        assert 60 < store.lists < 400


async def test_a_watch_that_ends_at_once_every_time_is_not_a_hot_loop() -> None:
    class Broken(Connection):
        opened = 0

        async def watch(  # type: ignore[override]  # takes whatever the cache asks
            self, *_: Any, **__: Any
        ) -> AsyncIterator[WatchEvent]:
            self.opened += 1
            for event in tuple[WatchEvent, ...]():
                yield event

    store = Broken(LoopClock(EPOCH))
    async with following(Cache(store, ["ConfigMap"], store.clock)):
        await asyncio.sleep(600)
        assert 60 < store.opened < 400


async def test_a_cluster_that_began_anew_is_followed() -> None:
    clock = LoopClock(EPOCH)
    store = Connection(clock)
    for number in range(20):
        await store.create(CONFIG_MAP, a_config_map(f"old-{number}"))
    await store.create(CONFIG_MAP, a_config_map("a", "old"))
    async with following(Cache(store, ["ConfigMap"], clock)) as cache:
        await cache.synced.wait()
        fresh = Connection(clock)
        await fresh.create(CONFIG_MAP, a_config_map("a", "new"))
        cache._cluster = fresh
        store.down = True
        await store.create(CONFIG_MAP, a_config_map("wake"))
        await asyncio.sleep(60)
        assert [obj["metadata"]["name"] for obj in cache.list("ConfigMap")] == ["a"]
        assert value(cache) == "new"
        await write(fresh, "newer")
        await asyncio.sleep(1)
        assert value(cache) == "newer"


async def test_kinds_that_are_optional_do_not_hold_up_the_rest_and_are_found_later() -> None:
    store = Connection(LoopClock(EPOCH))
    store.missing = {"VirtualService", "Rollout"}
    cache = Cache(
        store, ["VirtualService", "Rollout"], store.clock, optional=frozenset({"VirtualService"})
    )
    async with following(cache):
        await asyncio.sleep(5)
        assert cache.unsynced() == ("Rollout",)
        store.missing = set()
        await store.create(KINDS["VirtualService"], {"metadata": {"name": "v"}, "spec": {}})
        await asyncio.sleep(45)
        assert cache.synced.is_set()
        assert len(cache.list("VirtualService")) == 1


async def test_a_listener_that_fails_does_not_stop_the_watch() -> None:
    store = Connection(LoopClock(EPOCH))
    seen: list[Ref] = []

    def fails(_ref: Ref, _old: Object | None, _new: Object | None) -> None:
        raise ValueError("a bug")

    cache = Cache(store, ["ConfigMap"], store.clock)
    cache.on_change(fails)
    cache.on_change(lambda ref, _old, _new: seen.append(ref))
    async with following(cache):
        await cache.synced.wait()
        await store.create(CONFIG_MAP, a_config_map("a"))
        await asyncio.sleep(1)
    assert seen == [A]


async def test_managed_fields_are_not_kept() -> None:
    store = Connection(LoopClock(EPOCH))
    cache = Cache(store, ["ConfigMap"], store.clock)
    made = await store.create(CONFIG_MAP, a_config_map("a", managedFields=[{"manager": "x"}]))
    cache.observe_write(made)
    found = cache.get(A)
    assert found is not None
    assert "managedFields" not in found["metadata"]
