"""A cache of the cluster: list and watch, indexed by owner, ahead of the watch after our own writes.

An object never goes backwards: what a watch delivers is dropped when a newer version is known, whether
from the watch or from the answer to a write of ours. Resource versions are compared as integers per
object, which holds for etcd and for the local store.
"""

import asyncio
import random
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import structlog

from agent.api.meta import Object, Ref
from agent.clock import Clock
from agent.cluster.port import KINDS, Cluster, Kind, WatchEvent
from agent.errors import Forbidden, Gone, NotFound, SerinusError

log = structlog.get_logger(__name__)

OnChange = Callable[[Ref, Object | None, Object | None], None]
"""Called with reference, old and new object (None: absent) after every change; must not wait."""

BACKOFF_SECONDS: Final = (0.1, 10.0)
MISSING_SECONDS: Final = 30.0
"""How often a kind that the API server does not serve (or may not be listed) is asked for again."""
TOMBSTONES: Final = 4_096


class Cache:
    """The objects of some kinds, of some namespaces or all.

    Args:
        kinds: names of kinds in agent.cluster.port.KINDS.
        optional: kinds that the cluster may not serve (CRDs that are not installed): the cache counts as
            synced without them and keeps asking.
    """

    def __init__(
        self,
        cluster: Cluster,
        kinds: Sequence[str],
        clock: Clock,
        *,
        namespaces: Sequence[str] | None = None,
        optional: frozenset[str] = frozenset(),
    ) -> None:
        self._cluster = cluster
        self._kinds = tuple(KINDS[name] for name in kinds)
        self._clock = clock
        self._namespaces: tuple[str | None, ...] = tuple(namespaces) if namespaces else (None,)
        self._optional = optional
        self._objects: dict[Ref, Object] = {}
        self._by_kind: dict[str, dict[Ref, None]] = {}
        self._by_owner: dict[tuple[str, str], dict[Ref, None]] = {}
        self._gone: dict[Ref, int] = {}
        self._listeners: list[OnChange] = []
        self._unsynced: set[tuple[str, str | None]] = {
            (kind.kind, namespace) for kind in self._kinds for namespace in self._scopes(kind)
        }
        self.synced = asyncio.Event()
        if not self._unsynced:
            self.synced.set()

    # Reading.

    def get(self, ref: Ref) -> Object | None:
        """The object as it is known, None when it does not exist."""
        return self._objects.get(ref)

    def owned(self, kind: str, uid: str) -> tuple[Object, ...]:
        """The objects of a kind whose controller has this uid."""
        return tuple(self._objects[ref] for ref in self._by_owner.get((kind, uid), ()))

    def list(self, kind: str, namespace: str | None = None) -> tuple[Object, ...]:
        """The objects of a kind, of one namespace or all."""
        return tuple(
            self._objects[ref]
            for ref in self._by_kind.get(kind, ())
            if namespace is None or ref.namespace == namespace
        )

    def unsynced(self) -> tuple[str, ...]:
        """Kinds whose first list has not come in, for readiness."""
        return tuple(sorted({kind for kind, _ in self._unsynced}))

    def on_change(self, listener: OnChange) -> None:
        """Call `listener` after every change from now on."""
        self._listeners.append(listener)

    # Our own writes.

    def observe_write(self, obj: Object) -> None:
        """Show the API server's answer to a write at once, until the watch is as far."""
        self._put(obj)

    def observe_delete(self, ref: Ref) -> None:
        """Show an object as gone at once; a late event of an older version does not bring it back."""
        old = self._objects.get(ref)
        if old is not None:
            self._drop(ref, _version(old))

    # The loops.

    async def run(self) -> None:
        """Lists and watches until cancelled; a kind that fails is retried, the others go on."""
        async with asyncio.TaskGroup() as tasks:
            for kind in self._kinds:
                for namespace in self._scopes(kind):
                    tasks.create_task(
                        self._follow(kind, namespace), name=f"cache {kind.kind} {namespace or '*'}"
                    )

    def _scopes(self, kind: Kind) -> tuple[str | None, ...]:
        return self._namespaces if kind.namespaced else (None,)

    async def _follow(self, kind: Kind, namespace: str | None) -> None:
        version, wait = "", BACKOFF_SECONDS[0]
        while True:
            try:
                if not version:
                    version = await self._relist(kind, namespace)
                async for event in self._cluster.watch(kind, namespace, resource_version=version):
                    version = str(event.object["metadata"]["resourceVersion"])
                    wait = BACKOFF_SECONDS[0]
                    self._take(event)
                continue  # the API server ends a watch after some minutes
            except Gone:
                log.info("cache.relist", kind=kind.kind, namespace=namespace)
                version = ""
                continue
            except (NotFound, Forbidden) as error:
                version = ""
                self._missing(kind, namespace, error)
                await self._clock.sleep(MISSING_SECONDS if kind.kind in self._optional else wait)
            except SerinusError as error:
                log.warning("cache.retry", kind=kind.kind, namespace=namespace, error=str(error))
                await self._clock.sleep(random.uniform(0, wait))  # noqa: S311  # jitter, not a secret
            wait = min(wait * 2, BACKOFF_SECONDS[1])

    async def _relist(self, kind: Kind, namespace: str | None) -> str:
        listing = await self._cluster.list(kind, namespace)
        listed = {_ref(kind, obj) for obj in listing.items}
        for obj in listing.items:
            self._put(
                obj if "kind" in obj else {"apiVersion": kind.api_version, "kind": kind.kind, **obj}
            )
        known = [
            ref
            for ref in self._by_kind.get(kind.kind, ())
            if namespace is None or ref.namespace == namespace
        ]
        for ref in known:
            # Written by us after the list was taken: newer than the list, so it is not gone.
            if ref not in listed and _version(self._objects[ref]) <= int(
                listing.resource_version or 0
            ):
                self._drop(ref, int(listing.resource_version or 0))
        self._arrived(kind, namespace)
        return listing.resource_version

    def _missing(self, kind: Kind, namespace: str | None, error: SerinusError) -> None:
        optional = kind.kind in self._optional
        (log.info if optional else log.error)(
            "cache.kind_missing", kind=kind.kind, error=str(error)
        )
        if optional:
            self._arrived(kind, namespace)

    def _arrived(self, kind: Kind, namespace: str | None) -> None:
        self._unsynced.discard((kind.kind, namespace))
        if not self._unsynced:
            self.synced.set()

    def _take(self, event: WatchEvent) -> None:
        if event.type == "BOOKMARK":
            return
        if event.type == "DELETED":
            kind = KINDS[event.object["kind"]]
            ref = _ref(kind, event.object)
            old = self._objects.get(ref)
            if old is None or _version(old) <= _version(event.object):
                self._drop(ref, _version(event.object))
            return
        self._put(event.object)

    # One object.

    def _put(self, obj: Object) -> None:
        ref = _ref(KINDS[obj["kind"]], obj)
        old = self._objects.get(ref)
        version = _version(obj)
        if old is not None and _version(old) >= version:
            return
        if self._gone.get(ref, -1) >= version:
            return
        self._gone.pop(ref, None)
        new = _trimmed(obj)
        if old is not None:
            self._unindex(ref, old)
        self._objects[ref] = new
        self._by_kind.setdefault(ref.kind, {})[ref] = None
        for uid in _controllers(new):
            self._by_owner.setdefault((ref.kind, uid), {})[ref] = None
        self._tell(ref, old, new)

    def _drop(self, ref: Ref, version: int) -> None:
        self._gone[ref] = version
        while len(self._gone) > TOMBSTONES:
            del self._gone[next(iter(self._gone))]
        old = self._objects.pop(ref, None)
        if old is None:
            return
        self._unindex(ref, old)
        self._by_kind.get(ref.kind, {}).pop(ref, None)
        self._tell(ref, old, None)

    def _unindex(self, ref: Ref, obj: Object) -> None:
        for uid in _controllers(obj):
            owned = self._by_owner.get((ref.kind, uid))
            if owned is not None:
                owned.pop(ref, None)
                if not owned:
                    del self._by_owner[ref.kind, uid]

    def _tell(self, ref: Ref, old: Object | None, new: Object | None) -> None:
        for listener in self._listeners:
            listener(ref, old, new)


def _ref(kind: Kind, obj: Object) -> Ref:
    meta = obj["metadata"]
    return Ref(
        kind.kind, str(meta.get("namespace", "")) if kind.namespaced else "", str(meta["name"])
    )


def _version(obj: Object) -> int:
    return int(obj["metadata"].get("resourceVersion") or 0)


def _controllers(obj: Object) -> Iterable[str]:
    return [
        str(reference.get("uid", ""))
        for reference in obj["metadata"].get("ownerReferences") or ()
        if reference.get("controller")
    ]


def _trimmed(obj: Object) -> Object:
    """Without managedFields: half of a typical object, and nobody reads them here."""
    meta = obj["metadata"]
    if "managedFields" not in meta:
        return obj
    return {
        **obj,
        "metadata": {name: value for name, value in meta.items() if name != "managedFields"},
    }
