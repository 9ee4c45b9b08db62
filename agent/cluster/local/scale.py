"""The scale subresource: one number of an object as an object of its own. Pure."""

from typing import Any

from agent.api.meta import Object
from agent.errors import Invalid


def scale_of(obj: Object) -> Object:
    """The Scale (autoscaling/v1) of an object with `spec.replicas`."""
    meta = {
        name: obj["metadata"][name]
        for name in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
        if name in obj["metadata"]
    }
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    replicas = spec.get("replicas")
    labels = (spec.get("selector") or {}).get("matchLabels") or {}
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": meta,
        "spec": {"replicas": 1 if replicas is None else replicas},
        "status": {
            # A Rollout counts for the autoscaler in a field of its own.
            "replicas": status.get("HPAReplicas", status.get("replicas", 0)),
            "selector": ",".join(f"{key}={value}" for key, value in sorted(labels.items())),
        },
    }


def patch_by(scale: Object) -> dict[str, Any]:
    """The merge patch of the object that a written Scale asks for. Raises Invalid."""
    replicas = (scale.get("spec") or {}).get("replicas", 0)
    if not isinstance(replicas, int) or isinstance(replicas, bool) or replicas < 0:
        raise Invalid(f"spec.replicas: {replicas!r} must be a whole number, at least 0")
    patch: dict[str, Any] = {"spec": {"replicas": replicas}}
    version = (scale.get("metadata") or {}).get("resourceVersion")
    if version:
        patch["metadata"] = {"resourceVersion": version}
    return patch
