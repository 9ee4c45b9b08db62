"""Deleting an object, and what goes with it: finalizers, grace periods, the garbage collector.

A real garbage collector is a moment late; this one has finished when the delete returns, but for what
finalizers and grace periods keep.
"""

from collections.abc import Mapping
from datetime import timedelta

from agent.api.meta import Object
from agent.api.times import format_time
from agent.clock import Clock
from agent.cluster.local import objects
from agent.cluster.local.ownership import FOREGROUND, owner_uids, without_owner
from agent.cluster.local.snapshot import Place
from agent.cluster.local.table import Table
from agent.cluster.port import KINDS


class Deletion:
    """Deletes in one table.

    Args:
        grace_seconds: by kind, how long a deleted object stays, marked, before it is gone.
    """

    def __init__(self, table: Table, clock: Clock, grace_seconds: Mapping[str, float]) -> None:
        self._table = table
        self._clock = clock
        self._grace_seconds = grace_seconds

    def delete(
        self, place: Place, old: Object, propagation: str, grace_seconds: float | None = None
    ) -> None:
        """Delete, or mark as deleted while something holds the object.

        Args:
            propagation: "Background": what it owns goes after it; "Foreground": before it; "Orphan": stays.
            grace_seconds: None is what the kind has.
        """
        uid = old["metadata"]["uid"]
        if place[0] == "Namespace":
            self._empty(place[2])
        if propagation == "Orphan":
            for owned_place, owned in self._table.owned(uid):
                self._table.put(owned_place, without_owner(owned, uid))
        grace = self._grace_seconds.get(place[0], 0) if grace_seconds is None else grace_seconds
        finalizers = list(old["metadata"].get("finalizers") or ())
        waits = propagation == "Foreground" and self._table.is_blocked(uid)
        if waits and FOREGROUND not in finalizers:
            finalizers.append(FOREGROUND)
        if not finalizers and grace <= 0:
            self.remove(place, old)
            return
        self._table.put(place, self._marked(old, finalizers, grace))
        if waits:
            for owned_place, owned in self._table.owned(uid):
                self.delete(owned_place, owned, "Foreground")

    def remove(self, place: Place, last: Object) -> Object:
        """Remove at once, whatever holds the object; its last state."""
        last = self._table.drop(place, last)
        uid = last["metadata"]["uid"]
        for owned_place, owned in self._table.owned(uid):
            if self._has_other_owner(owned, uid):
                self._table.put(owned_place, without_owner(owned, uid))
            else:
                self.delete(owned_place, owned, "Background")
        for owner in owner_uids(last):
            self._release(owner)
        return last

    def collect_orphan(self, place: Place, obj: Object) -> None:
        """What is created after its owners were deleted does not stay."""
        references = obj["metadata"].get("ownerReferences") or ()
        if references and all(
            reference["kind"] in KINDS and self._table.owner_of(obj, reference) is None
            for reference in references
        ):
            self.delete(place, obj, "Background")

    def _marked(self, old: Object, finalizers: list[str], grace: float) -> Object:
        meta = old["metadata"]
        if "deletionTimestamp" in meta:
            return objects.with_metadata(old, finalizers=finalizers or None)
        ends = self._clock.now() + timedelta(seconds=grace)
        generation = meta.get("generation")
        return objects.with_metadata(
            old,
            finalizers=finalizers or None,
            deletionTimestamp=format_time(ends),
            deletionGracePeriodSeconds=int(grace),
            generation=None if generation is None else int(generation) + 1,
        )

    def _release(self, uid: str) -> None:
        """Let an owner go that waited in the foreground, when nothing blocks it any more."""
        found = self._table.by_uid(uid)
        if found is None or self._table.is_blocked(uid):
            return
        place, old = found
        finalizers = list(old["metadata"].get("finalizers") or ())
        if FOREGROUND not in finalizers:
            return
        finalizers.remove(FOREGROUND)
        new = objects.with_metadata(old, finalizers=finalizers or None)
        if is_released(old, new):
            self.remove(place, new)
        else:
            self._table.put(place, new)

    def _has_other_owner(self, obj: Object, uid: str) -> bool:
        return any(
            reference["uid"] != uid and self._table.owner_of(obj, reference) is not None
            for reference in obj["metadata"].get("ownerReferences") or ()
        )

    def _empty(self, namespace: str) -> None:
        for place in self._table.within(namespace):
            obj = self._table.peek(*place)
            if obj is not None:
                self.delete(place, obj, "Background", 0)


def is_released(old: Object, new: Object) -> bool:
    """Whether a write took the last thing that held a deleted object."""
    was, now = old["metadata"], new["metadata"]
    return (
        "deletionTimestamp" in was
        and bool(was.get("finalizers"))
        and not now.get("finalizers")
        and not was.get("deletionGracePeriodSeconds")
    )
