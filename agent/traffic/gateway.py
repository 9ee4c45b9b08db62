"""The Gateway API router: weights of backendRefs in HTTPRoutes, GRPCRoutes, TCPRoutes and TLSRoutes.

It reads the configuration of Argo's plugin argoproj-labs/gatewayAPI and comes to its outcomes, but for what the
plugin leaves unsafe (docs/traffic.md): only rules with both Services are written, the share of other backends stays,
header rules keep everything of the rule they stand in front of, and ambiguous input is refused with the fix.
"""

from contextlib import suppress

from agent.api.meta import Object, Ref
from agent.api.rollout import Rollout
from agent.errors import Refused
from agent.traffic.gateway_config import FIELD, Config, Route, read_config
from agent.traffic.gateway_managed import base_pairs, check_names, managed_in
from agent.traffic.gateway_plan import route_changes
from agent.traffic.gateway_rules import (
    MAX_WEIGHT,
    canary_share,
    check_scale,
    dicts,
    full_weight,
    pairs_of,
    service_names,
)
from agent.traffic.gateway_status import confirmation_of
from agent.traffic.hosts import other_mesh_api
from agent.traffic.route_objects import managed_names, observed
from agent.traffic.routing import GATEWAY_API, routing_of
from agent.traffic.types import (
    Claim,
    Confirmation,
    Desired,
    FieldError,
    RouteChange,
    RouteObjects,
    RoutePlan,
    Router,
)

_NO_EXPERIMENTS = (
    "experiments get no weight of a Gateway API route: leave the weight out of their templates"
)


class Gateway(Router):
    """Implements agent.traffic.types.Router."""

    name = GATEWAY_API

    def references(self, rollout: Rollout) -> tuple[Ref, ...]:
        try:
            return tuple(route.ref for route in read_config(rollout).routes)
        except Refused:
            return ()

    def validate(self, rollout: Rollout, objects: RouteObjects) -> tuple[FieldError, ...]:
        try:
            config = read_config(rollout)
            _check_services(rollout)
            check_names(rollout)
            _check_managed(rollout, config)
            _check_experiments(rollout)
        except Refused as error:
            return (FieldError(error.field or FIELD, error.detail),)
        errors: list[FieldError] = []
        for at in config.routes:
            try:
                _check_route(rollout, at, objects)
            except Refused as error:
                errors.append(FieldError(error.field or at.field, error.detail))
        return tuple(errors)

    def canary_weight(self, rollout: Rollout, objects: RouteObjects) -> int | None:
        full = full_weight(rollout)
        try:
            shares = [
                canary_share(pair, full)
                for at in read_config(rollout).routes
                for pair in pairs_of(rollout, observed(objects, at.ref))
            ]
        except Refused:
            return None
        return max(shares, default=None)

    def managed_routes(self, rollout: Rollout, objects: RouteObjects) -> tuple[str, ...]:
        found: dict[str, None] = {}
        for route in self._present(rollout, objects).values():
            with suppress(Refused):
                found |= dict.fromkeys(item.route for item in managed_in(rollout, route))
        return tuple(found)

    def claims(self, rollout: Rollout, objects: RouteObjects) -> tuple[Claim, ...]:
        claims: dict[Claim, None] = {}
        for at in self._configured(rollout):
            with suppress(Refused):
                for pair in base_pairs(rollout, observed(objects, at.ref)):
                    claims[Claim(at.ref, pair.rule.label)] = None
                if at.managed:
                    for name in managed_names(rollout):
                        claims[Claim(at.ref, f"managed route '{name}'")] = None
        return tuple(claims)

    def confirmation(self, rollout: Rollout, objects: RouteObjects) -> Confirmation:
        """Of all routes: the first one that is not confirmed says why."""
        found = [
            confirmation_of(ref, route) for ref, route in self._present(rollout, objects).items()
        ]
        if not found:
            return Confirmation()
        in_listener = any(item.in_listener for item in found)
        missing = next((item.reason for item in found if item.verified is False), "")
        return Confirmation(verified=not missing, reason=missing, in_listener=in_listener)

    def plan(self, rollout: Rollout, objects: RouteObjects, desired: Desired) -> RoutePlan:
        """Lowers first, then labels, then raises. When something is refused only the lowers are there."""
        if desired.canary_weight is None and not desired.managed:
            return RoutePlan()
        try:
            config = read_config(rollout)
        except Refused as error:
            return RoutePlan(refusal=FieldError(error.field or FIELD, error.detail))
        changes: list[RouteChange] = []
        refusal: FieldError | None = None
        if any(item.match for item in desired.managed):
            try:
                _check_managed(rollout, config)
            except Refused as error:
                refusal = FieldError(error.field or FIELD, error.detail)
        for at in config.routes:
            made, trouble = _changes(rollout, at, objects, config, desired)
            changes += made
            if trouble:
                refusal = refusal or FieldError(trouble.field or at.field, trouble.detail)
        if any(item.weight for item in desired.additional):
            refusal = refusal or FieldError(FIELD, _NO_EXPERIMENTS)
        order = ("lower",) if refusal else ("lower", "repoint", "raise")
        sorted_changes = tuple(
            change for kind in order for change in changes if change.direction == kind
        )
        return RoutePlan(changes=sorted_changes, refusal=refusal)

    def _configured(self, rollout: Rollout) -> tuple[Route, ...]:
        try:
            return read_config(rollout).routes
        except Refused:
            return ()

    def _present(self, rollout: Rollout, objects: RouteObjects) -> dict[Ref, Object]:
        refs = (at.ref for at in self._configured(rollout))
        return {ref: objects[ref] for ref in refs if ref in objects}


