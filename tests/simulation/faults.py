"""One process's connection to the store: latency, lost races, outages, and the process's own death."""

import builtins
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from agent.api.meta import Object
from agent.clock import Clock
from agent.cluster.local.store import LocalCluster
from agent.cluster.port import Kind, Listing, WatchEvent
from agent.errors import Conflict, Unavailable

T = TypeVar("T")


class Crash(BaseException):
    """The process died here. Not an Exception: nothing may catch it and go on."""


@dataclass(frozen=True, kw_only=True)
class Weather:
    """How bad it is. Probabilities are per request; latencies in seconds."""

    latency: tuple[float, float] = (0.001, 0.03)
    conflict: float = 0.0
    unavailable: float = 0.0
    lost_answer: float = 0.0
    """The write is stored, its answer is not seen."""
    drops: frozenset[str] = frozenset()
    """Members of a Rollout's status that the server prunes, as with an older CRD."""
    watch_lag: tuple[float, float] = (0.0, 0.05)


CALM = Weather()


class Connection:
    """agent.cluster.port.Cluster for one process."""

    def __init__(
        self,
        store: LocalCluster,
        clock: Clock,
        rng: random.Random,
        weather: Weather,
        *,
        writes: Callable[[Kind, str], None] = lambda *_: None,
        wrote: Callable[["Connection", str, Kind, str, str], None] = lambda *_: None,
        read: Callable[["Connection", Kind, Object], None] = lambda *_: None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._rng = rng
        self._weather = weather
        self._writes = writes
        self._wrote = wrote
        self._read = read
        self.dead = False

    async def get(self, kind: Kind, namespace: str, name: str, *, urgent: bool = False) -> Object:
        await self._there()
        if self._rng.random() < self._weather.unavailable:
            raise Unavailable("simulated: no answer")
        obj = await self._store.get(kind, namespace, name)
        self._read(self, kind, obj)
        await self._back()
        return obj

    async def list(
        self, kind: Kind, namespace: str | None = None, *, labels: str = "", fields: str = ""
    ) -> Listing:
        await self._there()
        return await self._store.list(kind, namespace, labels=labels, fields=fields)

    async def watch(
        self, kind: Kind, namespace: str | None = None, *, resource_version: str, labels: str = ""
    ) -> AsyncIterator[WatchEvent]:
        async for event in self._store.watch(
            kind, namespace, resource_version=resource_version, labels=labels
        ):
            await self._clock.sleep(self._rng.uniform(*self._weather.watch_lag))
            if self.dead:
                raise Crash
            yield event

    async def create(self, kind: Kind, obj: Object) -> Object:
        name, namespace = obj["metadata"]["name"], obj["metadata"].get("namespace", "")
        return await self._write(
            "create", kind, namespace, name, lambda: self._store.create(kind, obj)
        )

    async def merge_patch(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        patch: dict[str, Any],
        *,
        status: bool = False,
        urgent: bool = False,
    ) -> Object:
        if status and self._weather.drops:
            kept = {n: v for n, v in patch["status"].items() if n not in self._weather.drops}
            patch = {**patch, "status": kept}
        return await self._write(
            "status" if status else "patch",
            kind,
            namespace,
            name,
            lambda: self._store.merge_patch(kind, namespace, name, patch, status=status),
        )

    async def json_patch(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        patch: builtins.list[dict[str, Any]],
        *,
        urgent: bool = False,
    ) -> Object:
        return await self._write(
            "patch",
            kind,
            namespace,
            name,
            lambda: self._store.json_patch(kind, namespace, name, patch),
        )

    async def delete(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        *,
        uid: str = "",
        propagation: str = "Background",
    ) -> None:
        await self._write(
            "delete",
            kind,
            namespace,
            name,
            lambda: self._store.delete(kind, namespace, name, uid=uid, propagation=propagation),
        )

    async def aclose(self) -> None:
        """Nothing to close: the store outlives the process."""

    async def _write(
        self, verb: str, kind: Kind, namespace: str, name: str, call: Callable[[], Awaitable[T]]
    ) -> T:
        await self._there()
        weather, draw = self._weather, self._rng.random
        if draw() < weather.unavailable:
            raise Unavailable("simulated: no answer")
        if kind.kind != "Event" and verb != "create" and draw() < weather.conflict:
            raise Conflict("simulated: somebody was faster")
        self._writes(kind, name)
        answer = await call()
        self._wrote(self, verb, kind, namespace, name)
        if draw() < weather.lost_answer:
            raise Unavailable("simulated: the answer was lost")
        await self._back()
        return answer

    async def _there(self) -> None:
        await self._pause()

    async def _back(self) -> None:
        await self._pause()

    async def _pause(self) -> None:
        await self._clock.sleep(self._rng.uniform(*self._weather.latency) / 2)
        if self.dead:
            raise Crash
