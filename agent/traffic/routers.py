"""The routers we drive, by what configures them: a new router is one file and one line here.

Those of third parties come through an entry point (agent.router_plugins) and stand in the same mapping.
"""

from collections.abc import Mapping
from typing import Final

from agent.api.rollout import Rollout, TrafficRouting
from agent.traffic.istio import Istio
from agent.traffic.types import FieldError, Router

ROUTERS: Mapping[str, Router] = {router.name: router for router in (Istio(),)}
"""By `Router.name`, in the order in which they are looked for."""

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
_INSTEAD: Mapping[str, str] = {
    "nginx": "an HTTPRoute on a Gateway of NGINX Gateway Fabric",
    "alb": "an HTTPRoute on a Gateway of the AWS Load Balancer Controller",
    "smi": "an HTTPRoute with the Service as parent, which Linkerd and Istio follow (SMI itself has ended)",
    "ambassador": "an HTTPRoute on a Gateway of Envoy Gateway",
    "appMesh": "an HTTPRoute on a Gateway of the AWS Gateway API Controller for VPC Lattice (App Mesh has ended)",
    "traefik": "an HTTPRoute on a Gateway of Traefik (providers.kubernetesGateway)",
    "apisix": "an HTTPRoute on a Gateway of the APISIX Ingress Controller",
}


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


def router_of(
    routing: TrafficRouting | None, routers: Mapping[str, Router] = ROUTERS
) -> Router | None:
    """The router that the manifest configures; None without one that we drive."""
    names = configured(routing)
    return next((router for name, router in routers.items() if name in names), None)


def refused_routers(
    routing: TrafficRouting | None, routers: Mapping[str, Router] = ROUTERS
) -> tuple[FieldError, ...]:
    """A refusal by name for every configured router that we do not drive, and for a second one that we do.

    Leaving one alone would let a canary take steps while its traffic never moves.
    """
    driven, errors = "", []
    for name in configured(routing):
        if name not in routers:
            errors.append(FieldError(field_of(name), _not_driven(name, routers)))
        elif driven:
            why = f"beside '{driven}': one Rollout is driven through one router; keep the one that has the traffic"
            errors.append(FieldError(field_of(name), why))
        else:
            driven = name
    return tuple(errors)


def field_of(name: str) -> str:
    """Where a router is configured."""
    return f'{FIELD}.plugins["{name}"]' if is_plugin(name) else f"{FIELD}.{name}"


def is_plugin(name: str) -> bool:
    """Whether a router is configured as a plugin."""
    return name not in _MEMBERS


def _not_driven(name: str, routers: Mapping[str, Router]) -> str:
    if is_plugin(name):
        return (
            f"the router plugin '{name}' is not installed: Serinus drives {', '.join(routers)}; a router of "
            "one's own is added through the entry point serinus.traffic_routers (docs/routers.md)"
        )
    gateway = f'{FIELD}.plugins["{GATEWAY_API}"].httpRoute'
    return (
        f"the router '{name}' is not driven: use {_INSTEAD.get(name, 'an HTTPRoute')} and name it in {gateway}, "
        "or leave this Rollout to Argo Rollouts"
    )
