"""Manifests as people write them: YAML with several documents, applied as `kubectl apply` does."""

from collections.abc import Iterator
from typing import Any, Final, Literal, NamedTuple

import msgspec
import yaml

from agent.api.meta import Object
from agent.api.yaml_json import Loader
from agent.cluster.port import KINDS, Cluster, Kind
from agent.errors import AlreadyExists, NotFound, Refused

LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
"""kubectl's own annotation, so that both can go on where the other stopped."""

Outcome = Literal["created", "configured", "unchanged"]


class Manifest(NamedTuple):
    """One object to apply."""

    kind: Kind
    obj: Object

    def __str__(self) -> str:
        meta = self.obj["metadata"]
        group = f".{self.kind.group}" if self.kind.group else ""
        return f"{self.kind.kind.lower()}{group}/{meta['name']}"


def parse(
    text: str, *, source: str, namespace: str = "default", others: bool = False
) -> list[Manifest]:
    """The objects of a YAML (or JSON) text, Lists unpacked.

    Args:
        source: named in errors.
        namespace: of objects that name none.
        others: pass over objects of kinds that are not known here, instead of refusing them.

    Raises Refused with the document and the fix.
    """
    try:
        documents = list(yaml.load_all(text, Loader=Loader))
    except yaml.YAMLError as error:
        raise Refused(f"not YAML: {error}", field=source) from error
    manifests = [
        _manifest(obj, f"{source}, document {number}", namespace)
        for number, document in enumerate(documents, start=1)
        for obj in _unpacked(document)
        if not (others and isinstance(obj, dict) and _is_other(obj))
    ]
    if not manifests and not others:
        raise Refused("no objects in it", field=source)
    return manifests


async def apply(cluster: Cluster, manifest: Manifest) -> Outcome:
    """Create the object, or merge it into the one that is there.

    What an earlier apply wrote and this one leaves out is removed; what others wrote stays. Lists are
    replaced whole.
    """
    kind, wanted = manifest
    meta = wanted["metadata"]
    namespace, name = meta.get("namespace", ""), meta["name"]
    applied = msgspec.json.encode(wanted, order="sorted").decode() + "\n"
    annotated = _annotated(wanted, applied)
    try:
        live = await cluster.get(kind, namespace, name)
    except NotFound:
        try:
            await cluster.create(kind, annotated)
        except AlreadyExists:
            live = await cluster.get(kind, namespace, name)
        else:
            return "created"
    patch = three_way(_last_applied(live), live, annotated)
    if not patch:
        return "unchanged"
    new = await cluster.merge_patch(kind, namespace, name, patch)
    before = live["metadata"]["resourceVersion"]
    return "unchanged" if new["metadata"]["resourceVersion"] == before else "configured"


def three_way(last: Object, live: Object, wanted: Object) -> dict[str, Any]:
    """The merge patch that makes `live` what is wanted. Pure.

    Args:
        last: what was wanted before: members of it that are wanted no more are removed.
    """
    patch: dict[str, Any] = {}
    for name, value in wanted.items():
        present = live.get(name)
        if isinstance(value, dict) and isinstance(present, dict):
            earlier = last.get(name)
            inner = three_way(earlier if isinstance(earlier, dict) else {}, present, value)
            if inner:
                patch[name] = inner
        elif name not in live or value != present:
            patch[name] = value
    for name in last:
        if name not in wanted and name in live:
            patch[name] = None
    return patch


def _unpacked(document: Any) -> Iterator[Any]:
    if isinstance(document, dict) and document.get("kind") == "List":
        for item in document.get("items") or ():
            yield from _unpacked(item)
    elif document is not None:
        yield document


def _is_other(obj: Object) -> bool:
    """Whether it is an object of a kind that is not known here."""
    kind = KINDS.get(str(obj.get("kind")))
    group = str(obj.get("apiVersion", "")).rpartition("/")[0]
    return bool(obj.get("kind") and obj.get("apiVersion")) and (kind is None or kind.group != group)


def _manifest(obj: Any, where: str, namespace: str) -> Manifest:
    if not isinstance(obj, dict):
        raise Refused("not an object with apiVersion, kind and metadata", field=where)
    kind = KINDS.get(str(obj.get("kind")))
    if kind is None:
        raise Refused(
            f"kind {obj.get('kind')!r} is not known; known are {', '.join(sorted(KINDS))}",
            field=where,
        )
    group = str(obj.get("apiVersion", "")).rpartition("/")[0]
    if "apiVersion" not in obj or group != kind.group:
        raise Refused(
            f"apiVersion {obj.get('apiVersion')!r} is not one of {kind.kind}; use {kind.api_version!r}",
            field=where,
        )
    meta = obj.get("metadata")
    if not isinstance(meta, dict) or not meta.get("name"):
        raise Refused("metadata.name is missing", field=where)
    if kind.namespaced:
        meta = {**meta, "namespace": meta.get("namespace") or namespace}
    # What the server owns is not the user's to apply; it is in what `get -o yaml` prints.
    for field in ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields"):
        meta = {name: value for name, value in meta.items() if name != field}
    rest = {name: value for name, value in obj.items() if name != "status"}
    return Manifest(kind, {**rest, "metadata": meta})


def _annotated(wanted: Object, applied: str) -> Object:
    meta = wanted["metadata"]
    annotations = {**(meta.get("annotations") or {}), LAST_APPLIED: applied}
    return {**wanted, "metadata": {**meta, "annotations": annotations}}


def _last_applied(live: Object) -> Object:
    text = (live["metadata"].get("annotations") or {}).get(LAST_APPLIED, "{}")
    try:
        last = msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.MsgspecError:
        return {}
    # The annotation was not part of what it holds.
    return _annotated(last, text) if isinstance(last.get("metadata"), dict) else last
