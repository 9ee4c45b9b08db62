"""Which routers a manifest configures. PURE."""

from collections.abc import Mapping
from typing import Final

from agent.api.rollout import Rollout, TrafficRouting

FIELD: Final = "spec.strategy.canary.trafficRouting"
GATEWAY_API: Final = "argoproj-labs/gatewayAPI"
"""The plugin whose configuration the Gateway API router reads."""
_MEMBERS: Mapping[str, str] = {
    "istio": "istio",
    "nginx": "nginx",
    "alb": "alb",
    "smi": "smi",
    "ambassador": "ambassador",
    "appMesh": "app_mesh",
    "traefik": "traefik",
    "apisix": "apisix",
}
"""Members of trafficRouting that are routers, in Argo's order, and how TrafficRouting calls them."""


def routing_of(rollout: Rollout) -> TrafficRouting | None:
    """spec.strategy.canary.trafficRouting; None without one."""
    canary = rollout.spec.strategy.canary
    return canary.traffic_routing if canary else None


def configured(routing: TrafficRouting | None) -> tuple[str, ...]:
    """Names of the routers that the manifest configures, ours or not: members first, then plugins."""
    if routing is None:
        return ()
    members = (name for name, field in _MEMBERS.items() if getattr(routing, field) is not None)
    return (*members, *(routing.plugins or ()))


def field_of(name: str) -> str:
    """Where a router is configured."""
    return f'{FIELD}.plugins["{name}"]' if is_plugin(name) else f"{FIELD}.{name}"


def is_plugin(name: str) -> bool:
    """Whether a router is configured as a plugin."""
    return name not in _MEMBERS
