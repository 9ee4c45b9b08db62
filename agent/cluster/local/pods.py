"""The objects that a kubelet and the ReplicaSet controller write: pods and their states. Pure."""

import fnmatch
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from agent.api.meta import Object
from agent.api.names import PREFIX
from agent.api.times import format_time, parse_time

READY: Final = f"{PREFIX}/ready"
"""Annotation of a pod template: "false" keeps the pods unready until it is removed from them."""
READY_SECONDS: Final = f"{PREFIX}/ready-seconds"
"""Annotation of a pod template: seconds until ready, instead of the cluster's."""
CREATED: Final = f"{PREFIX}/simulated-created"
READY_AT: Final = "simulatedReadyAt"
# Times in Kubernetes objects have a resolution of one second; a simulated delay needs a finer one.
SUFFIX: Final = "bcdfghjklmnpqrstvwxz2456789"


def pod_of(replica_set: Object, serial: int, now: datetime) -> Object:
    """A new pod of a ReplicaSet; the same serial gives the same name."""
    meta, template = replica_set["metadata"], (replica_set.get("spec") or {}).get("template") or {}
    inherited = template.get("metadata") or {}
    reference = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "name": meta["name"],
        "uid": meta["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    # Room for the suffix in a name of at most 253 characters.
    prefix = f"{meta['name']}"[:247]
    return {
        "metadata": {
            "name": f"{prefix}-{_suffix(serial)}",
            "namespace": meta["namespace"],
            "labels": dict(inherited.get("labels") or {}),
            "annotations": {**(inherited.get("annotations") or {}), CREATED: now.isoformat()},
            "ownerReferences": [reference],
        },
        "spec": template.get("spec") or {},
    }


def owner_of(pod: Object) -> str:
    """The uid of the pod's controller, "" for none."""
    for reference in pod["metadata"].get("ownerReferences") or ():
        if reference.get("controller"):
            return str(reference["uid"])
    return ""


def is_terminating(obj: Object) -> bool:
    """Whether the object was deleted and is still there."""
    return "deletionTimestamp" in obj["metadata"]


def created(pod: Object) -> datetime:
    """When the pod was created, as exactly as is known."""
    return parse_time(_annotations(pod).get(CREATED) or pod["metadata"]["creationTimestamp"])


def ready_since(pod: Object) -> datetime | None:
    """When the pod became ready, None while it is not."""
    text = (pod.get("status") or {}).get(READY_AT)
    return parse_time(text) if text else None


def seconds_until_ready(pod: Object, otherwise: float, never_ready: Sequence[str]) -> float | None:
    """From the pod's creation; None for never.

    Args:
        otherwise: for a pod that does not say it itself.
        never_ready: patterns of images that never run.
    """
    annotations = _annotations(pod)
    if annotations.get(READY, "").lower() == "false" or _image_matches(pod, never_ready):
        return None
    try:
        return max(0.0, float(annotations.get(READY_SECONDS, otherwise)))
    except ValueError:
        return otherwise


def running_status(pod: Object, now: datetime) -> Object:
    """The status of a pod that became ready."""
    stamp = format_time(now)
    conditions = [
        {"type": kind, "status": "True", "lastTransitionTime": stamp}
        for kind in ("PodScheduled", "Initialized", "ContainersReady", "Ready")
    ]
    containers = [
        {
            "name": container.get("name", ""),
            "image": container.get("image", ""),
            "ready": True,
            "restartCount": 0,
            "state": {"running": {"startedAt": stamp}},
        }
        for container in _containers(pod)
    ]
    return {
        "phase": "Running",
        "conditions": conditions,
        "containerStatuses": containers,
        READY_AT: now.isoformat(),
    }


def waiting_status(pod: Object) -> Object:
    """The status of a pod whose images cannot be run."""
    containers = [
        {
            "name": container.get("name", ""),
            "image": container.get("image", ""),
            "ready": False,
            "restartCount": 0,
            "state": {"waiting": {"reason": "ImagePullBackOff"}},
        }
        for container in _containers(pod)
    ]
    stamp = pod["metadata"]["creationTimestamp"]
    condition = {
        "type": "Ready",
        "status": "False",
        "reason": "ContainersNotReady",
        "lastTransitionTime": stamp,
    }
    return {"phase": "Pending", "conditions": [condition], "containerStatuses": containers}


def surplus(pods: Sequence[Object], count: int) -> list[Object]:
    """The pods to delete: unready ones first, then the youngest, as the ReplicaSet controller does."""
    if count <= 0:
        return []
    ordered = sorted(
        pods, key=lambda pod: (ready_since(pod) is not None, -created(pod).timestamp())
    )
    return ordered[:count]


def _annotations(pod: Object) -> dict[str, str]:
    return pod["metadata"].get("annotations") or {}


def _containers(pod: Object) -> list[dict[str, Any]]:
    return (pod.get("spec") or {}).get("containers") or []


def _image_matches(pod: Object, patterns: Sequence[str]) -> bool:
    return any(
        fnmatch.fnmatchcase(str(container.get("image", "")), pattern)
        for container in _containers(pod)
        for pattern in patterns
    )


def _suffix(serial: int) -> str:
    """Five characters as in pod names; different serials give different ones for a long time."""
    number, text = serial * 7_919 + 1_000_003, ""
    for _ in range(5):
        number, digit = divmod(number, len(SUFFIX))
        text += SUFFIX[digit]
    return text
