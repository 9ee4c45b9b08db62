"""Header and mirror routes, which the rollout itself puts in front of the user's routes.

Routes in managedRoutes stand first, in that order; all others keep theirs. (Argo multiplies unnamed routes
when it orders them, and stops at the first VirtualService that has nothing to remove.) Everything here raises
Refused with a sentence for the user; agent.traffic.istio turns that into a refusal.
"""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from agent.api.meta import Object
from agent.api.rollout import Rollout, RouteMatch, SetHeaderRoute, StringMatch
from agent.errors import Refused
from agent.traffic.istio_destinations import Destination, Roles
from agent.traffic.istio_objects import Route
from agent.traffic.istio_routes import FULL, check_pair
from agent.traffic.istio_selection import routes_in, targets_of
from agent.traffic.json_patch import Operation, check, difference, pointer, remove
from agent.traffic.route_objects import managed_names
from agent.traffic.types import ManagedRoute

HttpRoute = dict[str, Any]
_HTTP = pointer("spec", "http")


def managed_in(rollout: Rollout, service: Object) -> tuple[str, ...]:
    """Names of the rollout's header and mirror routes that stand in a VirtualService, top to bottom.

    A route of that name that carries the rollout's weights is the user's, whatever the names say.
    """
    canary = rollout.spec.strategy.canary
    named = set(managed_names(rollout))
    for step in (canary.steps if canary else None) or ():
        named |= {part.name for part in (step.set_header_route, step.set_mirror_route) if part}
    if not named or not has_http(service):
        return ()
    return tuple(
        name for route in routes_in("http", service) if (name := route.get("name")) in named
    )


def has_http(service: Object) -> bool:
    """Whether the VirtualService has http routes: only beside these can managed routes stand."""
    spec = service.get("spec")
    return bool(isinstance(spec, dict) and spec.get("http"))


def removals(route: Route, service: Object, managed: Sequence[ManagedRoute]) -> list[Operation]:
    """Operations that take away the managed routes that should be gone, where they are."""
    leaving = tuple(item.name for item in managed if not item.match)
    if not leaving or not has_http(service):
        return []
    _check_names(route, leaving)
    operations: list[Operation] = []
    http = routes_in("http", service)
    for index in reversed(range(len(http))):
        if http[index].get("name") in leaving:
            at = pointer("spec", "http", index)
            operations += [check(at + "/name", http[index]["name"]), remove(at)]
    return operations


def insertions(
    rollout: Rollout,
    route: Route,
    service: Object,
    roles: Roles,
    managed: Sequence[ManagedRoute],
) -> list[Operation]:
    """Operations that make the wanted managed routes stand as they should; routes that stay are not named.

    They rely on every index, so the patch needs `unchanged_http` of the object that they were made for.
    """
    wanted = {item.name: item for item in managed if item.match}
    if not wanted:
        return []
    allowed = managed_names(rollout)
    for name in wanted:
        if name not in allowed:
            raise Refused(
                f"route '{name}' is not allowed: list it in trafficRouting.managedRoutes",
                field="spec.strategy.canary.trafficRouting.managedRoutes",
            )
    _check_names(route, allowed)
    if not has_http(service):
        raise Refused(f"spec.http not found in {route.ref}", field=route.field)
    before = routes_in("http", service)
    (first, *_rest) = targets_of("http", route.settings, allowed, service, roles)
    canary, _stable = check_pair(first, roles)
    built = [_build(item, roles, canary, first.destinations) for item in wanted.values()]
    kept = [item for item in before if item.get("name") not in wanted]
    return difference(_HTTP, before, _ordered([*built, *kept], allowed))


def unchanged_http(service: Object) -> Operation:
    """The http routes must be the very ones that were judged: an insertion relies on every index."""
    return check(_HTTP, routes_in("http", service))


def _build(
    item: ManagedRoute, roles: Roles, canary: Destination, every: Sequence[Destination]
) -> HttpRoute:
    """The managed route, from the destinations of the route that carries the weights."""
    if isinstance(item, SetHeaderRoute):
        matches = [
            {"headers": {entry.header_name: _condition(entry.header_value)}}
            for entry in item.match or ()
        ]
        where = {"destination": _canary_place(roles, canary), "weight": FULL}
        return {"name": item.name, "match": matches, "route": [where]}
    return {
        "name": item.name,
        "match": [_match(entry) for entry in item.match or ()],
        "route": [destination.item for destination in every],
        "mirror": _canary_place(roles, canary),
        "mirrorPercentage": {"value": FULL if item.percentage is None else item.percentage},
    }


def _ordered(routes: Sequence[HttpRoute], managed: Sequence[str]) -> list[HttpRoute]:
    first = [route for name in managed for route in routes if route.get("name") == name]
    return [*first, *(route for route in routes if route.get("name") not in managed)]


def _check_names(route: Route, managed: Sequence[str]) -> None:
    """A route of the user's that carries weights must never count as one of ours: we would delete it."""
    for name in route.settings.routes or ():
        if name in managed:
            raise Refused(
                f"route '{name}' is listed both in managedRoutes (or a step) and in the routes of "
                f"{route.ref}: give the managed route another name",
                field=route.field,
            )


def _canary_place(roles: Roles, canary: Destination) -> dict[str, Any]:
    """Where the canary is, with the port of the route that carries its weight."""
    if roles.by_subset:
        place = {"host": roles.subset_host or canary.host, "subset": roles.canary_subset}
    else:
        place = {"host": roles.canary_service}
    port = canary.item["destination"].get("port")
    return {**place, "port": deepcopy(port)} if port else place


def _match(match: RouteMatch) -> dict[str, Any]:
    built: dict[str, Any] = {}
    if match.method:
        built["method"] = _condition(match.method)
    if match.path:
        built["uri"] = _condition(match.path)
    if match.headers:
        built["headers"] = {name: _condition(value) for name, value in match.headers.items()}
    return built


def _condition(value: StringMatch | None) -> dict[str, str]:
    """Exact, prefix or regex, the first that is set."""
    for kind in ("exact", "prefix", "regex"):
        text = getattr(value, kind, None)
        if text:
            return {kind: text}
    return {}
