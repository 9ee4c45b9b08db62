"""Header and mirror routes, which the rollout itself puts in front of the user's routes.

Pure plans for the steps setHeaderRoute and setMirrorRoute and for taking all such routes away. Routes in
managedRoutes stand first, in that order; all others keep theirs. (Argo multiplies unnamed routes when
it orders them, and stops at the first VirtualService that has nothing to remove.)
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from difflib import SequenceMatcher
from typing import Any, Literal

import msgspec

from agent.api.meta import Object
from agent.api.rollout import Rollout, RouteMatch, SetHeaderRoute, SetMirrorRoute, StringMatch
from agent.errors import Refused
from agent.traffic.istio_destinations import Destination, Roles
from agent.traffic.istio_names import istio_of
from agent.traffic.istio_objects import (
    Route,
    change_of,
    managed_names,
    observed,
    observed_roles,
    routes_of,
    unchanged_since_read,
)
from agent.traffic.istio_routes import FULL, check_pair
from agent.traffic.istio_selection import routes_in, targets_of
from agent.traffic.json_patch import Operation, add, check, guards_first, pointer, remove
from agent.traffic.types import FieldError, RouteChange, RouteObjects, RoutePlan

HttpRoute = dict[str, Any]
Build = Callable[[Roles, Destination, Sequence[Destination]], HttpRoute]
"""Makes the managed route from the roles, the canary's destination and all of the first weighted route."""


def plan_header_route(rollout: Rollout, objects: RouteObjects, step: SetHeaderRoute) -> RoutePlan:
    """Calls with these headers go to the canary, all of them. Without a match the route is taken away."""
    if not step.match:
        return _plan(rollout, objects, step.name, None)
    matches = [
        {"headers": {item.header_name: _condition(item.header_value)}} for item in step.match
    ]

    def build(roles: Roles, canary: Destination, _all: Sequence[Destination]) -> HttpRoute:
        where = {"destination": _canary_place(roles, canary), "weight": FULL}
        return {"name": step.name, "match": matches, "route": [where]}

    return _plan(rollout, objects, step.name, build)


def plan_mirror_route(rollout: Rollout, objects: RouteObjects, step: SetMirrorRoute) -> RoutePlan:
    """Matching calls are answered as before and copied to the canary. Without a match: taken away."""
    if not step.match:
        return _plan(rollout, objects, step.name, None)
    matches = [_match(item) for item in step.match]
    percentage = FULL if step.percentage is None else step.percentage

    def build(roles: Roles, canary: Destination, every: Sequence[Destination]) -> HttpRoute:
        return {
            "name": step.name,
            "match": matches,
            "route": [item.item for item in every],
            "mirror": _canary_place(roles, canary),
            "mirrorPercentage": {"value": percentage},
        }

    return _plan(rollout, objects, step.name, build)


def plan_removal(rollout: Rollout, objects: RouteObjects) -> RoutePlan:
    """Take away every managed route and those of header and mirror steps, where they are.

    A VirtualService that is missing, or has no http routes, has none of them.
    """
    istio, canary = istio_of(rollout), rollout.spec.strategy.canary
    if istio is None or canary is None:
        return RoutePlan()
    steps = [
        part.name
        for step in canary.steps or ()
        for part in (step.set_header_route, step.set_mirror_route)
        if part is not None
    ]
    leaving = tuple(dict.fromkeys((*steps, *managed_names(rollout))))
    changes: list[RouteChange] = []
    try:
        for route in routes_of(rollout, istio):
            service = objects.get(route.ref)
            if service is None or not (service.get("spec") or {}).get("http"):
                continue
            _check_names(route, leaving)
            before = routes_in("http", service)
            after = [item for item in before if item.get("name") not in leaving]
            changes += _change(route, service, before, after, "lower", "managed routes removed")
    except Refused as error:
        return RoutePlan(changes=tuple(changes), refusal=_refusal(error))
    return RoutePlan(changes=tuple(changes))


def _plan(rollout: Rollout, objects: RouteObjects, name: str, build: Build | None) -> RoutePlan:
    """The managed route `name` as built on every VirtualService, or taken off them."""
    istio = istio_of(rollout)
    if istio is None:
        return RoutePlan()
    managed, changes = managed_names(rollout), []
    try:
        if build and name not in managed:
            raise Refused(
                f"route '{name}' is not allowed: list it in trafficRouting.managedRoutes",
                field="spec.strategy.canary.trafficRouting.managedRoutes",
            )
        roles = observed_roles(rollout, objects)
        for route in routes_of(rollout, istio):
            _check_names(route, managed)
            service = observed(objects, route.ref)
            if not (service.get("spec") or {}).get("http"):
                raise Refused(f"spec.http not found in {route.ref}", field=route.field)
            before = routes_in("http", service)
            after = [item for item in before if item.get("name") != name]
            if build:
                (first, *_rest) = targets_of("http", route.settings, managed, service, roles)
                canary, _stable = check_pair(first, roles)
                after = _ordered([build(roles, canary, first.destinations), *after], managed)
            reason = f"managed route '{name}'"
            direction: Literal["lower", "raise"] = "raise" if build else "lower"
            changes += _change(route, service, before, after, direction, reason)
    except Refused as error:
        return RoutePlan(refusal=_refusal(error))
    return RoutePlan(changes=tuple(changes))


def _ordered(routes: Sequence[HttpRoute], managed: Sequence[str]) -> list[HttpRoute]:
    first = [route for name in managed for route in routes if route.get("name") == name]
    return [*first, *(route for route in routes if route.get("name") not in managed)]


def _change(
    route: Route,
    service: Object,
    before: Sequence[HttpRoute],
    after: Sequence[HttpRoute],
    direction: Literal["lower", "raise"],
    reason: str,
) -> list[RouteChange]:
    """The insertions and removals between the two lists, as one patch; routes that stay are not named.

    An insertion relies on every index, so it also needs the very object that was read.
    """
    old = [msgspec.json.encode(item, order="sorted") for item in before]
    new = [msgspec.json.encode(item, order="sorted") for item in after]
    operations: list[Operation] = []
    for tag, start, end, new_start, new_end in reversed(
        SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    ):
        if tag == "equal":
            continue
        for index in reversed(range(start, end)):
            at = pointer("spec", "http", index)
            operations += [check(at + "/name", before[index]["name"]), remove(at)]
        operations += [
            add(pointer("spec", "http", start), item) for item in reversed(after[new_start:new_end])
        ]
    if not operations:
        return []
    inserts = any(operation["op"] == "add" for operation in operations)
    guard = unchanged_since_read(service) if inserts else []
    patch = guards_first([*guard, *operations])
    return [change_of(route.ref, service, patch, direction, f"{reason} on {route.ref}")]


def _check_names(route: Route, managed: Sequence[str]) -> None:
    """A route of the user's that carries weights must never count as one of ours: we would delete it."""
    for name in route.settings.routes or ():
        if name in managed:
            raise Refused(
                f"route '{name}' is listed both in managedRoutes (or a step) and in the routes of "
                f"{route.ref}: give the managed route another name",
                field=route.field,
            )


def _refusal(error: Refused) -> FieldError:
    return FieldError(error.field, error.detail)


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
