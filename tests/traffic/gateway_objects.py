"""Rollouts and Gateway API routes for the tests of the router, as short as the cases need them."""

from typing import Any

from agent.api.decode import read
from agent.api.meta import Object
from agent.api.rollout import Rollout
from agent.traffic.routing import GATEWAY_API

PARENT: dict[str, Any] = {"name": "edge"}
CONTROLLER = "example.com/gateway"


def rollout(
    *,
    config: dict[str, Any] | None = None,
    managed: tuple[str, ...] = (),
    most: int | None = None,
    **canary: Any,
) -> Rollout:
    """A rollout `default/shop` on HTTPRoute `web`; `config` replaces the plugin's configuration."""
    routing: dict[str, Any] = {
        "plugins": {GATEWAY_API: {"httpRoute": "web"} if config is None else config},
        "managedRoutes": [{"name": name} for name in managed],
    }
    if most is not None:
        routing["maxTrafficWeight"] = most
    spec = {"canaryService": "canary", "stableService": "stable", "trafficRouting": routing}
    manifest: Object = {
        "metadata": {"name": "shop", "namespace": "default"},
        "spec": {"strategy": {"canary": {**spec, **canary}}},
    }
    return read(Rollout, manifest)


def ref(name: str, weight: int | None = None, **more: Any) -> dict[str, Any]:
    """A backendRef."""
    item: dict[str, Any] = {"name": name, "port": 80, **more}
    return item if weight is None else {**item, "weight": weight}


def pair(stable: int | None, canary: int | None, **more: Any) -> list[dict[str, Any]]:
    return [ref("stable", stable, **more), ref("canary", canary, **more)]


def rule(*refs: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"backendRefs": list(refs), **more}


def route(
    *rules: dict[str, Any],
    kind: str = "HTTPRoute",
    name: str = "web",
    namespace: str = "default",
    parents: list[dict[str, Any]] | None = None,
    labels: dict[str, str] | None = None,
    **spec: Any,
) -> Object:
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": namespace,
        "resourceVersion": "7",
        "generation": 3,
    }
    if labels is not None:
        metadata["labels"] = labels
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": kind,
        "metadata": metadata,
        "spec": {
            "parentRefs": [PARENT] if parents is None else parents,
            "rules": list(rules),
            **spec,
        },
    }


def condition(kind: str, status: str = "True", generation: int = 3, **more: Any) -> dict[str, Any]:
    return {"type": kind, "status": status, "observedGeneration": generation, **more}


def answer(*conditions: dict[str, Any], parent: dict[str, Any] | None = None) -> dict[str, Any]:
    """What one parent's controller says; without conditions that all is well."""
    said = list(conditions) or [condition("Accepted"), condition("ResolvedRefs")]
    return {"parentRef": parent or PARENT, "controllerName": CONTROLLER, "conditions": said}


def weights(obj: Object, index: int = 0) -> dict[str, int]:
    """Weight by Service of one rule."""
    return {
        item["name"]: item.get("weight", 1) for item in obj["spec"]["rules"][index]["backendRefs"]
    }
