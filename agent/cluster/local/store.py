"""A Kubernetes API server in one process, as far as an agent can tell the difference.

Objects are immutable once stored: every write makes new ones, so what is handed out may be shared.
Resource versions are one counter for the whole store, as in etcd.
"""

import asyncio
import builtins
import copy
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final, Literal, NamedTuple

from agent.api.meta import Object
from agent.api.times import format_time
from agent.clock import Clock
from agent.cluster.local import patches, selectors
from agent.cluster.local.snapshot import Snapshot
from agent.cluster.port import KINDS, Kind, Listing, WatchEvent
from agent.errors import AlreadyExists, Conflict, Gone, Invalid, NotFound

Place = tuple[str, str, str]
"""Kind, namespace ("" for cluster scope), name."""

Verb = Literal["create", "patch", "status", "delete"]
Fault = Callable[[Literal["before", "after"], Verb, str, str, str], None]
"""Called around every write with kind, namespace and name; may raise any error of agent.errors."""

HISTORY: Final = 10_000
"""Changes that a watch can go back; older ones are 410 Gone."""
WATCH_SECONDS: Final = 300.0
WITHOUT_STATUS: Final = frozenset({"ConfigMap", "Secret", "Event", "Lease"})
"""Kinds that have no status subresource in a real API server."""


class Change(NamedTuple):
    version: int
    event: WatchEvent
    place: Place
    before: Object | None


