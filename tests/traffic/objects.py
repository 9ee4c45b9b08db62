"""Rollouts and route objects for the tests of routers, as short as the cases need them."""

from typing import Any

from agent.api.decode import read
from agent.api.meta import Key, Object, Ref
from agent.api.rollout import Rollout
from agent.traffic.types import RouteObjects

SUBSETS = {"name": "dr", "canarySubsetName": "canary", "stableSubsetName": "stable"}


def rollout(
    *, routes: list[str] | None = None, status: dict[str, Any] | None = None, **canary: Any
) -> Rollout:
    """A rollout `default/shop` on VirtualService `vs`; `istio` in `canary` replaces the whole setting."""
    istio: dict[str, Any] = canary.pop("istio", None) or {
        "virtualService": {"name": "vs", "routes": routes}
    }
    if canary.pop("by_subset", False):
        istio = {**istio, "destinationRule": SUBSETS}
    else:
        canary = {"canaryService": "canary", "stableService": "stable", **canary}
    managed = [{"name": name} for name in canary.pop("managed", [])]
    routing = {"istio": istio, "managedRoutes": managed}
    spec: dict[str, Any] = {**canary, "trafficRouting": routing}
    manifest: Object = {
        "metadata": {"name": "shop", "namespace": "default"},
        "spec": {"strategy": {"canary": spec}},
    }
    if status:
        manifest["status"] = status
    return read(Rollout, manifest)


def to(host: str, weight: int | None = None, **more: Any) -> dict[str, Any]:
    """A destination; `subset` and `port` go inside, the rest beside it."""
    inner = {key: more.pop(key) for key in ("subset", "port") if key in more}
    item: dict[str, Any] = {"destination": {"host": host, **inner}, **more}
    return item if weight is None else {**item, "weight": weight}


def pair(stable: int | None, canary: int | None) -> list[dict[str, Any]]:
    return [to("stable", stable), to("canary", canary)]


def subset_pair(stable: int, canary: int, host: str = "app") -> list[dict[str, Any]]:
    return [to(host, stable, subset="stable"), to(host, canary, subset="canary")]


def virtual_service(
    *routes: dict[str, Any],
    name: str = "vs",
    namespace: str = "default",
    spec: dict[str, Any] | None = None,
) -> Object:
    """`spec` is laid over the rest."""
    http: dict[str, Any] = {"http": list(routes)} if routes else {}
    return {
        "apiVersion": "networking.istio.io/v1beta1",
        "kind": "VirtualService",
        "metadata": {"name": name, "namespace": namespace, "resourceVersion": "7"},
        "spec": {"hosts": ["shop.example.com"], **http, **(spec or {})},
    }


def destination_rule(*subsets: dict[str, Any], host: str = "app") -> Object:
    return {
        "apiVersion": "networking.istio.io/v1beta1",
        "kind": "DestinationRule",
        "metadata": {"name": "dr", "namespace": "default", "resourceVersion": "9"},
        "spec": {"host": host, "subsets": list(subsets)},
    }


def observed(*objects: Object) -> RouteObjects:
    return {Ref(obj["kind"], *Key.of(obj)): obj for obj in objects}


def weights(obj: Object, index: int = 0, block: str = "http") -> dict[str, int]:
    """Weight by subset or host of one route."""
    return {
        item["destination"].get("subset") or item["destination"]["host"]: item.get("weight", 0)
        for item in obj["spec"][block][index]["route"]
    }