def _changes(
    rollout: Rollout, at: Route, objects: RouteObjects, config: Config, desired: Desired
) -> tuple[list[RouteChange], Refused | None]:
    """The changes of one route, and trouble. Nothing has to leave one that is not there."""
    try:
        route = observed(objects, at.ref)
    except Refused as error:
        needed = desired.canary_weight is not None or any(item.match for item in desired.managed)
        return [], error if needed else None
    return route_changes(rollout, at, route, config.label, desired)


def _check_services(rollout: Rollout) -> None:
    routing = routing_of(rollout)
    most = routing.max_traffic_weight if routing else None
    if most is not None and not 0 < most <= MAX_WEIGHT:
        raise Refused(
            f"{most} is not between 1 and {MAX_WEIGHT}, which is the range of a backendRef's weight",
            field="spec.strategy.canary.trafficRouting.maxTrafficWeight",
        )
    for member, name in zip(
        ("canaryService", "stableService"), service_names(rollout), strict=True
    ):
        if not name:
            raise Refused(
                "is missing: backendRefs lead to Services, one for each version",
                field=f"spec.strategy.canary.{member}",
            )


def _check_managed(rollout: Rollout, config: Config) -> None:
    """Steps with header or mirror routes need a route that takes them."""
    canary = rollout.spec.strategy.canary
    steps = (canary.steps if canary else None) or []
    asked = any(
        part is not None and part.match
        for step in steps
        for part in (step.set_header_route, step.set_mirror_route)
    )
    if asked and not any(at.managed for at in config.routes):
        raise Refused(
            "a step sets a header or mirror route, and no route takes one: set useHeaderRoutes: true on an "
            "HTTPRoute or GRPCRoute"
        )


def _check_experiments(rollout: Rollout) -> None:
    canary = rollout.spec.strategy.canary
    for index, step in enumerate((canary.steps if canary else None) or ()):
        for template in dicts((step.experiment or {}).get("templates")):
            if template.get("weight") is not None:
                raise Refused(
                    _NO_EXPERIMENTS, field=f"spec.strategy.canary.steps[{index}].experiment"
                )


def _check_route(rollout: Rollout, at: Route, objects: RouteObjects) -> None:
    route = observed(objects, at.ref)
    full = full_weight(rollout)
    pairs = base_pairs(rollout, route)
    if not pairs:
        raise Refused("only rules of the rollout's own have backendRefs to both Services")
    taken = managed_names(rollout) if at.managed else ()
    for pair in pairs:
        canary_share(pair, full)
        check_scale(pair, full)
        if pair.rule.item.get("name") in taken:
            raise Refused(
                f"{pair.rule.label} carries the weights and has the name of a managed route: give the managed route "
                "another name"
            )
    if why := other_mesh_api(at.ref, route, objects):
        raise Refused(why)
