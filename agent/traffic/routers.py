"""The routers we drive: a new router is one file and one line here."""

from collections.abc import Mapping

from agent.api.rollout import Rollout, TrafficRouting
from agent.traffic.istio import Istio
from agent.traffic.types import FieldError, Router

ROUTERS: Mapping[str, Router] = {router.name: router for router in (Istio(),)}
"""By the member of spec.strategy.canary.trafficRouting that configures them, in Argo's order."""

_FIELD = "spec.strategy.canary.trafficRouting"
_OTHERS: Mapping[str, str] = {
    "nginx": "nginx",
    "alb": "alb",
    "smi": "smi",
    "ambassador": "ambassador",
    "appMesh": "app_mesh",
    "traefik": "traefik",
    "apisix": "apisix",
    "plugins": "plugins",
}


def routing_of(rollout: Rollout) -> TrafficRouting | None:
    """spec.strategy.canary.trafficRouting; None without one."""
    canary = rollout.spec.strategy.canary
    return canary.traffic_routing if canary else None


def router_of(
    routing: TrafficRouting | None, routers: Mapping[str, Router] = ROUTERS
) -> Router | None:
    """The router that the manifest configures; None without one that we drive."""
    for name, router in routers.items():
        if routing is not None and getattr(routing, name, None) is not None:
            return router
    return None


def refused_routers(routing: TrafficRouting | None) -> tuple[FieldError, ...]:
    """A refusal by name for every configured router that we do not drive.

    Leaving one alone would let a canary take steps while its traffic never moves.
    """
    if routing is None:
        return ()
    return tuple(
        FieldError(
            f"{_FIELD}.{name}",
            f"the router '{name}' is not supported: Serinus drives {', '.join(ROUTERS)}; "
            "configure one of these, or leave this Rollout to Argo Rollouts",
        )
        for name, attribute in _OTHERS.items()
        if getattr(routing, attribute) is not None
    )
