"""The Istio router: VirtualService weights and DestinationRule subsets (Argo's trafficRouting.istio).

Argo's outcomes are kept but for its defects (docs/architecture.md, "Traffic"): ambiguous input is refused with
the fix instead of being skipped, destinations and subsets of others are never deleted, and when one of
several VirtualServices is in trouble the weight is still lowered on the rest.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec

from agent.api.meta import Object, Ref
from agent.api.rollout import IstioTrafficRouting, IstioVirtualService, Rollout
from agent.errors import Refused
from agent.traffic.istio_destinations import Roles, roles_of
from agent.traffic.istio_names import istio_of, resolve
from agent.traffic.istio_routes import (
    Block,
    Target,
    blocks_of,
    canary_share,
    canary_share_or_full,
    check_pair,
    exposed_beside,
    rewrite,
    targets_of,
)
from agent.traffic.istio_subsets import check_subsets, hash_operations, shelter_operations
from agent.traffic.json_patch import Operation, apply, check, guards_first, pointer
from agent.traffic.types import Desired, FieldError, RouteChange, RouteObjects, RoutePlan

FIELD = "spec.strategy.canary.trafficRouting.istio"


class _Route(msgspec.Struct, frozen=True):
    """One VirtualService of the rollout: as configured, and where it is."""

    settings: IstioVirtualService
    ref: Ref
    field: str


class Istio:
    """Implements agent.traffic.types.Router."""

    name = "istio"

    def references(self, rollout: Rollout) -> tuple[Ref, ...]:
        istio = istio_of(rollout)
        if istio is None:
            return ()
        refs = dict.fromkeys(route.ref for route in _configured(rollout, istio))
        rule = _rule_ref(rollout, istio)
        return (*refs, rule) if rule else tuple(refs)

    def validate(self, rollout: Rollout, objects: RouteObjects) -> tuple[FieldError, ...]:
        istio = istio_of(rollout)
        if istio is None:
            return (
                FieldError(FIELD, "Rollout object is not configured with Istio traffic routing"),
            )
        try:
            routes = _routes(rollout, istio)
        except Refused as error:
            return (FieldError(error.field, error.detail, "InternalError"),)
        errors: list[FieldError] = []
        for route in routes:
            errors += self.validate_virtual_service(rollout, objects, route.ref)
        rule_ref = _rule_ref(rollout, istio)
        if istio.destination_rule and rule_ref:
            try:
                check_subsets(istio.destination_rule, _observed(objects, rule_ref))
            except Refused as error:
                errors.append(FieldError(f"{FIELD}.destinationRule.name", error.detail))
        return tuple(errors)

    def validate_virtual_service(
        self, rollout: Rollout, objects: RouteObjects, ref: Ref
    ) -> tuple[FieldError, ...]:
        """What is wrong with one VirtualService of the rollout, one error a block as in Argo."""
        istio = istio_of(rollout)
        errors: list[FieldError] = []
        for route in _configured(rollout, istio) if istio else ():
            if route.ref != ref:
                continue
            try:
                service = _observed(objects, ref)
                roles = _roles(rollout, objects)
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
        roles = _roles(rollout, objects)
        try:
            shares = [
                canary_share(target)
                for route in _routes(rollout, istio)
                for target in _targets(rollout, route, _observed(objects, route.ref), roles)
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
                routes = _routes(rollout, istio)
            except Refused as error:
                return RoutePlan(refusal=FieldError(error.field, error.detail))
            roles = _roles(rollout, objects, tuple(experiments))
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
        ref = _rule_ref(rollout, istio) if istio else None
        if istio is None or istio.destination_rule is None or ref is None or not stable_hash:
            return RoutePlan()
        try:
            rule = _observed(objects, ref)
            operations = shelter_operations(istio.destination_rule, rule, stable_hash)
        except Refused as error:
            return RoutePlan(refusal=FieldError(f"{FIELD}.destinationRule.name", error.detail))
        if not operations:
            return RoutePlan()
        subset = istio.destination_rule.canary_subset_name
        reason = f"subset '{subset}' selects the stable pods, because the weight cannot be written"
        return RoutePlan(changes=(_change(ref, rule, operations, "repoint", reason),))


def _weight_changes(
    rollout: Rollout,
    route: _Route,
    objects: RouteObjects,
    roles: Roles,
    weight: int,
    experiments: Mapping[str, int],
) -> tuple[list[RouteChange], Refused | None]:
    """At most one lower and one raise of one VirtualService, the raise on top of the lower.

    With trouble on any of its routes there is no raise.
    """
    lowers: list[Operation] = []
    raises: list[Operation] = []
    trouble: Refused | None = None
    try:
        service = _observed(objects, route.ref)
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
        changes.append(_change(route.ref, service, guards_first(lowers), "lower", reason))
    if raises and not trouble:
        before = changes[0].after if changes else service
        guard = [] if changes else _unchanged_since_read(service)
        changes.append(_change(route.ref, before, guards_first([*guard, *raises]), "raise", reason))
    return changes, trouble


def _lowers(target: Target, weight: int, experiments: Mapping[str, int]) -> bool:
    """What is not surely a lower is a raise: raises are the guarded ones."""
    now = canary_share_or_full(target)
    if weight != now:
        return weight < now
    exposed = sum(experiments.values())
    return exposed < exposed_beside(target) or (weight == 0 and exposed == 0)


def _unchanged_since_read(service: Object) -> list[Operation]:
    """A raise happens only on the very object that was judged; a lower must not fail over trifles."""
    version = (service.get("metadata") or {}).get("resourceVersion")
    return [check(pointer("metadata", "resourceVersion"), version)] if version else []


def _subset_changes(
    rollout: Rollout, istio: IstioTrafficRouting, objects: RouteObjects, desired: Desired
) -> tuple[RouteChange, ...]:
    ref, settings = _rule_ref(rollout, istio), istio.destination_rule
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
    rule = _observed(objects, ref)
    experiments = {
        item.service_name: item.pod_template_hash
        for item in desired.additional
        if item.service_name
    }
    roles = roles_of(rollout, rule, tuple(experiments))
    operations = hash_operations(rollout, settings, roles, rule, hashes, experiments)
    reason = "subsets select " + ", ".join(f"{name}={value}" for name, value in hashes.items())
    return (_change(ref, rule, operations, "repoint", reason),) if operations else ()


def _change(
    ref: Ref,
    before: Object,
    patch: tuple[Operation, ...],
    direction: Literal["lower", "raise", "repoint"],
    reason: str,
) -> RouteChange:
    return RouteChange(
        ref=ref,
        direction=direction,
        before=before,
        after=apply(before, patch),
        patch=patch,
        reason=reason,
    )


def _targets(rollout: Rollout, route: _Route, service: Object, roles: Roles) -> tuple[Target, ...]:
    blocks = blocks_of(route.settings, service, roles)
    if not blocks:
        raise Refused(_no_routes(route.ref), field=route.field)
    managed = _managed(rollout)
    return tuple(
        target
        for block in blocks
        for target in targets_of(block, route.settings, managed, service, roles)
    )


def _block_trouble(
    rollout: Rollout, route: _Route, service: Object, roles: Roles, block: Block
) -> str:
    """Argo's sentence for a block that cannot be driven; "" when it can."""
    try:
        for target in targets_of(block, route.settings, _managed(rollout), service, roles):
            check_pair(target, roles)
    except Refused as error:
        if error.detail.startswith("Unable to get"):
            return error.detail
        return f"Istio VirtualService has invalid {block.upper()} routes. Error: {error.detail}"
    return ""


