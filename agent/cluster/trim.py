"""What of an object is kept in memory. PURE."""

from collections.abc import Mapping
from typing import Any

from agent.api import managers
from agent.api.meta import Object


def trimmed(obj: Object) -> Object:
    """The object without what nobody reads here.

    managedFields are half of a typical object; of a Rollout's the part stays that tells who drives it
    (agent.api.managers). A ReplicaSet without pods is history, and there may be a dozen to a Rollout: of its pod
    template only metadata and the images remain. Who wants the whole one (to bring it back) asks the API server; when
    it gets pods again, its next event is whole. Of a Job only its end is of interest.
    """
    kept = obj
    meta = obj["metadata"]
    if "managedFields" in meta:
        slim = {name: value for name, value in meta.items() if name != "managedFields"}
        told = managers.gist(meta["managedFields"]) if obj.get("kind") == "Rollout" else []
        if told:
            slim["managedFields"] = told
        kept = {**kept, "metadata": slim}
    if obj.get("kind") == "ReplicaSet" and _is_history(obj):
        spec = obj["spec"]
        kept = {**kept, "spec": {**spec, "template": _gist(spec.get("template") or {})}}
    if obj.get("kind") == "Job":
        kept = {name: value for name, value in kept.items() if name != "spec"}
    return kept


def _is_history(replica_set: Object) -> bool:
    """Neither has pods nor wants any (Kubernetes' default is one)."""
    spec, status = replica_set.get("spec") or {}, replica_set.get("status") or {}
    return spec.get("replicas") == 0 and not status.get("replicas")


def _gist(template: Mapping[str, Any]) -> dict[str, Any]:
    containers = (template.get("spec") or {}).get("containers") or ()
    slim = [
        {name: value for name, value in container.items() if name in ("name", "image")}
        for container in containers
    ]
    gist: dict[str, Any] = {"spec": {"containers": slim}}
    if "metadata" in template:
        gist["metadata"] = template["metadata"]
    return gist
