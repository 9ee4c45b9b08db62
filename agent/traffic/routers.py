"""The routers we drive, by what configures them: a new router is one file and one line here.

Those of third parties come through an entry point (agent.router_plugins) and stand in the same mapping.
"""

from collections.abc import Mapping

from agent.api.rollout import TrafficRouting
from agent.traffic.gateway import Gateway
from agent.traffic.istio import Istio
from agent.traffic.routing import GATEWAY_API, configured, field_of, is_plugin
from agent.traffic.types import FieldError, Router

ROUTERS: Mapping[str, Router] = {router.name: router for router in (Istio(), Gateway())}
"""By `Router.name`, in the order in which they are looked for."""

_INSTEAD: Mapping[str, str] = {
    "nginx": "an HTTPRoute on a Gateway of NGINX Gateway Fabric",
    "alb": "an HTTPRoute on a Gateway of the AWS Load Balancer Controller",
    "smi": "an HTTPRoute with the Service as parent, which Linkerd and Istio follow (SMI itself has ended)",
    "ambassador": "an HTTPRoute on a Gateway of Envoy Gateway",
    "appMesh": "an HTTPRoute on a Gateway of the AWS Gateway API Controller for VPC Lattice (App Mesh has ended)",
    "traefik": "an HTTPRoute on a Gateway of Traefik (providers.kubernetesGateway)",
    "apisix": "an HTTPRoute on a Gateway of the APISIX Ingress Controller",
}


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


def _not_driven(name: str, routers: Mapping[str, Router]) -> str:
    if is_plugin(name):
        return (
            f"the router plugin '{name}' is not installed: Serinus drives {', '.join(routers)}; a router of "
            "one's own is added through the entry point serinus.traffic_routers (docs/routers.md)"
        )
    return (
        f"the router '{name}' is not driven: use {_INSTEAD.get(name, 'an HTTPRoute')} and name it in "
        f"{field_of(GATEWAY_API)}.httpRoute, or leave this Rollout to Argo Rollouts"
    )
