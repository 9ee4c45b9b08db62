"""The objects of a store, the counter of their versions, and what follows from each write.

A write is on disk first, then in the indexes and the history: what fails on disk has not happened.
"""

from collections.abc import Iterator
from typing import Any, Literal

from agent.api.meta import Object
from agent.cluster.local import objects
from agent.cluster.local.history import Change, History
from agent.cluster.local.ownership import Owners, blocks
from agent.cluster.local.snapshot import Place, Snapshot
from agent.cluster.port import KINDS


class Table:
    """All objects by kind, place, uid and owner. What it gives out must not be changed.

    Args:
        snapshot: where the objects come from and go to, None for nowhere.
        history: changes of each kind that are remembered.
    """

    def __init__(self, snapshot: Snapshot | None, history: int) -> None:
        self._snapshot = snapshot
        self._objects: dict[str, dict[tuple[str, str], Object]] = {}
        self._places: dict[str, Place] = {}
        self._owners = Owners()
        self.version = 1
        if snapshot is not None:
            self.version, found = snapshot.load()
            for place, obj in found.items():
                self._index(place, None, obj)
        self.history = History(history, self.version)

    def peek(self, kind: str, namespace: str, name: str) -> Object | None:
        """The object at a place, None when there is none."""
        return self._objects.get(kind, {}).get((namespace, name))

    def all(self, kind: str) -> list[Object]:
        """The objects of a kind, oldest first."""
        return list(self._objects.get(kind, {}).values())

    def within(self, namespace: str) -> list[Place]:
        """The places of everything in a namespace."""
        return [
            (kind, where, name)
            for kind, found in self._objects.items()
            for where, name in found
            if where == namespace
        ]

    def by_uid(self, uid: str) -> tuple[Place, Object] | None:
        """The object of this uid."""
        place = self._places.get(uid)
        obj = self.peek(*place) if place else None
        return (place, obj) if place and obj else None

    def owned(self, uid: str) -> Iterator[tuple[Place, Object]]:
        """What an owner has, each as it stands when its turn comes."""
        for place in self._owners.owned(uid):
            obj = self.peek(*place)
            if obj is not None:
                yield place, obj

    def is_blocked(self, uid: str) -> bool:
        """Whether something keeps this owner in a foreground deletion."""
        return any(blocks(obj, uid) for _, obj in self.owned(uid))

    def owner_of(self, obj: Object, reference: dict[str, Any]) -> Object | None:
        """The object that a reference means, None when it is gone or another one has its name."""
        kind = KINDS.get(reference["kind"])
        namespace = obj["metadata"].get("namespace", "") if kind and kind.namespaced else ""
        owner = self.peek(reference["kind"], namespace, reference["name"])
        return owner if owner and owner["metadata"]["uid"] == reference["uid"] else None

    def put(self, place: Place, new: Object) -> Object:
        """Store an object under the next version; a write without a difference is none."""
        old = self.peek(*place)
        if old is not None and objects.same(old, new):
            return old
        version = self.version + 1
        stored = objects.at_version(new, version)
        if self._snapshot is not None:
            self._snapshot.put(place, stored, version)
        self.version = version
        self._index(place, old, stored)
        kind: Literal["ADDED", "MODIFIED"] = "ADDED" if old is None else "MODIFIED"
        self.history.add(place[0], Change(version, kind, stored, old))
        return stored

    def drop(self, place: Place, last: Object) -> Object:
        """Remove the object of a place; `last` under the version of the removal is what watches see."""
        version = self.version + 1
        if self._snapshot is not None:
            self._snapshot.delete(place, version)
        self.version = version
        old = self._objects[place[0]].pop((place[1], place[2]))
        self._places.pop(old["metadata"]["uid"], None)
        self._owners.replace(place, old, None)
        last = objects.at_version(last, version)
        self.history.add(place[0], Change(version, "DELETED", last, old))
        return last

    def close(self) -> None:
        """Nothing is written from now on."""
        if self._snapshot is not None:
            self._snapshot.close()

    def _index(self, place: Place, old: Object | None, new: Object) -> None:
        self._objects.setdefault(place[0], {})[place[1], place[2]] = new
        self._places[new["metadata"]["uid"]] = place
        self._owners.replace(place, old, new)
