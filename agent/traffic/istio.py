"""The Istio router: VirtualService weights and DestinationRule subsets (Argo's trafficRouting.istio).

Argo's outcomes are kept but for its defects (docs/architecture.md, "Traffic"): ambiguous input is refused with
the fix instead of being skipped, destinations and subsets of others are never deleted, and when one of
several VirtualServices is in trouble the weight is still lowered on the rest.
"""

from contextlib import suppress

from agent.api.meta import Object, Ref
from agent.api.rollout import IstioTrafficRouting, Rollout
from agent.errors import Refused
from agent.traffic.hosts import other_mesh_api
from agent.traffic.istio_destinations import Roles, roles_of
from agent.traffic.istio_managed import managed_in
from agent.traffic.istio_names import istio_of
from agent.traffic.istio_objects import (
    FIELD,
    Route,
    configured,
    observed_roles,
    routes_of,
    rule_ref,
    service_of,
)
from agent.traffic.istio_plan import no_routes, targets_in, virtual_service_changes
from agent.traffic.istio_precedence import overruled_by
from agent.traffic.istio_routes import canary_share, check_pair
from agent.traffic.istio_selection import Block, blocks_of, targets_of
from agent.traffic.istio_subsets import check_subsets, hash_operations, shelter_operations
from agent.traffic.route_objects import change_of, managed_names, observed
from agent.traffic.types import (
    Claim,
    Desired,
    FieldError,
    RouteChange,
    RouteObjects,
    RoutePlan,
    Router,
)


class Istio(Router):
    """Implements agent.traffic.types.Router."""

    name = "istio"

    def references(self, rollout: Rollout) -> tuple[Ref, ...]:
        istio = istio_of(rollout)
        if istio is None:
            return ()
        refs = dict.fromkeys(route.ref for route in configured(rollout, istio))
        rule = rule_ref(rollout, istio)
        return (*refs, rule) if rule else tuple(refs)

    def validate(self, rollout: Rollout, objects: RouteObjects) -> tuple[FieldError, ...]:
        istio = istio_of(rollout)
        if istio is None:
            return (
                FieldError(FIELD, "Rollout object is not configured with Istio traffic routing"),
            )
        try:
            routes = routes_of(rollout, istio)
        except Refused as error:
            return (FieldError(error.field, error.detail, "InternalError"),)
        errors: list[FieldError] = []
        for route in routes:
            errors += self.validate_virtual_service(rollout, objects, route.ref)
        rule_at = rule_ref(rollout, istio)
        if istio.destination_rule and rule_at:
            try:
                check_subsets(istio.destination_rule, observed(objects, rule_at))
            except Refused as error:
                errors.append(FieldError(f"{FIELD}.destinationRule.name", error.detail))
        return tuple(errors)

    def validate_virtual_service(
        self, rollout: Rollout, objects: RouteObjects, ref: Ref
    ) -> tuple[FieldError, ...]:
        """What is wrong with one VirtualService of the rollout, one error a block as in Argo."""
        istio = istio_of(rollout)
        errors: list[FieldError] = []
        for route in configured(rollout, istio) if istio else ():
            if route.ref != ref:
                continue
            try:
                service = service_of(route, objects)
                roles = observed_roles(rollout, objects)
                blocks = blocks_of(route.settings, service, roles)
                if not blocks:
                    raise Refused(no_routes(ref))
                own = {item.ref for item in configured(rollout, istio)} if istio else set()
                others = {at: obj for at, obj in objects.items() if at not in own}
                if why := (
                    overruled_by(ref, service, others) or other_mesh_api(ref, service, others)
                ):
                    raise Refused(why)
            except Refused as error:
                errors.append(FieldError(route.field, error.detail))
                continue
            for block in blocks:
                detail = _block_trouble(rollout, route, service, roles, block)
                if detail:
                    errors.append(FieldError(route.field, detail))
        return tuple(errors)

    def canary_weight(self, rollout: Rollout, objects: RouteObjects) -> int | None:
        istio = istio_of(rollout)
        if istio is None:
            return None
        roles = observed_roles(rollout, objects)
        try:
            shares = [
                canary_share(target)
                for route in routes_of(rollout, istio)
                for target in targets_in(rollout, route, service_of(route, objects), roles)
            ]
        except Refused:
            return None
        return max(shares, default=None)

    def managed_routes(self, rollout: Rollout, objects: RouteObjects) -> tuple[str, ...]:
        istio = istio_of(rollout)
        found: dict[str, None] = {}
        for route in configured(rollout, istio) if istio else ():
            service = objects.get(route.ref)
            if service is not None:
                with suppress(Refused):
                    found |= dict.fromkeys(managed_in(rollout, service))
        return tuple(found)

    def claims(self, rollout: Rollout, objects: RouteObjects) -> tuple[Claim, ...]:
        istio = istio_of(rollout)
        if istio is None:
            return ()
        claims: dict[Claim, None] = {}
        roles = observed_roles(rollout, objects)
        for route in configured(rollout, istio):
            with suppress(Refused):
                for target in targets_in(rollout, route, service_of(route, objects), roles):
                    claims[Claim(route.ref, target.label)] = None
        rule, settings = rule_ref(rollout, istio), istio.destination_rule
        if rule and settings:
            for subset in (settings.canary_subset_name, settings.stable_subset_name):
                if subset:
                    claims[Claim(rule, f"subset '{subset}'")] = None
        return tuple(claims)

    def plan(self, rollout: Rollout, objects: RouteObjects, desired: Desired) -> RoutePlan:
        """Lowers first, then subsets, then raises: the order in which they are safe.

        When something is refused, the changes are those lowers that are possible all the same.
        """
        istio = istio_of(rollout)
        if istio is None:
            return RoutePlan()
        changes: list[RouteChange] = []
        refusal: FieldError | None = None
        if desired.canary_weight is not None or desired.managed:
            try:
                routes = routes_of(rollout, istio)
            except Refused as error:
                return RoutePlan(refusal=FieldError(error.field, error.detail))
            experiments = tuple(d.service_name for d in desired.additional if d.service_name)
            roles = observed_roles(rollout, objects, experiments)
            for route in routes:
                made, trouble = _route_changes(rollout, route, objects, roles, desired)
                changes += made
                if trouble:
                    refusal = refusal or FieldError(trouble.field or route.field, trouble.detail)
        lowers = tuple(change for change in changes if change.direction == "lower")
        raises = tuple(change for change in changes if change.direction == "raise")
        try:
            subsets = _subset_changes(rollout, istio, objects, desired)
        except Refused as error:
            refusal = refusal or FieldError(f"{FIELD}.destinationRule.name", error.detail)
        if refusal:
            return RoutePlan(changes=lowers, refusal=refusal)
        return RoutePlan(changes=(*lowers, *subsets, *raises))

    def plan_shelter(self, rollout: Rollout, objects: RouteObjects, stable_hash: str) -> RoutePlan:
        istio = istio_of(rollout)
        ref = rule_ref(rollout, istio) if istio else None
        if istio is None or istio.destination_rule is None or ref is None or not stable_hash:
            return RoutePlan()
        try:
            rule = observed(objects, ref)
            operations = shelter_operations(istio.destination_rule, rule, stable_hash)
        except Refused as error:
            return RoutePlan(refusal=FieldError(f"{FIELD}.destinationRule.name", error.detail))
        if not operations:
            return RoutePlan()
        subset = istio.destination_rule.canary_subset_name
        reason = f"subset '{subset}' selects the stable pods, because the weight cannot be written"
        return RoutePlan(changes=(change_of(ref, rule, operations, "repoint", reason),))


