"""A cache of the cluster: list and watch, indexed by owner, ahead of the watch after our own writes.

An object never goes backwards: what a watch delivers is dropped when a newer version is known, whether
from the watch or from the answer to a write of ours. Resource versions are compared as integers per
object, which holds for etcd and for the local store. Only a cluster that went backwards itself (restored
from a backup, or a local one that began anew) is followed back.
"""

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import structlog

from agent.api.meta import Object, Ref
from agent.clock import Clock
from agent.cluster.port import KINDS, Cluster, Kind, WatchEvent
from agent.cluster.trim import trimmed
from agent.errors import Forbidden, Gone, NotFound, SerinusError

log = structlog.get_logger(__name__)

OnChange = Callable[[Ref, Object | None, Object | None], None]
"""Called with reference, old and new object (None: absent) after every change; must not wait."""

BACKOFF_SECONDS: Final = (0.1, 10.0)
MISSING_SECONDS: Final = 30.0
"""How often a kind that the API server does not serve (or may not be listed) is asked for again."""
TOMBSTONES: Final = 4_096
SLICE: Final = 200
"""Objects of a list that are taken in before others get their turn on the loop."""
HEALTHY_SECONDS: Final = 1.0
"""A watch that ends sooner than this without an event is followed by a pause."""


class Cache:
    """The objects of some kinds, of some namespaces or all.

    Args:
        kinds: names of kinds in agent.cluster.port.KINDS.
        optional: kinds that the cluster may not serve (CRDs that are not installed): the cache counts as
            synced without them and keeps asking.
        labels: label selectors by kind; of the other kinds all objects are followed.
    """

    def __init__(
        self,
        cluster: Cluster,
        kinds: Sequence[str],
        clock: Clock,
        *,
        namespaces: Sequence[str] | None = None,
        optional: frozenset[str] = frozenset(),
        labels: Mapping[str, str] = {},
    ) -> None:
        self._cluster = cluster
        self._kinds = tuple(KINDS[name] for name in kinds)
        self._clock = clock
        self._namespaces: tuple[str | None, ...] = tuple(namespaces) if namespaces else (None,)
        self._optional = optional
        self._labels = labels
        self._objects: dict[Ref, Object] = {}
        self._by_place: dict[str, dict[str, dict[Ref, None]]] = {}
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
        return tuple(self._objects[ref] for ref in self._refs(kind, namespace))

    def unsynced(self) -> tuple[str, ...]:
        """Kinds whose first list has not come in, for readiness."""
        return tuple(sorted({kind for kind, _ in self._unsynced}))

    def on_change(self, listener: OnChange) -> None:
        """Call `listener` after every change from now on."""
        self._listeners.append(listener)

    # Our own writes.

    def observe_write(self, obj: Object) -> None:
        """Show the API server's answer to a write at once, until the watch is as far.

        Objects that this cache does not follow are left out: nothing would ever remove them.
        """
        kind = KINDS.get(obj["kind"])
        if kind is not None and self._follows(kind, obj["metadata"].get("namespace", "")):
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
            began, pause = self._clock.monotonic(), 0.0
            try:
                if not version:
                    version = await self._relist(kind, namespace)
                async for event in self._cluster.watch(
                    kind, namespace, resource_version=version, labels=self._selector(kind)
                ):
                    version = str(event.object["metadata"]["resourceVersion"])
                    wait = BACKOFF_SECONDS[0]
                    self._take(kind, event)
                    began = float("-inf")
                if self._clock.monotonic() - began >= HEALTHY_SECONDS:
                    continue  # the API server ends a watch after some minutes
                pause = random.uniform(0, wait)  # noqa: S311  # jitter, not a secret
            except Gone:
                log.info("cache.relist", kind=kind.kind, namespace=namespace)
                version, pause = "", random.uniform(0, wait)  # noqa: S311  # jitter
            except (NotFound, Forbidden) as error:
                self._missing(kind, namespace, error)
                version, pause = "", MISSING_SECONDS if kind.kind in self._optional else wait
            except SerinusError as error:
                log.warning("cache.retry", kind=kind.kind, namespace=namespace, error=str(error))
                pause = random.uniform(0, wait)  # noqa: S311  # jitter
            await self._clock.sleep(pause)
            wait = min(wait * 2, BACKOFF_SECONDS[1])

    async def _relist(self, kind: Kind, namespace: str | None) -> str:
        newest = self._newest(kind, namespace)
        listing = await self._cluster.list(kind, namespace, labels=self._selector(kind))
        version = int(listing.resource_version or 0)
        if version < newest:
            log.warning("cache.cluster_went_back", kind=kind.kind, to=version, was=newest)
            for ref in [ref for ref in self._gone if ref.kind == kind.kind]:
                del self._gone[ref]
        # What is newer was written by us after the list was taken; all else is as the list says.
        settled = max(version, newest)
        listed = set[Ref]()
        for number, obj in enumerate(listing.items, start=1):
            ref = _ref(kind, obj)
            listed.add(ref)
            old = self._objects.get(ref)
            if old is not None and _version(obj) < _version(old) <= settled:
                self._drop(ref)
            self._put({"apiVersion": kind.api_version, "kind": kind.kind, **obj})
            if number % SLICE == 0:
                await asyncio.sleep(0)
        for ref in self._refs(kind.kind, namespace):
            if ref not in listed and _version(self._objects[ref]) <= settled:
                self._drop(ref, version)
        self._arrived(kind, namespace)
        return listing.resource_version

    def _selector(self, kind: Kind) -> str:
        return self._labels.get(kind.kind, "")

    def _newest(self, kind: Kind, namespace: str | None) -> int:
        return max(
            (_version(self._objects[ref]) for ref in self._refs(kind.kind, namespace)), default=0
        )

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

    def _take(self, kind: Kind, event: WatchEvent) -> None:
        if event.type == "BOOKMARK":
            return
        if event.type == "DELETED":
            ref = _ref(kind, event.object)
            old = self._objects.get(ref)
            if old is None or _version(old) <= _version(event.object):
                self._drop(ref, _version(event.object))
            return
        self._put(event.object)

    def _follows(self, kind: Kind, namespace: str) -> bool:
        if kind not in self._kinds:
            return False
        scopes = self._scopes(kind)
        return None in scopes or namespace in scopes

    def _refs(self, kind: str, namespace: str | None) -> Sequence[Ref]:
        places = self._by_place.get(kind, {})
        if namespace is not None:
            return tuple(places.get(namespace, ()))
        return tuple(ref for refs in places.values() for ref in refs)

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
        new = trimmed(obj)
        if old is not None:
            self._unindex(ref, old)
        self._objects[ref] = new
        self._by_place.setdefault(ref.kind, {}).setdefault(ref.namespace, {})[ref] = None
        for uid in _controllers(new):
            self._by_owner.setdefault((ref.kind, uid), {})[ref] = None
        self._tell(ref, old, new)

    def _drop(self, ref: Ref, version: int | None = None) -> None:
        """Forget an object; with a version, also what late events say about it until that version."""
        if version is not None:
            self._gone.pop(ref, None)
            self._gone[ref] = version
        while len(self._gone) > TOMBSTONES:
            del self._gone[next(iter(self._gone))]
        old = self._objects.pop(ref, None)
        if old is None:
            return
        self._unindex(ref, old)
        places = self._by_place[ref.kind]
        del places[ref.namespace][ref]
        if not places[ref.namespace]:
            del places[ref.namespace]
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
            try:
                listener(ref, old, new)
            except Exception:  # a bug for one object must not stop the watch of all
                log.exception("cache.listener_failed", object=str(ref))


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
