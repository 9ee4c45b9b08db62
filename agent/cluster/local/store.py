"""A Kubernetes API server in one process, as far as an agent can tell the difference.

Objects are immutable once stored: every write makes new ones, and what the port's methods hand out are
copies. Resource versions are one counter for the whole store, as in etcd. Differences to a real API
server: objects are not checked against schemas, defaults are not filled in, and a namespace need not be
created before it is used.
"""

import asyncio
import builtins
import uuid
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Literal

from agent.api.meta import Object
from agent.api.times import format_time
from agent.clock import Clock
from agent.cluster.local import deletion, objects, patches, selectors, strategic
from agent.cluster.local.deletion import Deletion
from agent.cluster.local.history import Change
from agent.cluster.local.snapshot import Place, Snapshot
from agent.cluster.local.table import Table
from agent.cluster.port import Kind, Listing, WatchEvent
from agent.errors import AlreadyExists, Conflict, Gone, Invalid, NotFound

Verb = Literal["create", "patch", "status", "delete"]
Fault = Callable[[Literal["before", "after"], Verb, str, str, str], None]
"""Called around every write with kind, namespace and name; may raise any error of agent.errors."""

HISTORY: Final = 10_000
"""Changes of a kind that a watch can go back; older ones are 410 Gone."""
WATCH_SECONDS: Final = 300.0
BOOKMARK_SECONDS: Final = 60.0
WITHOUT_STATUS: Final = frozenset(
    {
        "ConfigMap", "Secret", "Event", "Lease",
        "AnalysisRun", "Experiment", "AnalysisTemplate", "ClusterAnalysisTemplate",
    }
)  # fmt: skip
"""Kinds without a status subresource: built-in ones, and those of Argo's own CRDs."""


def _random_uid() -> str:
    return str(uuid.uuid4())


