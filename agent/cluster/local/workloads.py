"""Simulated workloads: ReplicaSets get pods, pods become ready after a delay, or never.

What the ReplicaSet controller, the scheduler and a kubelet would do, as far as a rollout can see it.
Deployments and Jobs are not simulated.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import structlog

from agent.api.meta import Object
from agent.clock import Clock
from agent.cluster.local import pods
from agent.cluster.local.store import LocalCluster
from agent.cluster.port import KINDS
from agent.errors import AlreadyExists, NotFound, SerinusError

log = structlog.get_logger(__name__)

POD, REPLICA_SET = KINDS["Pod"], KINDS["ReplicaSet"]
MAX_PODS: Final = 500
"""Of one ReplicaSet; more is a mistake in a manifest, not a simulation."""
RETRY_SECONDS: Final = 0.2


class Workloads:
    """Makes ReplicaSets real.

    Args:
        ready_seconds: from a pod's creation to Ready; the annotation pods.READY_SECONDS overrides it.
        never_ready: patterns (fnmatch) of images whose pods stay unready; may be changed at any time.
        termination_seconds: from a pod's deletion until it is gone.
    """

    def __init__(
        self,
        store: LocalCluster,
        clock: Clock,
        *,
        ready_seconds: float = 1.0,
        never_ready: Sequence[str] = (),
        termination_seconds: float = 0.0,
    ) -> None:
        self._store = store
        self._clock = clock
        self._ready_seconds = ready_seconds
        self._termination = timedelta(seconds=termination_seconds)
        self.never_ready = tuple(never_ready)
        self._serial = 0
        self._ends: dict[str, datetime] = {}
        self._clamped: set[str] = set()
        store.grace_seconds["Pod"] = termination_seconds

    async def run(self) -> None:
        """Follows the store until cancelled."""
        waker = self._store.waker("ReplicaSet", "Pod")
        try:
            while True:
                waker.clear()
                try:
                    due = await self.settle()
                except SerinusError as error:
                    log.warning("workloads.retry", error=str(error))
                    due = self._clock.now() + timedelta(seconds=RETRY_SECONDS)
                await self._wait(waker, due)
        finally:
            self._store.forget(waker)

    async def settle(self) -> datetime | None:
        """Bring pods and statuses to where they should be now; when to look again, None if nothing waits."""
        now = self._clock.now()
        for replica_set in self._store.peek_all("ReplicaSet"):
            await self._scale(replica_set, now)
        due: list[datetime] = []
        for pod in self._store.peek_all("Pod"):
            due += await self._advance(pod, now)
        living = self._living()
        for replica_set in self._store.peek_all("ReplicaSet"):
            due += await self._report(replica_set, living.get(replica_set["metadata"]["uid"], ()))
        return min(due, default=None)

    async def _wait(self, waker: asyncio.Event, due: datetime | None) -> None:
        seconds = None if due is None else max(0.001, (due - self._clock.now()).total_seconds())
        try:
            async with asyncio.timeout(seconds):
                await waker.wait()
        except TimeoutError:
            return

    async def _scale(self, replica_set: Object, now: datetime) -> None:
        """As many pods as the ReplicaSet wants."""
        if pods.is_terminating(replica_set):
            return
        meta = replica_set["metadata"]
        living = self._living_of(meta["uid"])
        wanted = self._wanted(replica_set)
        for pod in pods.surplus(living, len(living) - wanted):
            await self._store.delete(POD, meta["namespace"], pod["metadata"]["name"])
        for _ in range(wanted - len(living)):
            await self._create_pod(replica_set, now)

    def _wanted(self, replica_set: Object) -> int:
        meta = replica_set["metadata"]
        replicas = (replica_set.get("spec") or {}).get("replicas")
        wanted = 1 if replicas is None else int(replicas)
        if wanted > MAX_PODS and meta["uid"] not in self._clamped:
            self._clamped.add(meta["uid"])
            log.warning(
                "workloads.too_many_pods", replica_set=meta["name"], wanted=wanted, limit=MAX_PODS
            )
        return min(MAX_PODS, wanted)

    async def _create_pod(self, replica_set: Object, now: datetime) -> None:
        while True:
            self._serial += 1
            try:
                await self._store.create(POD, pods.pod_of(replica_set, self._serial, now))
            except AlreadyExists:
                continue  # of an earlier process, whose serials began as ours do
            return

    async def _advance(self, pod: Object, now: datetime) -> list[datetime]:
        """What is due of one pod: to become ready, to be gone; and when the next thing is due."""
        meta = pod["metadata"]
        if pods.is_terminating(pod):
            ends = self._ends.setdefault(meta["uid"], now + self._termination)
            if ends > now:
                return [ends]
            del self._ends[meta["uid"]]
            await self._store.delete(POD, meta["namespace"], meta["name"], grace_seconds=0)
            return []
        seconds = pods.seconds_until_ready(pod, self._ready_seconds, self.never_ready)
        if seconds is None:
            # Also a pod that was ready: this is how one breaks.
            if pod.get("status") != pods.waiting_status(pod):
                await self._write_status(pod, {**pods.waiting_status(pod), pods.READY_AT: None})
            return []
        if pods.ready_since(pod) is not None:
            return []
        at = pods.created(pod) + timedelta(seconds=seconds)
        if at > now:
            return [at]
        await self._write_status(pod, pods.running_status(pod, now))
        return []

    async def _report(self, replica_set: Object, living: Sequence[Object]) -> list[datetime]:
        """The ReplicaSet's status; and when a ready pod will count as available."""
        meta, spec = replica_set["metadata"], replica_set.get("spec") or {}
        minimum = timedelta(seconds=int(spec.get("minReadySeconds") or 0))
        now = self._clock.now()
        ready = [since for since in map(pods.ready_since, living) if since is not None]
        available_at = [since + minimum for since in ready]
        status = {
            "replicas": len(living),
            "fullyLabeledReplicas": len(living),
            "readyReplicas": len(ready),
            "availableReplicas": sum(at <= now for at in available_at),
            "observedGeneration": meta.get("generation", 1),
        }
        if replica_set.get("status") != status:
            await self._write_status(replica_set, status)
        return [at for at in available_at if at > now]

    async def _write_status(self, obj: Object, status: Object) -> None:
        kind, meta = KINDS[obj["kind"]], obj["metadata"]
        try:
            await self._store.merge_patch(
                kind, meta["namespace"], meta["name"], {"status": status}, status=True
            )
        except NotFound:
            return  # deleted meanwhile

    def _living(self) -> dict[str, list[Object]]:
        """The pods that are not terminating, by the uid of their controller."""
        living: dict[str, list[Object]] = {}
        for pod in self._store.peek_all("Pod"):
            if not pods.is_terminating(pod):
                living.setdefault(pods.owner_of(pod), []).append(pod)
        return living

    def _living_of(self, uid: str) -> list[Object]:
        return [pod for pod in self._store.peek_owned("Pod", uid) if not pods.is_terminating(pod)]