def _route_changes(
    rollout: Rollout, route: Route, objects: RouteObjects, roles: Roles, desired: Desired
) -> tuple[list[RouteChange], Refused | None]:
    """The changes of one VirtualService, and trouble. Nothing has to leave one that is not there."""
    try:
        service = service_of(route, objects)
    except Refused as error:
        needed = desired.canary_weight is not None or any(item.match for item in desired.managed)
        return [], error if needed else None
    return virtual_service_changes(rollout, route, service, roles, desired)


def _subset_changes(
    rollout: Rollout, istio: IstioTrafficRouting, objects: RouteObjects, desired: Desired
) -> tuple[RouteChange, ...]:
    ref, settings = rule_ref(rollout, istio), istio.destination_rule
    if settings is None or ref is None:
        return ()
    hashes = {
        name: value
        for name, value in (
            (settings.canary_subset_name, desired.canary_hash),
            (settings.stable_subset_name, desired.stable_hash),
        )
        if name and value is not None
    }
    if not hashes:
        return ()
    rule = observed(objects, ref)
    experiments = {
        item.service_name: item.pod_template_hash
        for item in desired.additional
        if item.service_name
    }
    roles = roles_of(rollout, rule, tuple(experiments))
    operations = hash_operations(rollout, settings, roles, rule, hashes, experiments)
    reason = "subsets select " + ", ".join(f"{name}={value}" for name, value in hashes.items())
    return (change_of(ref, rule, operations, "repoint", reason),) if operations else ()


def _block_trouble(
    rollout: Rollout, route: Route, service: Object, roles: Roles, block: Block
) -> str:
    """Argo's sentence for a block that cannot be driven; "" when it can."""
    try:
        for target in targets_of(block, route.settings, managed_names(rollout), service, roles):
            check_pair(target, roles)
    except Refused as error:
        if error.detail.startswith("Unable to get"):
            return error.detail
        return f"Istio VirtualService has invalid {block.upper()} routes. Error: {error.detail}"
    return ""