class LocalCluster:
    """agent.cluster.port.Cluster in memory.

    Args:
        snapshot: where to keep the objects; None keeps them in memory only.
        fault: see Fault.
        history: how many changes a watch can go back.
        without_status: kinds whose status is an ordinary field. Argo's CRDs differ by version here.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        snapshot: Snapshot | None = None,
        fault: Fault | None = None,
        without_status: frozenset[str] = WITHOUT_STATUS,
        history: int = HISTORY,
    ) -> None:
        self._clock = clock
        self._snapshot = snapshot
        self.fault = fault
        self._without_status = without_status
        self._objects: dict[str, dict[tuple[str, str], Object]] = {}
        self._history: deque[Change] = deque(maxlen=history)
        self._version = 1
        self._oldest = 1
        self._changed = asyncio.Condition()
        self._wakers: set[asyncio.Event] = set()
        if snapshot is not None:
            for obj in snapshot.load():
                self._restore(obj)

    # What the port asks for.

    async def get(self, kind: Kind, namespace: str, name: str, *, urgent: bool = False) -> Object:
        del urgent
        return self._find(kind, namespace, name)

    async def list(self, kind: Kind, namespace: str | None = None, *, labels: str = "") -> Listing:
        accepts = selectors.parse(labels)
        items = tuple(
            obj
            for (where, _), obj in sorted(self._objects.get(kind.kind, {}).items())
            if _in(kind, namespace, where) and accepts(_labels(obj))
        )
        return Listing(items, str(self._version))

    async def watch(
        self, kind: Kind, namespace: str | None = None, *, resource_version: str, labels: str = ""
    ) -> AsyncIterator[WatchEvent]:
        accepts = selectors.parse(labels)
        try:
            seen = int(resource_version)
        except ValueError:
            raise Invalid(f"resource version {resource_version!r} is not a number") from None
        waker = asyncio.Event()
        self._wakers.add(waker)
        ends = self._clock.monotonic() + WATCH_SECONDS
        try:
            while True:
                if seen < self._oldest - 1:
                    raise Gone(f"resource version {seen} is too old, the oldest is {self._oldest}")
                # Before the yields: what is stored while the receiver works must not be skipped.
                waker.clear()
                newest = self._version
                for change in self._since(seen):
                    seen = change.version
                    if change.place[0] != kind.kind or not _in(kind, namespace, change.place[1]):
                        continue
                    event = _seen_by(change, accepts)
                    if event is not None:
                        yield event
                seen = max(seen, newest)
                left = ends - self._clock.monotonic()
                if left <= 0:
                    return
                try:
                    await asyncio.wait_for(waker.wait(), min(left, 60.0))
                except TimeoutError:
                    yield _bookmark(kind, self._version)
        finally:
            self._wakers.discard(waker)

    async def create(self, kind: Kind, obj: Object) -> Object:
        meta = dict(obj.get("metadata") or {})
        if not meta.get("name"):
            if not meta.get("generateName"):
                raise Invalid("metadata.name: required")
            meta["name"] = f"{meta['generateName']}{uuid.uuid4().hex[:5]}"
        namespace = (meta.get("namespace") or "default") if kind.namespaced else ""
        place = (kind.kind, namespace, str(meta["name"]))
        with self._faults("create", place):
            if (namespace, meta["name"]) in self._objects.get(kind.kind, {}):
                raise AlreadyExists(f"{kind.plural} {meta['name']!r} already exists")
            if kind.namespaced:
                meta["namespace"] = namespace
            meta |= {
                "uid": str(uuid.uuid4()),
                "generation": 1,
                "creationTimestamp": format_time(self._clock.now()),
            }
            meta.pop("resourceVersion", None)
            new = {
                "apiVersion": kind.api_version,
                "kind": kind.kind,
                **copy.deepcopy(obj),
                "metadata": meta,
            }
            if self.has_status(kind) and kind.kind != "Pod":
                new.pop("status", None)
            return self._store(place, None, new)

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
            kind, namespace, name, lambda old: patches.merge(old, copy.deepcopy(patch)), status
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
        return self._patched(
            kind, namespace, name, lambda old: patches.apply(old, copy.deepcopy(patch)), status
        )

    async def replace(
        self, kind: Kind, namespace: str, name: str, obj: Object, *, status: bool = False
    ) -> Object:
        """PUT, for clients of the facade; the agent itself only patches."""
        return self._patched(kind, namespace, name, lambda _old: copy.deepcopy(obj), status)

    async def delete(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        *,
        uid: str = "",
        propagation: str = "Background",
    ) -> None:
        place = (kind.kind, namespace if kind.namespaced else "", name)
        with self._faults("delete", place):
            old = self._find(kind, namespace, name)
            if uid and old["metadata"]["uid"] != uid:
                raise Conflict(
                    f"{kind.plural} {name!r} has uid {old['metadata']['uid']}, not {uid}"
                )
            self._remove(place, old)
            if propagation != "Orphan":
                self._collect(old["metadata"]["uid"])

    async def aclose(self) -> None:
        if self._snapshot is not None:
            self._snapshot.close()

    # For the workloads' simulation and for tests: the same store without waiting.

    def now_version(self) -> int:
        """The newest resource version."""
        return self._version

    def peek(self, kind: str, namespace: str, name: str) -> Object | None:
        """An object as it stands now, None when there is none."""
        return self._objects.get(kind, {}).get((namespace, name))

    def peek_all(self, kind: str) -> Iterator[Object]:
        """All objects of a kind as they stand now."""
        yield from list(self._objects.get(kind, {}).values())

    def waker(self) -> asyncio.Event:
        """An event that is set at every change until `forget` is called with it."""
        event = asyncio.Event()
        self._wakers.add(event)
        return event

    def forget(self, waker: asyncio.Event) -> None:
        self._wakers.discard(waker)

    # How it works.

    def _find(self, kind: Kind, namespace: str, name: str) -> Object:
        where = namespace if kind.namespaced else ""
        found = self._objects.get(kind.kind, {}).get((where, name))
        if found is None:
            raise NotFound(
                f"{kind.plural} {name!r} not found" + (f" in namespace {where!r}" if where else "")
            )
        return found

    def has_status(self, kind: Kind) -> bool:
        """Whether the kind has a status subresource here."""
        return kind.kind not in self._without_status

    def _patched(
        self, kind: Kind, namespace: str, name: str, change: Callable[[Object], Any], status: bool
    ) -> Object:
        place = (kind.kind, namespace if kind.namespaced else "", name)
        with self._faults("status" if status else "patch", place):
            old = self._find(kind, namespace, name)
            new = change(old)
            if not isinstance(new, dict) or not isinstance(new.get("metadata"), dict):
                raise Invalid("the patched document is not an object with metadata")
            wanted = new["metadata"].get("resourceVersion")
            current = old["metadata"]["resourceVersion"]
            if wanted not in (None, "", current):
                raise Conflict(
                    f"Operation cannot be fulfilled on {kind.plural} {name!r}: the object has been modified"
                    f" ({wanted} is not {current})"
                )
            asked_uid = new["metadata"].get("uid")
            if asked_uid not in (None, old["metadata"]["uid"]):
                raise Conflict(f"{kind.plural} {name!r}: precondition failed: uid {asked_uid}")
            return self._store(place, old, self._allowed(kind, old, new, status))

    def _allowed(self, kind: Kind, old: Object, new: Object, status: bool) -> Object:
        """The part of a write that its door may change."""
        if status and self.has_status(kind):
            return (
                {**old, "status": new["status"]}
                if new.get("status") is not None
                else _less(old, "status")
            )
        if self.has_status(kind):
            new = _less(new, "status")
            if "status" in old:
                new = {**new, "status": old["status"]}
        kept = {
            field: old["metadata"][field]
            for field in (
                "name",
                "namespace",
                "uid",
                "creationTimestamp",
                "generation",
                "resourceVersion",
            )
            if field in old["metadata"]
        }
        meta = {name: value for name, value in new["metadata"].items() if value not in ({}, None)}
        return {
            **new,
            "apiVersion": old["apiVersion"],
            "kind": old["kind"],
            "metadata": {**meta, **kept},
        }

    def _store(self, place: Place, old: Object | None, new: Object) -> Object:
        if old is not None and _content(old) == _content(new):
            return old  # no difference, no new version, no watch event: as etcd3 does
        meta = dict(new["metadata"])
        if old is not None and _spec(old) != _spec(new):
            meta["generation"] = int(old["metadata"].get("generation", 1)) + 1
        self._version += 1
        meta["resourceVersion"] = str(self._version)
        stored = {**new, "metadata": meta}
        self._objects.setdefault(place[0], {})[place[1], place[2]] = stored
        self._publish("MODIFIED" if old is not None else "ADDED", place, stored, old)
        if self._snapshot is not None:
            self._snapshot.put(place, stored)
        return stored

    def _remove(self, place: Place, old: Object) -> None:
        del self._objects[place[0]][place[1], place[2]]
        self._version += 1
        last = {**old, "metadata": {**old["metadata"], "resourceVersion": str(self._version)}}
        self._publish("DELETED", place, last, old)
        if self._snapshot is not None:
            self._snapshot.delete(place)

    def _collect(self, owner_uid: str) -> None:
        """Delete what the deleted object owned, as the garbage collector would."""
        owned = [
            ((kind, *where), obj)
            for kind, objects in self._objects.items()
            for where, obj in objects.items()
            if any(
                ref.get("uid") == owner_uid for ref in obj["metadata"].get("ownerReferences") or ()
            )
        ]
        for place, obj in owned:
            if self.peek(*place) is not None:
                self._remove(place, obj)
                self._collect(obj["metadata"]["uid"])

    def _publish(
        self,
        kind: Literal["ADDED", "MODIFIED", "DELETED"],
        place: Place,
        obj: Object,
        before: Object | None,
    ) -> None:
        if len(self._history) == self._history.maxlen:
            self._oldest = self._history[1].version
        self._history.append(Change(self._version, WatchEvent(kind, obj), place, before))
        for waker in self._wakers:
            waker.set()

    def _since(self, version: int) -> builtins.list[Change]:
        newer: deque[Change] = deque()
        for change in reversed(self._history):
            if change.version <= version:
                break
            newer.appendleft(change)
        return [*newer]

    def _restore(self, obj: Object) -> None:
        kind = KINDS.get(obj["kind"])
        namespace = obj["metadata"].get("namespace", "") if kind is None or kind.namespaced else ""
        self._objects.setdefault(obj["kind"], {})[namespace, obj["metadata"]["name"]] = obj
        self._version = max(self._version, int(obj["metadata"]["resourceVersion"]))
        self._oldest = self._version + 1

    def _faults(self, verb: Verb, place: Place) -> "_Faults":
        return _Faults(self.fault, verb, place)


class _Faults:
    """Asks the fault hook before a write and, when it went through, after it."""

    def __init__(self, fault: Fault | None, verb: Verb, place: Place) -> None:
        self._fault, self._verb, self._place = fault, verb, place

    def __enter__(self) -> None:
        if self._fault is not None:
            self._fault("before", self._verb, *self._place)

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if self._fault is not None and kind is None:
            self._fault("after", self._verb, *self._place)


def _in(kind: Kind, wanted: str | None, namespace: str) -> bool:
    return wanted is None or not kind.namespaced or wanted == namespace


def _labels(obj: Object) -> dict[str, str]:
    return obj["metadata"].get("labels") or {}


def _less(obj: Object, field: str) -> Object:
    return {name: value for name, value in obj.items() if name != field}


def _spec(obj: Object) -> Object:
    return {name: value for name, value in obj.items() if name not in ("metadata", "status")}


def _content(obj: Object) -> Object:
    meta = {
        name: value
        for name, value in obj["metadata"].items()
        if name not in ("resourceVersion", "generation")
    }
    return {**obj, "metadata": meta}


def _seen_by(change: Change, accepts: selectors.Predicate) -> WatchEvent | None:
    """The change as a watcher with a selector sees it: what leaves the selection looks deleted."""
    now = accepts(_labels(change.event.object))
    before = change.before is not None and accepts(_labels(change.before))
    if change.event.type == "DELETED":
        return change.event if before or now else None
    if now:
        return WatchEvent("MODIFIED" if before else "ADDED", change.event.object)
    return WatchEvent("DELETED", change.event.object) if before else None


def _bookmark(kind: Kind, version: int) -> WatchEvent:
    meta = {"resourceVersion": str(version), "creationTimestamp": None}
    return WatchEvent(
        "BOOKMARK", {"kind": kind.kind, "apiVersion": kind.api_version, "metadata": meta}
    )