class LocalCluster:
    """agent.cluster.port.Cluster in memory.

    Args:
        snapshot: where to keep the objects; None keeps them in memory only.
        fault: see Fault; may be set and cleared while the store lives.
        history: how many changes of each kind a watch can go back.
        without_status: kinds whose status is an ordinary field. Argo's CRDs differ by version here.
        new_uid: gives uids; a seeded one makes runs repeatable.

    Attributes:
        grace_seconds: how long a deleted object of a kind stays, marked, before it is gone.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        snapshot: Snapshot | None = None,
        fault: Fault | None = None,
        without_status: frozenset[str] = WITHOUT_STATUS,
        history: int = HISTORY,
        new_uid: Callable[[], str] = _random_uid,
    ) -> None:
        self.fault = fault
        self.grace_seconds: dict[str, float] = {}
        self._clock = clock
        self._without_status = without_status
        self._new_uid = new_uid
        self._table = Table(snapshot, history)
        self._history = self._table.history
        self._deletion = Deletion(self._table, clock, self.grace_seconds)

    # What the port asks for.

    async def get(self, kind: Kind, namespace: str, name: str, *, urgent: bool = False) -> Object:
        del urgent
        return objects.copied(self._find(kind, namespace, name))

    async def list(
        self, kind: Kind, namespace: str | None = None, *, labels: str = "", fields: str = ""
    ) -> Listing:
        found = self.select(kind, namespace, labels=labels, fields=fields)
        return Listing(tuple(objects.copied(obj) for obj in found), str(self._table.version))

    async def watch(
        self,
        kind: Kind,
        namespace: str | None = None,
        *,
        resource_version: str,
        labels: str = "",
        fields: str = "",
    ) -> AsyncGenerator[WatchEvent, None]:
        """As the port's; from version "" or "0" it begins with what there is, and a marked bookmark."""
        accepts = selectors.parse(labels, fields)
        ends = self._clock.monotonic() + WATCH_SECONDS
        waker = self._history.waker(kind.kind)
        try:
            if resource_version in ("", "0"):
                found = self.select(kind, namespace, labels=labels, fields=fields)
                seen = self._table.version
                for obj in found:
                    yield WatchEvent("ADDED", objects.copied(obj))
                yield bookmark(kind, seen, initial=True)
            else:
                seen = self._begin(resource_version)
            while True:
                # Before the yields: what is stored while the receiver works must not be skipped.
                waker.clear()
                changes, seen = self._history.since(kind.kind, seen), self._table.version
                for change in changes:
                    event = _seen_by(change, kind, namespace, accepts)
                    if event is not None:
                        yield event
                left = ends - self._clock.monotonic()
                if left <= 0:
                    yield bookmark(kind, seen)
                    return
                try:
                    # Not wait_for: before Python 3.12 it loses a cancellation that comes with the event.
                    async with asyncio.timeout(min(left, BOOKMARK_SECONDS)):
                        await waker.wait()
                except TimeoutError:
                    if not waker.is_set():
                        # Nothing of this kind happened: everything until now has been seen.
                        seen = self._table.version
                        yield bookmark(kind, seen)
        finally:
            self._history.forget(waker)

    async def create(self, kind: Kind, obj: Object) -> Object:
        obj = objects.copied(obj)
        meta = obj["metadata"] = obj.get("metadata") or {}
        if not meta.get("name"):
            if not meta.get("generateName"):
                raise Invalid("metadata.name: name or generateName is required")
            meta["name"] = f"{meta['generateName']}{self._new_uid()[:5]}"
        if kind.namespaced:
            meta["namespace"] = meta.get("namespace") or "default"
        place = self._place(kind, str(meta.get("namespace") or ""), str(meta["name"]))
        with self._faults("create", place):
            if self._table.peek(*place) is not None:
                raise AlreadyExists(f'{_resource(kind)} "{meta["name"]}" already exists')
            now = format_time(self._clock.now())
            new = objects.created(
                kind, obj, uid=self._new_uid(), now=now, has_status=self.has_status(kind)
            )
            stored = self._table.put(place, new)
        self._deletion.collect_orphan(place, stored)
        return objects.copied(stored)

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
        del urgent
        return self._patched(
            kind, namespace, name, lambda old: patches.merge(old, objects.copied(patch)), status
        )

    async def json_patch(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        patch: builtins.list[dict[str, Any]],
        *,
        status: bool = False,
        urgent: bool = False,
    ) -> Object:
        del urgent
        operations = objects.copied({"patch": patch})["patch"]
        return self._patched(
            kind, namespace, name, lambda old: patches.apply(old, operations), status
        )

    async def delete(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        *,
        uid: str = "",
        propagation: str = "Background",
        grace_seconds: float | None = None,
    ) -> None:
        place = self._place(kind, namespace, name)
        with self._faults("delete", place):
            old = self._find(kind, namespace, name)
            if uid and old["metadata"]["uid"] != uid:
                raise Conflict(
                    f"{_resource(kind)} {name!r}: its uid is {old['metadata']['uid']}, not {uid}"
                )
            if propagation not in ("Background", "Foreground", "Orphan"):
                raise Invalid(
                    f"propagationPolicy: {propagation!r} is not one of Background, Foreground, Orphan"
                )
            self._deletion.delete(place, old, propagation, grace_seconds)

    async def aclose(self) -> None:
        self._table.close()

    # For other clients of the facade; the agent itself needs only the port.

    async def strategic_patch(
        self, kind: Kind, namespace: str, name: str, patch: Object, *, status: bool = False
    ) -> Object:
        """Kubernetes' own kind of merge patch, that knows the keys of some lists."""
        return self._patched(
            kind, namespace, name, lambda old: strategic.merge(old, objects.copied(patch)), status
        )

    async def replace(
        self, kind: Kind, namespace: str, name: str, obj: Object, *, status: bool = False
    ) -> Object:
        """PUT of the whole object."""
        return self._patched(kind, namespace, name, lambda _old: objects.copied(obj), status)

    # For simulations, the facade and tests: the same store without waiting and without copies.

    def now_version(self) -> int:
        """The newest resource version."""
        return self._table.version

    def peek(self, kind: str, namespace: str, name: str) -> Object | None:
        """An object as it stands now, None when there is none. Not to be changed."""
        return self._table.peek(kind, namespace, name)

    def peek_all(self, kind: str) -> Iterator[Object]:
        """All objects of a kind as they stand now. Not to be changed."""
        yield from self._table.all(kind)

    def peek_owned(self, kind: str, uid: str) -> Iterator[Object]:
        """The objects of a kind that have this owner. Not to be changed."""
        for place, obj in self._table.owned(uid):
            if place[0] == kind:
                yield obj

    def select(
        self, kind: Kind, namespace: str | None, *, labels: str = "", fields: str = ""
    ) -> builtins.list[Object]:
        """Objects by namespace and name, as the port lists them. Not to be changed."""
        accepts = selectors.parse(labels, fields)
        return [
            obj
            for obj in sorted(self._table.all(kind.kind), key=_address)
            if in_scope(kind, namespace, _address(obj)[0]) and accepts(obj)
        ]

    def remembers(self, kind: Kind, version: int) -> bool:
        """Whether a watch of the kind may begin at this version."""
        try:
            self._history.since(kind.kind, version)
        except Gone:
            return False
        return True

    def waker(self, *kinds: str) -> asyncio.Event:
        """An event that is set at every change of these kinds (all, when none is given) until `forget`."""
        return self._history.waker(*kinds)

    def forget(self, waker: asyncio.Event) -> None:
        """Do not set this event any more."""
        self._history.forget(waker)

    def has_status(self, kind: Kind) -> bool:
        """Whether the kind has a status subresource here."""
        return kind.kind not in self._without_status

    # How it works.

    def _place(self, kind: Kind, namespace: str, name: str) -> Place:
        return kind.kind, namespace if kind.namespaced else "", name

    def _find(self, kind: Kind, namespace: str, name: str) -> Object:
        found = self._table.peek(*self._place(kind, namespace, name))
        if found is None:
            raise NotFound(f'{_resource(kind)} "{name}" not found')
        return found

    def _begin(self, resource_version: str) -> int:
        try:
            version = int(resource_version)
        except ValueError:
            raise Invalid(f"resourceVersion: {resource_version!r} is not a number") from None
        if version > self._table.version:
            # Of a store that lived here before this one and was not kept.
            raise Gone(f"resource version {version} is ahead of the store, at {self.now_version()}")
        return version

    def _patched(
        self, kind: Kind, namespace: str, name: str, change: Callable[[Object], Any], status: bool
    ) -> Object:
        place = self._place(kind, namespace, name)
        with self._faults("status" if status else "patch", place):
            old = self._find(kind, namespace, name)
            new = change(old)
            if not isinstance(new, dict) or not isinstance(new.get("metadata"), dict):
                raise Invalid("metadata: the patched document is not an object with metadata")
            objects.check_preconditions(kind, old, new)
            new = objects.updated(old, new, status=status, has_status=self.has_status(kind))
            if deletion.is_released(old, new):
                return objects.copied(self._deletion.remove(place, new))
            return objects.copied(self._table.put(place, new))

    @contextmanager
    def _faults(self, verb: Verb, place: Place) -> Iterator[None]:
        """Asks the fault hook before a write and, when it went through, after it."""
        if self.fault is not None:
            self.fault("before", verb, *place)
        yield
        if self.fault is not None:
            self.fault("after", verb, *place)