def _no_routes(ref: Ref) -> str:
    return f"{ref} has no routes: add one in spec.http with the stable and the canary destination"


def _managed(rollout: Rollout) -> tuple[str, ...]:
    canary = rollout.spec.strategy.canary
    routing = canary.traffic_routing if canary else None
    return tuple(item.name for item in (routing.managed_routes if routing else None) or ())


def _configured(rollout: Rollout, istio: IstioTrafficRouting) -> tuple[_Route, ...]:
    """The VirtualServices in the manifest's order; those without a name are left out."""
    single = [istio.virtual_service] if istio.virtual_service else []
    listed = istio.virtual_services or []
    field = f"{FIELD}.virtualService.name" if single else f"{FIELD}.virtualServices.name"
    routes = []
    for settings in (*single, *listed):
        if settings.name:
            ref = Ref("VirtualService", *resolve(settings.name, rollout.metadata.namespace))
            routes.append(_Route(settings, ref, field))
    return tuple(routes)


def _routes(rollout: Rollout, istio: IstioTrafficRouting) -> tuple[_Route, ...]:
    """Refused unless exactly one form is used and no VirtualService is named twice."""
    if (istio.virtual_service is None) == (not istio.virtual_services):
        raise Refused("either VirtualService or VirtualServices must be configured", field=FIELD)
    routes = _configured(rollout, istio)
    refs = [route.ref for route in routes]
    for route in routes:
        if refs.count(route.ref) > 1:
            raise Refused(
                f"{route.ref} is named twice: name it once, with all its routes", field=route.field
            )
    return routes


def _rule_ref(rollout: Rollout, istio: IstioTrafficRouting) -> Ref | None:
    rule = istio.destination_rule
    if rule is None or not rule.name:
        return None
    return Ref("DestinationRule", rollout.metadata.namespace, rule.name)


def _roles(rollout: Rollout, objects: RouteObjects, wanted: tuple[str, ...] = ()) -> Roles:
    istio = istio_of(rollout)
    ref = _rule_ref(rollout, istio) if istio else None
    return roles_of(rollout, objects.get(ref) if ref else None, wanted)


_PLURAL: Mapping[str, str] = {
    "VirtualService": "virtualservices",
    "DestinationRule": "destinationrules",
}


def _observed(objects: RouteObjects, ref: Ref) -> Object:
    found = objects.get(ref)
    if found is None:
        raise Refused(f'{_PLURAL[ref.kind]}.networking.istio.io "{ref.name}" not found')
    return found
