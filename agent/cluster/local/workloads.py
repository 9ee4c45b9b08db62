"""Simulated workloads: ReplicaSets get pods, pods become ready after a delay, or never.

What the ReplicaSet controller, the scheduler and a kubelet would do, as far as a rollout can see it.
Deployments are not simulated.
"""

import asyncio
import fnmatch
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import structlog

from agent.api.meta import Object
from agent.api.times import format_time, parse_time
from agent.clock import Clock
from agent.cluster.local.store import LocalCluster
from agent.cluster.port import KINDS
from agent.errors import NotFound, SerinusError

log = structlog.get_logger(__name__)

MAX_PODS: Final = 500
"""Of one ReplicaSet; more is a mistake in a manifest, not a simulation."""
SUFFIX: Final = "bcdfghjklmnpqrstvwxz2456789"


class Workloads:
    """Makes ReplicaSets real.

    Args:
        ready_seconds: from a pod's creation to Ready.
        never_ready: patterns of images whose pods stay unready.
    """

    def __init__(
        self,
        store: LocalCluster,
        clock: Clock,
        *,
        ready_seconds: float = 1.0,
        never_ready: Sequence[str] = (),
    ) -> None:
        self._store = store
        self._clock = clock
        self._ready_seconds = ready_seconds
        self.never_ready = tuple(never_ready)
        self._serial = 0

    async def run(self) -> None:
        """Follows the store until cancelled."""
        waker = self._store.waker()
        try:
            while True:
                waker.clear()
                try:
                    due = await self.settle()
                except SerinusError as error:
                    log.warning("workloads.retry", error=str(error))
                    due = self._clock.now() + timedelta(seconds=0.2)
                await self._wait(waker, due)
        finally:
            self._store.forget(waker)

    async def settle(self) -> datetime | None:
        """Bring pods and statuses to where they should be now; when to look again, None if nothing waits."""
        due: list[datetime] = []
        for replica_set in list(self._store.peek_all("ReplicaSet")):
            due.extend(await self._replica_set(replica_set))
        return min(due, default=None)

    async def _wait(self, waker: asyncio.Event, due: datetime | None) -> None:
        seconds = None if due is None else max(0.001, (due - self._clock.now()).total_seconds())
        try:
            await asyncio.wait_for(waker.wait(), seconds)
        except TimeoutError:
            return

    async def _replica_set(self, replica_set: Object) -> list[datetime]:
        meta = replica_set["metadata"]
        spec = replica_set.get("spec") or {}
        replicas = spec.get("replicas")
        wanted = min(MAX_PODS, 1 if replicas is None else int(replicas))
        pods = sorted(self._pods(meta["uid"]), key=lambda pod: str(pod["metadata"]["name"]))
        for pod in _surplus(pods, len(pods) - wanted):
            await self._store.delete(KINDS["Pod"], meta["namespace"], pod["metadata"]["name"])
            pods.remove(pod)
        for _ in range(wanted - len(pods)):
            pods.append(await self._create_pod(replica_set))
        due: list[datetime] = []
        ready = available = 0
        now = self._clock.now()
        for pod in pods:
            since = _ready_since(pod)
            if since is None:
                at = _created(pod) + timedelta(seconds=self._ready_seconds)
                if self._is_never_ready(pod):
                    continue
                if at > now:
                    due.append(at)
                    continue
                await self._make_ready(pod, now)
                since = now
            ready += 1
            available_at = since + timedelta(seconds=int(spec.get("minReadySeconds") or 0))
            if available_at <= now:
                available += 1
            else:
                due.append(available_at)
        await self._write_status(replica_set, len(pods), ready, available)
        return due

    def _pods(self, uid: str) -> Iterator[Object]:
        for pod in self._store.peek_all("Pod"):
            owners = pod["metadata"].get("ownerReferences") or ()
            if any(reference.get("uid") == uid for reference in owners):
                yield pod

    async def _create_pod(self, replica_set: Object) -> Object:
        meta, spec = replica_set["metadata"], replica_set.get("spec") or {}
        template: dict[str, Any] = spec.get("template") or {}
        self._serial += 1
        reference = {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "name": meta["name"],
            "uid": meta["uid"],
            "controller": True,
            "blockOwnerDeletion": True,
        }
        inherited = template.get("metadata") or {}
        pod = {
            "metadata": {
                "name": f"{meta['name']}-{_suffix(self._serial)}",
                "namespace": meta["namespace"],
                "labels": dict(inherited.get("labels") or {}),
                "annotations": {
                    **(inherited.get("annotations") or {}),
                    CREATED: self._clock.now().isoformat(),
                },
                "ownerReferences": [reference],
            },
            "spec": template.get("spec") or {},
            "status": {"phase": "Pending"},
        }
        return await self._store.create(KINDS["Pod"], pod)

    def _is_never_ready(self, pod: Object) -> bool:
        images = [str(c.get("image", "")) for c in (pod.get("spec") or {}).get("containers") or ()]
        return any(
            fnmatch.fnmatchcase(image, pattern) for image in images for pattern in self.never_ready
        )

    async def _make_ready(self, pod: Object, now: datetime) -> None:
        condition = {"type": "Ready", "status": "True", "lastTransitionTime": format_time(now)}
        meta = pod["metadata"]
        status = {"phase": "Running", "conditions": [condition], READY_AT: now.isoformat()}
        await self._store.merge_patch(
            KINDS["Pod"], meta["namespace"], meta["name"], {"status": status}, status=True
        )

    async def _write_status(
        self, replica_set: Object, replicas: int, ready: int, available: int
    ) -> None:
        meta = replica_set["metadata"]
        status = {
            "replicas": replicas,
            "fullyLabeledReplicas": replicas,
            "readyReplicas": ready,
            "availableReplicas": available,
            "observedGeneration": meta.get("generation", 1),
        }
        if replica_set.get("status") == status:
            return
        try:
            await self._store.merge_patch(
                KINDS["ReplicaSet"],
                meta["namespace"],
                meta["name"],
                {"status": status},
                status=True,
            )
        except NotFound:
            return  # deleted meanwhile


CREATED: Final = "serinus.dev/simulated-created"
READY_AT: Final = "simulatedReadyAt"
# Times in Kubernetes objects have a resolution of one second; a simulated delay needs a finer one.


def _created(pod: Object) -> datetime:
    text = (pod["metadata"].get("annotations") or {}).get(CREATED)
    return parse_time(text or pod["metadata"]["creationTimestamp"])


def _ready_since(pod: Object) -> datetime | None:
    text = (pod.get("status") or {}).get(READY_AT)
    return parse_time(text) if text else None


def _surplus(pods: list[Object], count: int) -> list[Object]:
    """The pods to delete: unready ones first, then the youngest, as the ReplicaSet controller does."""
    if count <= 0:
        return []
    ordered = sorted(
        pods, key=lambda pod: (_ready_since(pod) is not None, -_created(pod).timestamp())
    )
    return ordered[:count]


def _suffix(serial: int) -> str:
    """Five characters as in pod names; the same serial gives the same ones."""
    number, text = serial * 7_919 + 1_000_003, ""
    for _ in range(5):
        number, digit = divmod(number, len(SUFFIX))
        text += SUFFIX[digit]
    return text