def bookmark(kind: Kind, version: int, *, initial: bool = False) -> WatchEvent:
    """A watch event that says only how far the watch has come, or that the initial state is complete."""
    meta: Object = {"resourceVersion": str(version), "creationTimestamp": None}
    if initial:
        meta["annotations"] = {"k8s.io/initial-events-end": "true"}
    return WatchEvent(
        "BOOKMARK", {"kind": kind.kind, "apiVersion": kind.api_version, "metadata": meta}
    )


def _seen_by(
    change: Change, kind: Kind, namespace: str | None, accepts: selectors.Accepts
) -> WatchEvent | None:
    """The change as a watcher with a selector sees it: what leaves the selection looks deleted."""
    if not in_scope(kind, namespace, change.obj["metadata"].get("namespace", "")):
        return None
    now = change.type != "DELETED" and accepts(change.obj)
    before = change.before is not None and accepts(change.before)
    if not now and not before:
        return None
    seen: Literal["ADDED", "MODIFIED", "DELETED"] = (
        "DELETED" if not now else "MODIFIED" if before else "ADDED"
    )
    return WatchEvent(seen, objects.copied(change.obj))


def _resource(kind: Kind) -> str:
    return f"{kind.plural}.{kind.group}" if kind.group else kind.plural


def in_scope(kind: Kind, wanted: str | None, namespace: str) -> bool:
    """Whether an object of a namespace is meant by `namespace` of the port's list and watch."""
    return wanted is None or not kind.namespaced or wanted == namespace


def _address(obj: Object) -> tuple[str, str]:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]
