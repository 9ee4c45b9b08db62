"""The demo's control plane: keeps a real Envoy in step with the objects in the cluster, as istiod does.

It follows the VirtualService (weights), the DestinationRule (which pods a subset selects) and the
ReplicaSets (which pods are ready), and writes down when each weight was in force in the proxy.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from agent.api.meta import Object
from agent.clock import Clock
from agent.cluster.port import KINDS, Cluster, Kind
from agent.demo import translate
from agent.demo.envoy import Envoy, envoy_running
from agent.demo.translate import Endpoint
from agent.errors import Gone, Invalid, NotFound, Refused, Unavailable

RETRY_SECONDS = 0.2
Endpoints = dict[translate.Cluster, tuple[Endpoint, ...]]


class Names(msgspec.Struct, frozen=True):
    """The objects to follow."""

    namespace: str
    virtual_service: str
    destination_rule: str
    canary_subset: str = "canary"


class InForce(msgspec.Struct, frozen=True):
    """A state of the routes as the proxy had it.

    Attributes:
        weight: the canary's share in percent.
        resource_version: of the VirtualService.
        seen: monotonic seconds when the change arrived here.
        since: monotonic seconds when Envoy said that it uses it.
        at: the same in wall time.
    """

    weight: int
    resource_version: str
    seen: float
    since: float
    at: datetime


class Mesh:
    """The followed objects and the proxy; made by `mesh_running`.

    Attributes:
        history: what was in force, oldest first.
        problem: why the newest objects could not be translated; "" when they are in force.
    """

    def __init__(
        self, cluster: Cluster, clock: Clock, names: Names, application: Mapping[str, Endpoint]
    ) -> None:
        self._cluster = cluster
        self._clock = clock
        self._names = names
        self._application = application
        self._objects: dict[tuple[str, str], Object] = {}
        self._wake = asyncio.Event()
        self._seen = clock.monotonic()
        self._changed = asyncio.Condition()
        self._serial = 0
        self._in_use: Endpoints = {}
        self._routed = ""
        self.history: list[InForce] = []
        self.problem = ""

    @contextlib.asynccontextmanager
    async def running(self, directory: Path | None) -> AsyncIterator[Envoy]:
        """Start the proxy on what the cluster holds now, and follow until the context is left."""
        versions = {kind.kind: await self._list(kind) for kind in self._kinds()}
        service = self._service()
        version = service["metadata"].get("resourceVersion", "0")
        self._in_use = self._endpoints()
        routes = translate.route_configuration(service, version)
        async with envoy_running(
            routes, self._in_use, version=version, directory=directory
        ) as envoy:
            self._routed = version
            self._record(service)
            tasks = [asyncio.create_task(self._apply_changes(envoy), name="mesh-apply")]
            tasks += [
                asyncio.create_task(
                    self._follow(kind, versions[kind.kind]), name=f"mesh-{kind.plural}"
                )
                for kind in self._kinds()
            ]
            try:
                yield envoy
            finally:
                for task in tasks:
                    task.cancel()
                ended = await asyncio.gather(*tasks, return_exceptions=True)
            for error in ended:
                if isinstance(error, Exception):
                    raise error

    @property
    def weight(self) -> int:
        """The canary's share that is in force."""
        return self.history[-1].weight

    async def until_weight(self, weight: int, *, within_seconds: float) -> InForce:
        """Wait until the canary's share is `weight` in the proxy; Unavailable when it is not in time."""
        try:
            async with asyncio.timeout(within_seconds), self._changed:
                await self._changed.wait_for(lambda: self.weight == weight)
        except TimeoutError:
            raise Unavailable(
                f"the proxy's canary weight is {self.weight}, not {weight}, after {within_seconds:g} s"
                + (f": {self.problem}" if self.problem else "")
            ) from None
        return self.history[-1]

    def _kinds(self) -> tuple[Kind, ...]:
        return KINDS["VirtualService"], KINDS["DestinationRule"], KINDS["ReplicaSet"]

    async def _list(self, kind: Kind) -> str:
        listing = await self._cluster.list(kind, self._names.namespace)
        for place in [place for place in self._objects if place[0] == kind.kind]:
            del self._objects[place]
        for obj in listing.items:
            self._objects[kind.kind, obj["metadata"]["name"]] = obj
        self._notice()
        return listing.resource_version

    async def _follow(self, kind: Kind, version: str) -> None:
        """List and watch for ever; a lost connection or a version too old means to list again."""
        while True:
            try:
                watch = self._cluster.watch(kind, self._names.namespace, resource_version=version)
                async for event in watch:
                    version = event.object["metadata"]["resourceVersion"]
                    if event.type == "BOOKMARK":
                        continue
                    place = (kind.kind, event.object["metadata"]["name"])
                    if event.type == "DELETED":
                        self._objects.pop(place, None)
                    else:
                        self._objects[place] = event.object
                    self._notice()
            except (Gone, Unavailable):
                await self._clock.sleep(RETRY_SECONDS)
                with contextlib.suppress(Unavailable):
                    version = await self._list(kind)

    def _notice(self) -> None:
        if not self._wake.is_set():
            self._seen = self._clock.monotonic()
            self._wake.set()

    async def _apply_changes(self, envoy: Envoy) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._apply(envoy)
            except (Refused, Invalid, NotFound) as error:
                self.problem = str(error)
            else:
                self.problem = ""
            async with self._changed:
                self._changed.notify_all()

    async def _apply(self, envoy: Envoy) -> None:
        """Make before break: new pods first, then routes, and only then pods that go."""
        service = self._service()
        version = service["metadata"].get("resourceVersion", "0")
        wanted = self._endpoints()
        grown = {
            cluster: tuple(_union(self._in_use.get(cluster, ()), listed))
            for cluster, listed in wanted.items()
        }
        await self._write_endpoints(envoy, grown)
        if version != self._routed:
            envoy.write_routes(translate.route_configuration(service, version), version)
            await envoy.applied(version)
            self._routed = version
            self._record(service)
        await self._write_endpoints(envoy, wanted)

    async def _write_endpoints(self, envoy: Envoy, wanted: Endpoints) -> None:
        changed = [c for c, listed in wanted.items() if self._in_use.get(c, ()) != listed]
        self._serial += 1
        for cluster in changed:
            envoy.write_endpoints(cluster, wanted[cluster], f"e{self._serial}")
        for cluster in changed:
            await envoy.endpoints_applied(cluster, f"e{self._serial}")
            self._in_use[cluster] = wanted[cluster]

    def _record(self, service: Object) -> None:
        self.history.append(
            InForce(
                weight=translate.share(service, self._names.canary_subset),
                resource_version=self._routed,
                seen=self._seen,
                since=self._clock.monotonic(),
                at=self._clock.now(),
            )
        )

    def _service(self) -> Object:
        name = self._names.virtual_service
        found = self._objects.get(("VirtualService", name))
        if found is None:
            raise NotFound(f"VirtualService {self._names.namespace}/{name}")
        return found

    def _endpoints(self) -> Endpoints:
        """Ready pods by cluster, from the subset's labels."""
        rule = self._objects.get(("DestinationRule", self._names.destination_rule)) or {}
        labels = {
            subset["name"]: subset.get("labels") or {}
            for subset in (rule.get("spec") or {}).get("subsets") or []
        }
        return {
            cluster: tuple(self._ready(labels[cluster.subset])) if cluster.subset in labels else ()
            for cluster in translate.clusters_of(self._service())
        }

    def _ready(self, labels: Mapping[str, str]) -> list[Endpoint]:
        found = []
        for (kind, _), obj in sorted(self._objects.items()):
            if kind != "ReplicaSet":
                continue
            template: dict[str, Any] = obj["spec"].get("template") or {}
            own = (template.get("metadata") or {}).get("labels") or {}
            ready = (obj.get("status") or {}).get("readyReplicas") or 0
            image = ((template.get("spec") or {}).get("containers") or [{}])[0].get("image", "")
            if ready and image in self._application and labels.items() <= own.items():
                found.append(msgspec.structs.replace(self._application[image], pods=ready))
        return sorted(found)


def _union(first: Sequence[Endpoint], second: Sequence[Endpoint]) -> list[Endpoint]:
    """All endpoints of both, with the second's number of pods."""
    listed = {(item.host, item.port): item for item in (*first, *second)}
    return sorted(listed.values())


@contextlib.asynccontextmanager
async def mesh_running(
    cluster: Cluster,
    clock: Clock,
    names: Names,
    application: Mapping[str, Endpoint],
    *,
    directory: Path | None = None,
) -> AsyncIterator[tuple[Mesh, Envoy]]:
    """A proxy that follows the cluster's objects. The VirtualService must exist.

    Args:
        application: image -> where its pods listen, and their version.
        directory: for Envoy's files and log; a temporary one by default.
    """
    mesh = Mesh(cluster, clock, names, application)
    async with mesh.running(directory) as envoy:
        yield mesh, envoy
