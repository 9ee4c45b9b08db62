"""What is stored, line by line: for the replay of one seed."""

from typing import Any

from agent.api.meta import Object
from agent.clock import Clock
from agent.cluster.local.store import LocalCluster
from agent.cluster.port import KINDS
from tests.simulation.invariants import ROUTE_KINDS, http_names
from tests.simulation.manifests import weights_of


async def narrate(store: LocalCluster, clock: Clock, kind: str) -> None:
    """Print every change of the objects of a kind, until cancelled."""
    async for event in store.watch(KINDS[kind], resource_version=str(store.now_version())):
        if event.type != "BOOKMARK":
            name = event.object["metadata"]["name"]
            print(
                f"{clock.monotonic():8.3f} {event.type:8} {kind} {name}", _told(kind, event.object)
            )


def _told(kind: str, obj: Object) -> Any:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    if kind in ROUTE_KINDS:
        return weights_of(obj), http_names(obj), obj["metadata"].get("labels")
    if kind == "Service":
        return spec.get("selector")
    told: dict[str, Any] = {
        name: value
        for name, value in (obj["metadata"].get("annotations") or {}).items()
        if "serinus.dev" in name or "deadline" in name
    }
    if kind == "ReplicaSet":
        return {
            "replicas": spec.get("replicas"),
            "available": status.get("availableReplicas"),
            **told,
        }
    image = spec["template"]["spec"]["containers"][0]["image"]
    shown = {
        name: status.get(name)
        for name in (
            "phase", "currentStepIndex", "currentPodHash", "stableRS", "abort", "controllerPause",
            "pauseConditions",
        )
    }  # fmt: skip
    conditions = [
        f"{item['type']}={item.get('status')}/{item.get('reason')}"
        for item in status.get("conditions") or ()
    ]
    weights = ((status.get("canary") or {}).get("weights") or {}).get("canary") or {}
    return {
        "image": image,
        **shown,
        "weight": weights.get("weight"),
        "conditions": conditions,
        **told,
    }
