"""The Istio objects of a rollout: where they are, and who is who in them."""

import msgspec

from agent.api.meta import Object, Ref
from agent.api.rollout import IstioTrafficRouting, IstioVirtualService, Rollout
from agent.errors import Refused
from agent.traffic.istio_destinations import Roles, roles_of
from agent.traffic.istio_names import CLUSTER_LOCAL, istio_of, resolve
from agent.traffic.route_objects import observed
from agent.traffic.types import RouteObjects

FIELD = "spec.strategy.canary.trafficRouting.istio"


class Route(msgspec.Struct, frozen=True):
    """One VirtualService of the rollout: as configured, and where it is."""

    settings: IstioVirtualService
    ref: Ref
    field: str


def configured(rollout: Rollout, istio: IstioTrafficRouting) -> tuple[Route, ...]:
    """The VirtualServices in the manifest's order; those without a name are left out."""
    single = [istio.virtual_service] if istio.virtual_service else []
    listed = istio.virtual_services or []
    field = f"{FIELD}.virtualService.name" if single else f"{FIELD}.virtualServices.name"
    routes = []
    for settings in (*single, *listed):
        if settings.name:
            ref = Ref("VirtualService", *resolve(settings.name, rollout.metadata.namespace))
            routes.append(Route(settings, ref, field))
    return tuple(routes)


def routes_of(rollout: Rollout, istio: IstioTrafficRouting) -> tuple[Route, ...]:
    """Refused unless exactly one form is used and no VirtualService is named twice."""
    if (istio.virtual_service is None) == (not istio.virtual_services):
        raise Refused("either VirtualService or VirtualServices must be configured", field=FIELD)
    routes = configured(rollout, istio)
    refs = [route.ref for route in routes]
    for route in routes:
        if refs.count(route.ref) > 1:
            raise Refused(
                f"{route.ref} is named twice: name it once, with all its routes", field=route.field
            )
    return routes


def service_of(route: Route, objects: RouteObjects) -> Object:
    """The VirtualService; Refused when it is not there, with what a name like that of a Service means."""
    try:
        return observed(objects, route.ref)
    except Refused as error:
        name = route.settings.name
        if not name.removesuffix(CLUSTER_LOCAL).endswith(".svc"):
            raise
        detail = (
            f"{error.detail}: '{name}' means {route.ref}; write <name>.<namespace>, without svc"
        )
        raise Refused(detail, field=error.field) from error


def rule_ref(rollout: Rollout, istio: IstioTrafficRouting) -> Ref | None:
    """The DestinationRule; it is always in the rollout's own namespace."""
    rule = istio.destination_rule
    if rule is None or not rule.name:
        return None
    return Ref("DestinationRule", rollout.metadata.namespace, rule.name)


def observed_roles(rollout: Rollout, objects: RouteObjects, wanted: tuple[str, ...] = ()) -> Roles:
    """The rollout's roles, with the host of its DestinationRule where that was observed."""
    istio = istio_of(rollout)
    ref = rule_ref(rollout, istio) if istio else None
    return roles_of(rollout, objects.get(ref) if ref else None, wanted)
