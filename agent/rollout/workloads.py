"""The object that spec.workloadRef names: its pods' template stands for the Rollout's own. PURE.

Rules: Argo's rollout/templateref.go.
"""

from typing import Any, Final

from agent.api.meta import Object, Ref
from agent.api.rollout import ObjectRef

_SUPPORTED: Final = frozenset({("apps", "Deployment"), ("apps", "ReplicaSet"), ("", "PodTemplate")})
NEVER: Final = "never"
SCALE_DOWNS: Final = (NEVER, "onsuccess", "progressively")
"""What may be done with the workload's own pods; anything else counts as `never`, without a word."""


def kind_problem(reference: ObjectRef) -> str:
    """Why an object of this kind cannot be referred to, in Argo's words; "" when it can."""
    group = reference.api_version.rpartition("/")[0]
    if (group, reference.kind) in _SUPPORTED:
        return ""
    return f"workload of type {group}/{reference.kind} is not supported"


def workload_of(reference: ObjectRef, namespace: str) -> Ref:
    """Where the workload is."""
    return Ref(reference.kind, namespace, reference.name)


def with_workload(rollout: Object, workload: Object) -> Object:
    """The Rollout with the workload's pod template, and its selector unless it has one."""
    # A PodTemplate has its template at the top, and no selector.
    place: dict[str, Any] = workload if workload.get("kind") == "PodTemplate" else _spec(workload)
    found = {"template": place.get("template"), "selector": _spec(workload).get("selector")}
    kept = {name: value for name, value in found.items() if value is not None}
    return {**rollout, "spec": {**kept, **_spec(rollout), "template": kept.get("template", {})}}


def _spec(obj: Object) -> dict[str, Any]:
    spec = obj.get("spec")
    return spec if isinstance(spec, dict) else {}
