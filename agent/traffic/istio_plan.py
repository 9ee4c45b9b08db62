"""The changes of one VirtualService: weights and managed routes together, what falls before what rises."""

from collections.abc import Mapping, Sequence

from agent.api.meta import Object, Ref
from agent.api.rollout import Rollout
from agent.errors import Refused
from agent.traffic.istio_destinations import Roles
from agent.traffic.istio_managed import has_http, insertions, removals, unchanged_http
from agent.traffic.istio_objects import Route
from agent.traffic.istio_routes import canary_share_or_full, exposed_beside, rewrite
from agent.traffic.istio_selection import Target, blocks_of, targets_of
from agent.traffic.json_patch import Operation, apply, guards_first
from agent.traffic.route_objects import change_of, managed_names, unchanged_since_read
from agent.traffic.types import Desired, RouteChange


def virtual_service_changes(
    rollout: Rollout, route: Route, service: Object, roles: Roles, desired: Desired
) -> tuple[list[RouteChange], Refused | None]:
    """At most one lower and one raise, the raise on top of the lower; and trouble.

    With trouble only the lower is there: lowering always goes forward.
    """
    weight, managed = desired.canary_weight, desired.managed
    experiments = {d.service_name: d.weight for d in desired.additional if d.service_name}
    lowers: list[Operation] = []
    raises: list[Operation] = []
    trouble: Refused | None = None
    try:
        targets = targets_in(rollout, route, service, roles) if weight is not None else ()
    except Refused as error:
        targets, trouble = (), error
    for target in targets:
        try:
            written = rewrite(target, roles, weight or 0, experiments)
        except Refused as error:
            trouble = trouble or error
            continue
        (lowers if _lowers(target, weight or 0, experiments) else raises).extend(written)
    removed: list[Operation] = []
    try:
        removed = removals(route, service, managed)
    except Refused as error:
        trouble = trouble or error
    lowers += removed
    changes: list[RouteChange] = []
    if lowers:
        names = [str(operation["value"]) for operation in removed if operation["op"] == "test"]
        reason = _reason(route.ref, weight if len(lowers) > len(removed) else None, names)
        changes.append(change_of(route.ref, service, guards_first(lowers), "lower", reason))
    if trouble is None:
        try:
            if changes and weight is not None:
                raises = _rewritten(rollout, route, changes[0].after, roles, weight, experiments)
            changes += _raises(rollout, route, service, changes, roles, desired, raises)
        except Refused as error:
            trouble = error
    return changes, trouble


def _raises(
    rollout: Rollout,
    route: Route,
    service: Object,
    lowers: Sequence[RouteChange],
    roles: Roles,
    desired: Desired,
    weights: Sequence[Operation],
) -> list[RouteChange]:
    """What is left to write once the lower is written: `weights`, and managed routes with these weights."""
    before = lowers[0].after if lowers else service
    weights = guards_first(weights)
    after = apply(before, weights) if weights else before
    inserted = insertions(rollout, route, after, roles, desired.managed)
    if not weights and not inserted:
        return []
    guard = [] if lowers else unchanged_since_read(before)
    if inserted and has_http(before):
        guard.append(unchanged_http(before))
    names = [item.name for item in desired.managed if item.match] if inserted else []
    reason = _reason(route.ref, desired.canary_weight if weights else None, names)
    patch = guards_first([*guard, *weights, *inserted])
    return [change_of(route.ref, before, patch, "raise", reason)]


def _rewritten(
    rollout: Rollout,
    route: Route,
    service: Object,
    roles: Roles,
    weight: int,
    experiments: Mapping[str, int],
) -> list[Operation]:
    """The operations that the weights still need; what fell has moved the indexes."""
    return [
        operation
        for target in targets_in(rollout, route, service, roles)
        for operation in rewrite(target, roles, weight, experiments)
    ]


def targets_in(rollout: Rollout, route: Route, service: Object, roles: Roles) -> tuple[Target, ...]:
    """The routes of a VirtualService that carry the rollout's weights; Refused when there is none."""
    blocks = blocks_of(route.settings, service, roles)
    if not blocks:
        raise Refused(no_routes(route.ref), field=route.field)
    managed = managed_names(rollout)
    return tuple(
        target
        for block in blocks
        for target in targets_of(block, route.settings, managed, service, roles)
    )


def no_routes(ref: Ref) -> str:
    """The sentence for a VirtualService without any route."""
    return f"{ref} has no routes: add one in spec.http with the stable and the canary destination"


def _lowers(target: Target, weight: int, experiments: Mapping[str, int]) -> bool:
    """What is not surely a lower is a raise: raises are the guarded ones."""
    now = canary_share_or_full(target)
    if weight != now:
        return weight < now
    exposed = sum(experiments.values())
    return exposed < exposed_beside(target) or (weight == 0 and exposed == 0)


def _reason(ref: Ref, weight: int | None, managed: Sequence[str]) -> str:
    parts = [] if weight is None else [f"canary weight {weight}"]
    if managed:
        parts.append("managed routes " + ", ".join(f"'{name}'" for name in managed))
    return f"{' and '.join(parts)} on {ref}"
