"""What an API server does to one object on its way in: the server's fields, doors, generation. Pure.

Objects are never changed in place: every function returns new ones.
"""

import re
from typing import Any, Final

import msgspec

from agent.api.meta import Object
from agent.cluster.port import Kind
from agent.errors import Conflict, Invalid

WITHOUT_GENERATION: Final = frozenset(
    {"ConfigMap", "Secret", "Service", "Pod", "Namespace", "Event", "Lease"}
)
"""Kinds whose objects carry no metadata.generation in a real API server."""

SERVER_FIELDS: Final = (
    "name", "namespace", "uid", "creationTimestamp", "generation", "resourceVersion",
    "deletionTimestamp", "deletionGracePeriodSeconds",
)  # fmt: skip
"""Metadata that a write cannot change."""

_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_LABEL_VALUE: Final = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")


def copied(obj: Object) -> Object:
    """A deep copy of a JSON object; several times faster than copy.deepcopy."""
    copy: Object = msgspec.json.decode(msgspec.json.encode(obj))
    return copy


def check_type(kind: Kind, obj: Object) -> None:
    """Raises Invalid for an object of another kind or group; it may leave both out."""
    if obj.get("kind") not in (None, kind.kind):
        raise Invalid(f"kind: {obj['kind']!r} was sent to {kind.plural}; it must be {kind.kind!r}")
    group = str(obj.get("apiVersion") or kind.api_version).rpartition("/")[0]
    if group != kind.group:
        raise Invalid(f"apiVersion: {obj['apiVersion']!r} does not match {kind.api_version!r}")


def checked(obj: Object) -> Object:
    """The object, when its name, labels and owners are ones that an API server accepts. Raises Invalid."""
    meta = obj["metadata"]
    name = str(meta.get("name") or "")
    if not _NAME.fullmatch(name):
        raise Invalid(
            f"metadata.name: {name!r} must be lower case letters, digits, '-' and '.', at most 253"
        )
    for label, value in (meta.get("labels") or {}).items():
        if not isinstance(value, str) or not _LABEL_VALUE.fullmatch(value):
            raise Invalid(f"metadata.labels.{label}: {value!r} is not a label value")
    for index, reference in enumerate(meta.get("ownerReferences") or ()):
        for field in ("apiVersion", "kind", "name", "uid"):
            if not reference.get(field):
                raise Invalid(f"metadata.ownerReferences[{index}].{field}: required")
    return obj


def created(kind: Kind, obj: Object, *, uid: str, now: str, has_status: bool) -> Object:
    """The object as it is stored first. `obj` has a name and, where it needs one, a namespace."""
    check_type(kind, obj)
    meta = _without_empty(obj["metadata"])
    for field in ("resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds"):
        meta.pop(field, None)
    meta |= {"uid": uid, "creationTimestamp": now}
    meta.pop("generation", None)
    if kind.kind not in WITHOUT_GENERATION:
        meta["generation"] = 1
    if not kind.namespaced:
        meta.pop("namespace", None)
    new = {**obj, "apiVersion": kind.api_version, "kind": kind.kind, "metadata": meta}
    if has_status:
        new.pop("status", None)
    if kind.kind == "Pod":
        new["status"] = {"phase": "Pending"}
    return checked(new)


def check_preconditions(kind: Kind, old: Object, new: Object) -> None:
    """Raises Conflict for another version or uid than the current one, Invalid for another name or type."""
    check_type(kind, new)
    was, asked, name = old["metadata"], new["metadata"], old["metadata"]["name"]
    if asked.get("resourceVersion") not in (None, "", was["resourceVersion"]):
        raise Conflict(
            f"Operation cannot be fulfilled on {kind.plural} {name!r}: the object has been modified; "
            f"{asked['resourceVersion']} is not the current version {was['resourceVersion']}"
        )
    if asked.get("uid") not in (None, "", was["uid"]):
        raise Conflict(f"{kind.plural} {name!r}: its uid is {was['uid']}, not {asked['uid']}")
    for field in ("name", "namespace"):
        if asked.get(field) not in (None, "", was.get(field)):
            raise Invalid(
                f"metadata.{field}: {asked[field]!r} is not that of the object, {was.get(field)!r}"
            )


def updated(old: Object, new: Object, *, status: bool, has_status: bool) -> Object:
    """The part of a write that its door may change, on top of the old object.

    Args:
        status: the write came through the status subresource.
        has_status: the kind has one; without it the status is an ordinary field.
    """
    if has_status and status:
        value = new.get("status")
        return {**old, "status": value} if value is not None else less(old, "status")
    if has_status:
        new = less(new, "status")
        if "status" in old:
            new["status"] = old["status"]
    was = old["metadata"]
    meta = {
        name: value
        for name, value in _without_empty(new["metadata"]).items()
        if name not in SERVER_FIELDS
    }
    meta |= {field: was[field] for field in SERVER_FIELDS if field in was}
    new = checked({**new, "apiVersion": old["apiVersion"], "kind": old["kind"], "metadata": meta})
    if "generation" in was and _counted(old, has_status) != _counted(new, has_status):
        meta["generation"] = int(was["generation"]) + 1
    return new


def same(one: Object, other: Object) -> bool:
    """Whether a write changed nothing: such a write makes no version and no event."""
    return _content(one) == _content(other)


def at_version(obj: Object, version: int) -> Object:
    """The object under another resource version."""
    return {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(version)}}


def with_metadata(obj: Object, **fields: Any) -> Object:
    """The object with some metadata set, or removed where None is given."""
    meta = {**obj["metadata"], **fields}
    return {
        **obj,
        "metadata": {name: value for name, value in meta.items() if value is not None},
    }


def less(obj: Object, field: str) -> Object:
    """The object without a field."""
    return {name: value for name, value in obj.items() if name != field}


def _without_empty(meta: Object) -> Object:
    return {name: value for name, value in meta.items() if value not in ({}, [], None)}


def _counted(obj: Object, has_status: bool) -> Object:
    """What the generation counts: all but metadata, and the status where it has a door of its own."""
    body = less(obj, "metadata")
    return less(body, "status") if has_status else body


def _content(obj: Object) -> Object:
    meta = {
        name: value
        for name, value in obj["metadata"].items()
        if name not in ("resourceVersion", "generation")
    }
    return {**obj, "metadata": meta}
