"""A shop behind Istio: the objects that a user would apply."""

from typing import Any

from agent.api.meta import Key, Object, Ref

KEY = Key("shop", "web")
ROLLOUT = Ref("Rollout", *KEY)
ROUTE = Ref("VirtualService", "shop", "web")

Steps = list[dict[str, Any]]


def rollout(steps: Steps, *, replicas: int = 4, image: str = "web:1", **canary: Any) -> Object:
    """A canary Rollout with a host-level split."""
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
        "metadata": {
            "name": "web",
            "namespace": "shop",
            "labels": {"team": "shop"},
            "annotations": {"example.com/owner": "somebody"},
        },
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": image}]},
            },
            "strategy": {
                "canary": {
                    "canaryService": "web-canary",
                    "stableService": "web-stable",
                    "trafficRouting": {
                        "istio": {"virtualService": {"name": "web", "routes": ["primary"]}}
                    },
                    "steps": steps,
                    **canary,
                }
            },
        },
    }


def virtual_service() -> Object:
    """One named route that is ours, and one that is not."""
    return {
        "apiVersion": "networking.istio.io/v1beta1",
        "kind": "VirtualService",
        "metadata": {"name": "web", "namespace": "shop", "annotations": {"example.com/x": "y"}},
        "spec": {
            "hosts": ["web.example.com"],
            "gateways": ["public"],
            "http": [
                {
                    "name": "admin",
                    "match": [{"uri": {"prefix": "/admin"}}],
                    "route": [{"destination": {"host": "admin"}, "weight": 100}],
                },
                {
                    "name": "primary",
                    "timeout": "5s",
                    "route": [
                        {"destination": {"host": "web-stable"}, "weight": 100},
                        {"destination": {"host": "web-canary"}, "weight": 0},
                    ],
                },
            ],
        },
    }


def service(name: str) -> Object:
    """A Service of the shop."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "shop", "labels": {"keep": "me"}},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
    }


def namespace() -> Object:
    """The namespace of the shop."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}


PING_PONG: dict[str, Any] = {
    "canaryService": "",
    "stableService": "",
    "pingPong": {"pingService": "web-canary", "pongService": "web-stable"},
}
"""The two Services as ping and pong."""


def roles_of(rollout: Object) -> tuple[str, str]:
    """Names of the stable and the canary Service now."""
    canary = rollout["spec"].get("strategy", {}).get("canary", {})
    pair = canary.get("pingPong")
    if not pair:
        return "web-stable", "web-canary"
    names = pair["pongService"], pair["pingService"]
    is_ping = (rollout.get("status") or {}).get("canary", {}).get("stablePingPong") == "ping"
    return (names[1], names[0]) if is_ping else names


def weights_of(route: Object, rollout: Object | None = None) -> tuple[int, int]:
    """Weights of stable and canary in the route that is ours; without ping and pong no Rollout is needed."""
    primary = next(item for item in route["spec"]["http"] if item.get("name") == "primary")
    by_host = {item["destination"]["host"]: item.get("weight") or 0 for item in primary["route"]}
    stable, canary = roles_of(rollout) if rollout else ("web-stable", "web-canary")
    return by_host[stable], by_host[canary]
