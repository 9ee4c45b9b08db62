"""The Istio router: VirtualService weights and DestinationRule subsets (Argo's trafficRouting.istio).

Argo's outcomes are kept but for its defects (docs/architecture.md, "Traffic"): ambiguous input is refused with
the fix instead of being skipped, destinations and subsets of others are never deleted, and when one of
several VirtualServices is in trouble the weight is still lowered on the rest.
"""

from collections.abc import Mapping

from agent.api.meta import Object, Ref
from agent.api.rollout import IstioTrafficRouting, Rollout
from agent.errors import Refused
from agent.traffic.istio_destinations import Roles, roles_of
from agent.traffic.istio_names import istio_of
from agent.traffic.istio_objects import (
    FIELD,
    Route,
    change_of,
    configured,
    managed_names,
    observed,
    observed_roles,
    routes_of,
    rule_ref,
    unchanged_since_read,
)
from agent.traffic.istio_routes import (
    canary_share,
    canary_share_or_full,
    check_pair,
    exposed_beside,
    rewrite,
)
from agent.traffic.istio_selection import Block, Target, blocks_of, targets_of
from agent.traffic.istio_subsets import check_subsets, hash_operations, shelter_operations
from agent.traffic.json_patch import Operation, guards_first
from agent.traffic.types import Desired, FieldError, RouteChange, RouteObjects, RoutePlan


class Istio:
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
                service = observed(objects, ref)
                roles = observed_roles(rollout, objects)
                blocks = blocks_of(route.settings, service, roles)
                if not blocks:
                    raise Refused(_no_routes(ref))
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
                for target in _targets(rollout, route, observed(objects, route.ref), roles)
            ]
        except Refused:
            return None
        return max(shares, default=None)

    def plan(self, rollout: Rollout, objects: RouteObjects, desired: Desired) -> RoutePlan:
        """Lowers first, then subsets, then raises: the order in which they are safe.

        When something is refused, the changes are those lowers that are possible all the same.
        """
        istio = istio_of(rollout)
        if istio is None:
            return RoutePlan()
        weights: list[RouteChange] = []
        refusal: FieldError | None = None
        if desired.canary_weight is not None:
            experiments = {d.service_name: d.weight for d in desired.additional if d.service_name}
            try:
                routes = routes_of(rollout, istio)
            except Refused as error:
                return RoutePlan(refusal=FieldError(error.field, error.detail))
            roles = observed_roles(rollout, objects, tuple(experiments))
            for route in routes:
                changes, trouble = _weight_changes(
                    rollout, route, objects, roles, desired.canary_weight, experiments
                )
                weights += changes
                if trouble:
                    refusal = refusal or FieldError(trouble.field or route.field, trouble.detail)
        lowers = tuple(change for change in weights if change.direction == "lower")
        raises = tuple(change for change in weights if change.direction == "raise")
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


def _weight_changes(
    rollout: Rollout,
    route: Route,
    objects: RouteObjects,
    roles: Roles,
    weight: int,
    experiments: Mapping[str, int],
) -> tuple[list[RouteChange], Refused | None]:
    """At most one lower and one raise of one VirtualService, the raise on top of the lower; and trouble."""
    lowers: list[Operation] = []
    raises: list[Operation] = []
    trouble: Refused | None = None
    try:
        service = observed(objects, route.ref)
        targets = _targets(rollout, route, service, roles)
    except Refused as error:
        return [], error
    for target in targets:
        try:
            written = rewrite(target, roles, weight, experiments)
        except Refused as error:
            trouble = trouble or error
            continue
        (lowers if _lowers(target, weight, experiments) else raises).extend(written)
    changes: list[RouteChange] = []
    reason = f"canary weight {weight} on {route.ref}"
    if lowers:
        changes.append(change_of(route.ref, service, guards_first(lowers), "lower", reason))
    if raises:
        before = changes[0].after if changes else service
        guard = [] if changes else unchanged_since_read(service)
        changes.append(
            change_of(route.ref, before, guards_first([*guard, *raises]), "raise", reason)
        )
    return changes, trouble


def _lowers(target: Target, weight: int, experiments: Mapping[str, int]) -> bool:
    """What is not surely a lower is a raise: raises are the guarded ones."""
    now = canary_share_or_full(target)
    if weight != now:
        return weight < now
    exposed = sum(experiments.values())
    return exposed < exposed_beside(target) or (weight == 0 and exposed == 0)


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


def _targets(rollout: Rollout, route: Route, service: Object, roles: Roles) -> tuple[Target, ...]:
    blocks = blocks_of(route.settings, service, roles)
    if not blocks:
        raise Refused(_no_routes(route.ref), field=route.field)
    managed = managed_names(rollout)
    return tuple(
        target
        for block in blocks
        for target in targets_of(block, route.settings, managed, service, roles)
    )


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


def _no_routes(ref: Ref) -> str:
    return f"{ref} has no routes: add one in spec.http with the stable and the canary destination"
