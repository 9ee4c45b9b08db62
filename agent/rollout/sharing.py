"""Two rollouts on one route, subset or Service undo each other's writes for ever: both are refused. PURE."""

from collections.abc import Iterable, Mapping

from agent.api.decode import read
from agent.api.meta import Key, Object, Ref
from agent.api.rollout import Rollout
from agent.errors import Refused
from agent.rollout.references import SERVICE_FIELDS, referenced_services
from agent.traffic.routers import router_of
from agent.traffic.routing import routing_of
from agent.traffic.types import FieldError, RouteObjects, Router

_ROUTING = "spec.strategy.canary.trafficRouting"


def sharing_errors(
    rollout: Rollout,
    router: Router | None,
    routes: RouteObjects,
    rivals: Iterable[Object],
    routers: Mapping[str, Router],
) -> list[FieldError]:
    """One error for each part that another rollout claims, too, naming that rollout.

    Args:
        rivals: Rollouts that name a Service or route object of this one. One that cannot be read, or is
            being deleted, writes nothing.
    """
    errors: list[FieldError] = []
    mine = router.claims(rollout, routes) if router else ()
    services = referenced_services(rollout)
    for rival in sorted(rivals, key=Key.of):
        if (rival.get("metadata") or {}).get("deletionTimestamp"):
            continue
        try:
            other = read(Rollout, rival)
        except Refused:
            continue
        theirs = Ref("Rollout", *Key.of(rival))
        if other.metadata.namespace == rollout.metadata.namespace:
            used = {name for _role, name in referenced_services(other)}
            errors += [
                FieldError(
                    SERVICE_FIELDS[role],
                    f'Service "{name}" is also used by {theirs}: give each its own Service',
                )
                for role, name in services
                if name in used
            ]
        other_router = router_of(routing_of(other), routers)
        claimed = other_router.claims(other, routes) if other_router else ()
        errors += [
            FieldError(
                _ROUTING,
                f"{claim.part} of {claim.ref} is also driven by {theirs}: give each its own route",
            )
            for claim in mine
            if claim in claimed
        ]
    return errors
