"""Who owns whom, as far as the garbage collector asks."""

from collections.abc import Iterator
from typing import Any, Final

from agent.api.meta import Object
from agent.cluster.local.snapshot import Place

FOREGROUND: Final = "foregroundDeletion"
"""Finalizer of an object that waits until what it owns is gone."""


class Owners:
    """Index of objects by the uids in their owner references."""

    def __init__(self) -> None:
        self._owned: dict[str, dict[Place, None]] = {}

    def replace(self, place: Place, old: Object | None, new: Object | None) -> None:
        """An object was written (`old` None: created, `new` None: deleted)."""
        before = set() if old is None else {uid for uid, _ in _references(old)}
        after = set() if new is None else {uid for uid, _ in _references(new)}
        for uid in before - after:
            owned = self._owned[uid]
            del owned[place]
            if not owned:
                del self._owned[uid]
        for uid in after - before:
            self._owned.setdefault(uid, {})[place] = None

    def owned(self, uid: str) -> tuple[Place, ...]:
        """The places of what has this owner, oldest reference first."""
        return tuple(self._owned.get(uid, ()))


def owner_uids(obj: Object) -> tuple[str, ...]:
    """The uids in the owner references."""
    return tuple(uid for uid, _ in _references(obj))


def blocks(obj: Object, uid: str) -> bool:
    """Whether the owner of this uid waits for the object in a foreground deletion."""
    return any(
        owner == uid and bool(reference.get("blockOwnerDeletion"))
        for owner, reference in _references(obj)
    )


def without_owner(obj: Object, uid: str) -> Object:
    """The object without its references to that owner."""
    kept = [reference for owner, reference in _references(obj) if owner != uid]
    meta = {**obj["metadata"], "ownerReferences": kept}
    if not kept:
        del meta["ownerReferences"]
    return {**obj, "metadata": meta}


def _references(obj: Object) -> Iterator[tuple[str, dict[str, Any]]]:
    for reference in obj["metadata"].get("ownerReferences") or ():
        yield str(reference.get("uid", "")), reference
