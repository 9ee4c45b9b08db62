"""Simulated pods, on a virtual clock."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from agent.api.meta import Object
from agent.clock import LoopClock
from agent.cluster.local.pods import READY, READY_SECONDS
from agent.cluster.local.store import LocalCluster
from agent.cluster.local.workloads import MAX_PODS, Workloads
from agent.cluster.port import KINDS
from agent.errors import Unavailable

pytestmark = pytest.mark.looptime

EPOCH = datetime(2026, 5, 1, 10, tzinfo=UTC)
REPLICA_SET, POD = KINDS["ReplicaSet"], KINDS["Pod"]


def a_replica_set(
    replicas: int | None = 2, *, image: str = "shop:v1", annotations: Any = None, **spec: Any
) -> Object:
    labels = {"app": "shop"}
    meta = {"labels": labels, **({"annotations": annotations} if annotations else {})}
    template = {"metadata": meta, "spec": {"containers": [{"name": "main", "image": image}]}}
    count = {} if replicas is None else {"replicas": replicas}
    return {
        "metadata": {"name": "shop"},
        "spec": {**count, "selector": {"matchLabels": labels}, "template": template, **spec},
    }


class Bed:
    def __init__(self, **options: Any) -> None:
        self.clock = LoopClock(EPOCH)
        self.store = LocalCluster(self.clock)
        self.workloads = Workloads(self.store, self.clock, **options)

    @asynccontextmanager
    async def alive(self) -> AsyncIterator["Bed"]:
        task = asyncio.create_task(self.workloads.run())
        try:
            yield self
            if task.done():
                task.result()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def counts(self) -> tuple[int, int, int]:
        status = (await self.store.get(REPLICA_SET, "default", "shop")).get("status") or {}
        one, two, three = (
            status.get(name, -1) for name in ("replicas", "readyReplicas", "availableReplicas")
        )
        return one, two, three

    async def scale(self, replicas: int) -> None:
        patch = {"spec": {"replicas": replicas}}
        await self.store.merge_patch(REPLICA_SET, "default", "shop", patch)

    def pods(self) -> list[Object]:
        return list(self.store.peek_all("Pod"))


async def test_pods_come_at_once_and_are_ready_after_their_delay() -> None:
    async with Bed(ready_seconds=5).alive() as bed:
        made = await bed.store.create(REPLICA_SET, a_replica_set())
        await asyncio.sleep(4.9)
        assert await bed.counts() == (2, 0, 0)
        await asyncio.sleep(0.2)
        assert await bed.counts() == (2, 2, 2)
        for pod in bed.pods():
            assert pod["metadata"]["labels"] == {"app": "shop"}
            assert pod["metadata"]["ownerReferences"][0]["uid"] == made["metadata"]["uid"]
            assert pod["status"]["containerStatuses"][0]["ready"] is True


async def test_the_status_says_which_generation_it_has_seen() -> None:
    async with Bed(ready_seconds=0).alive() as bed:
        await bed.store.create(REPLICA_SET, a_replica_set())
        await bed.scale(3)
        await asyncio.sleep(1)
        found = await bed.store.get(REPLICA_SET, "default", "shop")
        assert found["status"]["observedGeneration"] == found["metadata"]["generation"] == 2


async def test_available_is_later_than_ready_by_min_ready_seconds() -> None:
    async with Bed(ready_seconds=1).alive() as bed:
        await bed.store.create(REPLICA_SET, a_replica_set(minReadySeconds=10))
        await asyncio.sleep(10.9)
        assert await bed.counts() == (2, 2, 0)
        await asyncio.sleep(0.2)
        assert await bed.counts() == (2, 2, 2)


async def test_without_replicas_there_is_one_and_with_zero_none() -> None:
    async with Bed(ready_seconds=0).alive() as bed:
        await bed.store.create(REPLICA_SET, a_replica_set(None))
        await asyncio.sleep(1)
        assert await bed.counts() == (1, 1, 1)
        await bed.scale(0)
        await asyncio.sleep(1)
        assert (await bed.counts(), bed.pods()) == ((0, 0, 0), [])


async def test_images_that_match_never_become_ready_until_the_pattern_is_gone() -> None:
    bed = Bed(ready_seconds=1, never_ready=["shop:broken*"])
    async with bed.alive():
        await bed.store.create(REPLICA_SET, a_replica_set(image="shop:broken-2"))
        await asyncio.sleep(100)
        assert await bed.counts() == (2, 0, 0)
        state = bed.pods()[0]["status"]["containerStatuses"][0]["state"]
        assert state == {"waiting": {"reason": "ImagePullBackOff"}}
        bed.workloads.never_ready = ()
        await bed.scale(1)
        await asyncio.sleep(1)
        assert await bed.counts() == (1, 1, 1)


async def test_annotations_of_the_template_decide_for_its_pods() -> None:
    async with Bed(ready_seconds=1).alive() as bed:
        await bed.store.create(REPLICA_SET, a_replica_set(annotations={READY_SECONDS: "30"}))
        await asyncio.sleep(29)
        assert await bed.counts() == (2, 0, 0)
        await asyncio.sleep(2)
        assert await bed.counts() == (2, 2, 2)


async def test_a_ready_pod_can_break_and_recover() -> None:
    async with Bed(ready_seconds=1).alive() as bed:
        await bed.store.create(REPLICA_SET, a_replica_set())
        await asyncio.sleep(2)
        name = bed.pods()[0]["metadata"]["name"]
        for value, ready in (("false", 1), (None, 2)):
            patch = {"metadata": {"annotations": {READY: value}}}
            await bed.store.merge_patch(POD, "default", name, patch)
            await asyncio.sleep(1)
            assert await bed.counts() == (2, ready, ready)


async def test_unready_pods_are_removed_first_then_the_youngest() -> None:
    async with Bed(ready_seconds=1).alive() as bed:
        await bed.store.create(REPLICA_SET, a_replica_set(1))
        await asyncio.sleep(2)
        oldest = bed.pods()[0]["metadata"]["name"]
        await bed.scale(4)
        await asyncio.sleep(0.5)
        await bed.scale(1)
        await asyncio.sleep(0.1)
        assert [pod["metadata"]["name"] for pod in bed.pods()] == [oldest]


async def test_a_deleted_pod_terminates_first_and_is_replaced_at_once() -> None:
    async with Bed(ready_seconds=1, termination_seconds=30).alive() as bed:
        await bed.store.create(REPLICA_SET, a_replica_set(1))
        await asyncio.sleep(2)
        old = bed.pods()[0]["metadata"]["name"]
        await bed.store.delete(POD, "default", old)
        await asyncio.sleep(2)
        assert await bed.counts() == (1, 1, 1)
        assert len(bed.pods()) == 2
        await asyncio.sleep(30)
        assert [pod["metadata"]["name"] for pod in bed.pods()] != [old]
        assert len(bed.pods()) == 1


@pytest.mark.parametrize("propagation", ["Background", "Foreground"])
async def test_pods_go_with_their_replica_set(propagation: str) -> None:
    async with Bed(ready_seconds=1, termination_seconds=5).alive() as bed:
        await bed.store.create(REPLICA_SET, a_replica_set())
        await asyncio.sleep(2)
        await bed.store.delete(REPLICA_SET, "default", "shop", propagation=propagation)
        await asyncio.sleep(1)
        waits = bed.store.peek("ReplicaSet", "default", "shop") is not None
        assert waits is (propagation == "Foreground")
        await asyncio.sleep(5)
        assert bed.pods() == []
        assert bed.store.peek("ReplicaSet", "default", "shop") is None


async def test_a_bare_pod_becomes_ready_too() -> None:
    async with Bed(ready_seconds=3).alive() as bed:
        await bed.store.create(POD, {"metadata": {"name": "bare"}, "spec": {}})
        await asyncio.sleep(4)
        assert bed.pods()[0]["status"]["phase"] == "Running"


async def test_settle_is_one_step_that_says_when_to_look_again() -> None:
    bed = Bed(ready_seconds=5)
    await bed.store.create(REPLICA_SET, a_replica_set())
    due = await bed.workloads.settle()
    assert due is not None
    assert (due - EPOCH).total_seconds() == 5
    await asyncio.sleep(5)
    assert await bed.workloads.settle() is None
    version = bed.store.now_version()
    assert await bed.workloads.settle() is None
    assert bed.store.now_version() == version


async def test_a_mistake_in_a_manifest_does_not_make_a_million_pods() -> None:
    bed = Bed(ready_seconds=0)
    await bed.store.create(REPLICA_SET, a_replica_set(1_000_000))
    await bed.workloads.settle()
    assert len(bed.pods()) == MAX_PODS


async def test_a_store_that_fails_for_a_while_is_tried_again() -> None:
    bed = Bed(ready_seconds=0)
    failures = iter([True] * 5)

    def fault(when: str, *_: str) -> None:
        if when == "before" and next(failures, False):
            raise Unavailable("simulated")

    async with bed.alive():
        await bed.store.create(REPLICA_SET, a_replica_set())
        bed.store.fault = fault
        await asyncio.sleep(5)
        assert await bed.counts() == (2, 2, 2)
