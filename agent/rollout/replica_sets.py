"""What the rules know of a ReplicaSet. PURE."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from agent.api import names
from agent.api.meta import Object
from agent.api.times import parse_time


class ReplicaSetView(msgspec.Struct, frozen=True, kw_only=True):
    """One ReplicaSet, read once.

    Attributes:
        hash: pod-template hash, "" when the label is missing.
        revision: number in the annotation, 0 when it is missing or no number.
        replicas: spec.replicas, how many pods are wanted (Kubernetes' default is 1).
        status_replicas, ready, available: how many pods there are, in those states.
        created: when it was created, None when unknown.
        images: of its containers, in order.
        scale_down_deadline: when its pods go; None when no such time is set or it cannot be read.
        raw: the object.
    """

    name: str
    hash: str = ""
    revision: int = 0
    replicas: int = 1
    status_replicas: int = 0
    ready: int = 0
    available: int = 0
    created: datetime | None = None
    images: tuple[str, ...] = ()
    scale_down_deadline: datetime | None = None
    annotations: Mapping[str, str] = {}
    labels: Mapping[str, str] = {}
    raw: Object = {}

    @property
    def is_available(self) -> bool:
        """Every wanted pod is available, and at least one is wanted."""
        return self.replicas > 0 and self.available >= self.replicas


def view(obj: Object) -> ReplicaSetView:
    """The ReplicaSet as the rules see it. Total: what is missing or unreadable counts as absent."""
    meta, spec, status = _part(obj, "metadata"), _part(obj, "spec"), _part(obj, "status")
    labels, annotations = _part(meta, "labels"), _part(meta, "annotations")
    replicas = spec.get("replicas")
    return ReplicaSetView(
        name=meta.get("name") or "",
        hash=labels.get(names.POD_TEMPLATE_HASH) or "",
        revision=_number(annotations.get(names.REVISION)),
        replicas=1 if replicas is None else replicas,
        status_replicas=status.get("replicas") or 0,
        ready=status.get("readyReplicas") or 0,
        available=status.get("availableReplicas") or 0,
        created=_time(meta.get("creationTimestamp")),
        images=images_of(_part(spec, "template")),
        scale_down_deadline=_time(annotations.get(names.SCALE_DOWN_DEADLINE)),
        annotations=annotations,
        labels=labels,
        raw=obj,
    )


def images_of(template: Mapping[str, Any]) -> tuple[str, ...]:
    """Images of the containers of a pod template, in order."""
    containers = _part(template, "spec").get("containers") or ()
    return tuple(container.get("image") or "" for container in containers)


def by_hash(replica_sets: Iterable[ReplicaSetView], pod_hash: str) -> ReplicaSetView | None:
    """The first one that carries the hash; None for "" or when there is none."""
    if not pod_hash:
        return None
    return next((item for item in replica_sets if item.hash == pod_hash), None)


def wanted(replica_sets: Iterable[ReplicaSetView]) -> int:
    """How many pods they want together."""
    return sum(item.replicas for item in replica_sets)


def available(replica_sets: Iterable[ReplicaSetView]) -> int:
    """How many available pods they have together."""
    return sum(item.available for item in replica_sets)


def _part(obj: Mapping[str, Any], member: str) -> Mapping[str, Any]:
    return obj.get(member) or {}


def _number(text: Any) -> int:
    return int(text) if isinstance(text, str) and text.isascii() and text.isdigit() else 0


def _time(text: Any) -> datetime | None:
    try:
        return parse_time(text) if isinstance(text, str) and text else None
    except ValueError:
        return None
