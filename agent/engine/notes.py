"""Where what we remember about the current revision is kept: on its ReplicaSet, or (companion) on the Rollout.

A companion must not write ReplicaSets. So its notes stand in one annotation of the Rollout, together with the
hash that they are about, and are shown as if they stood on the ReplicaSet: who reads them need not know.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import msgspec

from agent.api.meta import Key, Object, Ref, Struct
from agent.api.names import NOTES, POD_TEMPLATE_HASH
from agent.engine.exposure import find_revision
from agent.engine.observe import Objects
from agent.rollout.operator import Patch

Other = tuple[Ref, dict[str, Any]]
"""A merge patch of another object than the Rollout."""


class Noted(msgspec.Struct, frozen=True):
    """The writes of a note: those of other objects go first."""

    before: tuple[Other, ...] = ()
    patches: tuple[Patch, ...] = ()


class Notes(Protocol):
    """How annotations of the current revision are written."""

    def note(self, rollout: Object, annotations: Mapping[str, str | None]) -> Noted | None:
        """The writes that set these annotations (None removes one); None without a current revision."""
        ...


class OnReplicaSet:
    """Notes of an engine."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def note(self, rollout: Object, annotations: Mapping[str, str | None]) -> Noted | None:
        current = current_set(self._objects, rollout)
        if current is None:
            return None
        metadata = current["metadata"]
        ref = Ref("ReplicaSet", *Key.of(current))
        body = {"metadata": {"uid": metadata.get("uid"), "annotations": dict(annotations)}}
        return Noted(before=((ref, body),))


class OnRollout:
    """Notes of a companion. Those about another revision go."""

    def note(self, rollout: Object, annotations: Mapping[str, str | None]) -> Noted | None:
        current = str((rollout.get("status") or {}).get("currentPodHash") or "")
        if not current:
            return None
        known = _read(rollout)
        kept = dict(known.annotations or {}) if known.hash == current else {}
        for name, value in annotations.items():
            if value is None:
                kept.pop(name, None)
            else:
                kept[name] = value
        text = encode_notes(current, kept) if kept else None
        return Noted(patches=(Patch("object", {"metadata": {"annotations": {NOTES: text}}}),))


class NotedObjects:
    """The cache with the notes of a companion on the ReplicaSets that they are about."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def get(self, ref: Ref) -> Object | None:
        return self._objects.get(ref)

    def owned(self, kind: str, uid: str) -> Iterable[Object]:
        found = self._objects.owned(kind, uid)
        return tuple(map(self._noted, found)) if kind == "ReplicaSet" else found

    def list(self, kind: str, namespace: str | None = None) -> Iterable[Object]:
        return self._objects.list(kind, namespace)

    def observe_write(self, obj: Object) -> None:
        self._objects.observe_write(obj)

    def observe_delete(self, ref: Ref) -> None:
        self._objects.observe_delete(ref)

    def _noted(self, replica_set: Object) -> Object:
        metadata = replica_set["metadata"]
        owner = next(
            (str(item["name"]) for item in metadata.get("ownerReferences") or () if item.get("controller")),
            "",
        )  # fmt: skip
        rollout = self._objects.get(Ref("Rollout", Key.of(replica_set).namespace, owner))
        notes = _read(rollout) if rollout is not None else _Content()
        if not notes.hash or (metadata.get("labels") or {}).get(POD_TEMPLATE_HASH) != notes.hash:
            return replica_set
        annotations = {**(metadata.get("annotations") or {}), **(notes.annotations or {})}
        return {**replica_set, "metadata": {**metadata, "annotations": annotations}}


class _Content(Struct):
    hash: str = ""
    annotations: dict[str, str] | None = None


def noted(rollout: Object, name: str) -> str:
    """The note of the Rollout about its current revision, "" when there is none."""
    notes = _read(rollout)
    current = (rollout.get("status") or {}).get("currentPodHash")
    return (notes.annotations or {}).get(name, "") if notes.hash == current else ""


def encode_notes(revision_hash: str, annotations: Mapping[str, str]) -> str:
    """Text of the annotation; the same notes give the same bytes."""
    ordered = {name: annotations[name] for name in sorted(annotations)}
    return msgspec.json.encode(_Content(hash=revision_hash, annotations=ordered)).decode()


def current_set(objects: Objects, rollout: Object) -> Object | None:
    """The ReplicaSet of the current revision."""
    owned = objects.owned("ReplicaSet", str(rollout["metadata"].get("uid", "")))
    return find_revision(owned, str((rollout.get("status") or {}).get("currentPodHash", "")))


def _read(rollout: Object) -> _Content:
    """The notes on a Rollout; what cannot be read counts as none and is written anew."""
    text = (rollout["metadata"].get("annotations") or {}).get(NOTES) or ""
    try:
        return msgspec.json.decode(text, type=_Content) if text else _Content()
    except msgspec.MsgspecError:
        return _Content()
