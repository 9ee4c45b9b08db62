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


def rules_of(route: Object) -> list[dict[str, Any]]:
    """The http routes of a VirtualService, the rules of an HTTPRoute."""
    spec = route["spec"]
    rules: list[dict[str, Any]] = spec["rules"] if "rules" in spec else spec["http"]
    return rules


def backends_of(rule: dict[str, Any]) -> dict[str, int]:
    """Weight by Service; one that is not written is 1 in an HTTPRoute, 0 in a VirtualService."""
    if "backendRefs" in rule:
        return {item["name"]: item.get("weight", 1) for item in rule["backendRefs"]}
    return {item["destination"]["host"]: item.get("weight") or 0 for item in rule["route"]}


def weights_of(route: Object, rollout: Object | None = None) -> tuple[int, int]:
    """Weights of stable and canary in the route that is ours; without ping and pong no Rollout is needed."""
    primary = next(item for item in rules_of(route) if item.get("name") == "primary")
    weights = backends_of(primary)
    stable, canary = roles_of(rollout) if rollout else ("web-stable", "web-canary")
    return weights[stable], weights[canary]


def weight_patch(route: Object, weight: int) -> list[dict[str, Any]]:
    """JSON Patch of somebody who sets the canary's weight without looking at anything."""
    at = next(n for n, item in enumerate(rules_of(route)) if item.get("name") == "primary")
    is_gateway = "rules" in route["spec"]
    place = f"/spec/rules/{at}/backendRefs" if is_gateway else f"/spec/http/{at}/route"
    return [
        {"op": "replace", "path": f"{place}/{index}/weight", "value": value}
        for index, value in enumerate((100 - weight, weight))
    ]


def http_route(name: str = "web") -> Object:
    """One named rule that is ours, and one that is not."""
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": name, "namespace": "shop", "annotations": {"example.com/x": "y"}},
        "spec": {
            "parentRefs": [{"name": "edge"}],
            "hostnames": [f"{name}.example.com"],
            "rules": [
                {
                    "name": "admin",
                    "matches": [{"path": {"type": "PathPrefix", "value": "/admin"}}],
                    "backendRefs": [{"name": "admin", "port": 80}],
                },
                {
                    "name": "primary",
                    "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
                    "timeouts": {"request": "5s"},
                    "backendRefs": [
                        {"name": "web-stable", "port": 80, "weight": 100},
                        {"name": "web-canary", "port": 80, "weight": 0},
                    ],
                },
            ],
        },
    }


def grpc_route(name: str = "web") -> Object:
    """The same for calls of methods."""
    made = http_route(name)
    for rule, called in zip(made["spec"]["rules"], ("shop.Admin", "shop.Cart"), strict=True):
        rule["matches"] = [{"method": {"service": called}}]
        rule.pop("timeouts", None)
    return {**made, "kind": "GRPCRoute"}


def on_http_routes(*names: str, grpc: tuple[str, ...] = ()) -> dict[str, Any]:
    """trafficRouting of a rollout on these HTTPRoutes and GRPCRoutes; header rules only on the former."""
    listed = [{"name": name, "useHeaderRoutes": True} for name in names]
    config: dict[str, Any] = {"httpRoutes": listed}
    if grpc:
        config["grpcRoutes"] = [{"name": name} for name in grpc]
    return {
        "plugins": {"argoproj-labs/gatewayAPI": config},
        "managedRoutes": [{"name": "shadow"}, {"name": "beta"}],
    }


def a_route(kind: str, name: str) -> Object:
    """A route object as its user applies it: a VirtualService, an HTTPRoute or a GRPCRoute."""
    if kind == "HTTPRoute":
        return http_route(name)
    if kind == "GRPCRoute":
        return grpc_route(name)
    made = virtual_service()
    made["metadata"]["name"] = name
    made["spec"]["hosts"] = [f"{name}.example.com"]
    return made
