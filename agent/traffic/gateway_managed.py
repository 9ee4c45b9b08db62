"""Header and mirror rules, which the rollout itself adds to a route of the user's.

For each rule that carries the weights there is one with everything of it but the backends (header) or with a mirror
filter besides (mirror), and with the conditions of the step on top of its matches. They stand first, in the order of
managedRoutes: which rule answers is decided by how specific its match is, and only among equals by order.
"""

from collections.abc import Iterable, Sequence
from re import escape, fullmatch
from typing import Any, Final

import msgspec

from agent.api.meta import Object
from agent.api.rollout import Rollout, SetHeaderRoute, SetMirrorRoute
from agent.errors import Refused
from agent.traffic.gateway_config import Route
from agent.traffic.gateway_matches import matches_of, with_headers, with_route_matches
from agent.traffic.gateway_rules import Pair, Rule, dicts, pairs_of, rules_of, service_names
from agent.traffic.json_patch import Operation, check, difference, pointer, remove
from agent.traffic.route_objects import managed_names
from agent.traffic.types import ManagedRoute

RULES: Final = pointer("spec", "rules")
MAX_RULES: Final = 16
MAX_MATCHES: Final = 64
MAX_ALL_MATCHES: Final = 128
MAX_LIST: Final = 16
"""Most headers of a match, and filters of a rule."""
_NAME: Final = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
_MAX_NAME: Final = 253
_PLACE: Final = ("group", "kind", "namespace", "name", "port")
"""Members of a backendRef that say where it leads."""


class Managed(msgspec.Struct, frozen=True):
    """A rule of ours that stands on a route. `route`: the managed route that it belongs to."""

    route: str
    rule: Rule


def check_names(rollout: Rollout) -> None:
    """Refused when a managed route cannot be the name of a rule."""
    for name in managed_names(rollout):
        if len(name) > _MAX_NAME - 4 or not fullmatch(_NAME, name):
            raise Refused(
                f"'{name}' cannot be the name of a rule: use lower-case letters, digits, '-' and '.'",
                field="spec.strategy.canary.trafficRouting.managedRoutes",
            )


def managed_in(rollout: Rollout, route: Object) -> tuple[Managed, ...]:
    """The rules of ours on a route, top to bottom."""
    names = tuple(
        dict.fromkeys((*managed_names(rollout), *(item.name for item in _steps(rollout))))
    )
    found = ((rule, _owner(rollout, rule, names)) for rule in rules_of(rollout, route))
    return tuple(Managed(owner, rule) for rule, owner in found if owner)


def base_pairs(rollout: Rollout, route: Object) -> tuple[Pair, ...]:
    """The user's rules that carry the weights."""
    ours = {item.rule.index for item in managed_in(rollout, route)}
    return tuple(pair for pair in pairs_of(rollout, route) if pair.rule.index not in ours)


def removals(rollout: Rollout, route: Object, wanted: Sequence[ManagedRoute]) -> list[Operation]:
    """Operations that take away the managed routes that should be gone, where they are."""
    leaving = {item.name for item in wanted if not item.match}
    operations: list[Operation] = []
    for item in reversed(managed_in(rollout, route)):
        if item.route in leaving:
            at = RULES + pointer(item.rule.index)
            mark = "name" if "name" in item.rule.item else "backendRefs"
            operations += [check(f"{at}/{mark}", item.rule.item[mark]), remove(at)]
    return operations


def insertions(
    rollout: Rollout, at: Route, route: Object, wanted: Sequence[ManagedRoute]
) -> list[Operation]:
    """Operations that make the wanted managed routes stand as they should; those that are not named stay.

    They rely on every index, so the patch needs a test of all rules.
    """
    coming = {item.name: item for item in wanted if item.match}
    if not coming or not at.managed:
        return []
    allowed = managed_names(rollout)
    for name in coming:
        if name not in allowed:
            raise Refused(
                f"route '{name}' is not allowed: list it in trafficRouting.managedRoutes",
                field="spec.strategy.canary.trafficRouting.managedRoutes",
            )
    check_names(rollout)
    standing = managed_in(rollout, route)
    ours = {item.rule.index for item in standing}
    others = [rule.item for rule in rules_of(rollout, route) if rule.index not in ours]
    bases = base_pairs(rollout, route)
    if not bases:
        raise Refused("no rule of the user's has backendRefs to both Services", field=at.field)
    _check_free(coming, others)
    first: list[dict[str, Any]] = []
    for name in allowed:
        present = [item.rule.item for item in standing if item.route == name]
        if name in coming:
            built = [_build(coming[name], at.ref.kind, pair, n) for n, pair in enumerate(bases)]
            first += [_kept(item, present) for item in built]
        else:
            first += present
    after = [*first, *others]
    _check_limits(at, after)
    before = [rule.item for rule in rules_of(rollout, route)]
    return difference(RULES, before, after)


def _steps(rollout: Rollout) -> Iterable[ManagedRoute]:
    canary = rollout.spec.strategy.canary
    for step in (canary.steps if canary else None) or ():
        for part in (step.set_header_route, step.set_mirror_route):
            if part is not None and part.name:
                yield part


def _owner(rollout: Rollout, rule: Rule, names: Sequence[str]) -> str:
    """The managed route that a rule belongs to; "" for a rule of the user's.

    It leads to the canary alone, or to both Services with a mirror of the canary; its name tells which one it
    is. API servers before Gateway API 1.4 drop names of rules: there the conditions of the steps tell.
    """
    mirrors = _mirrors_canary(rollout, rule)
    leads = [item.role for item in rule.backends] == ["canary"]
    if not (leads or (mirrors and rule.of("canary") and rule.of("stable"))):
        return ""
    name = rule.item.get("name")
    if isinstance(name, str) and name:
        return next((own for own in names if fullmatch(f"{escape(own)}(-[0-9]+)?", name)), "")
    for part in _steps(rollout):
        if isinstance(part, SetMirrorRoute):
            if mirrors and part.match:
                return part.name
        elif leads and part.match and _requires(rule, part):
            return part.name
    return ""


def _mirrors_canary(rollout: Rollout, rule: Rule) -> bool:
    canary, _stable = service_names(rollout)
    for item in dicts(rule.item.get("filters")):
        mirror = item.get("requestMirror")
        ref = mirror.get("backendRef") if isinstance(mirror, dict) else None
        if canary and isinstance(ref, dict) and ref.get("name") == canary:
            return True
    return False


def _requires(rule: Rule, part: SetHeaderRoute) -> bool:
    """Whether every match of a rule requires the headers of a step."""
    wanted = {item.header_name.lower() for item in part.match or ()}
    matches = dicts(rule.item.get("matches"))
    return bool(matches) and all(
        wanted <= {str(header.get("name")).lower() for header in dicts(match.get("headers"))}
        for match in matches
    )


def _build(part: ManagedRoute, kind: str, pair: Pair, number: int) -> dict[str, Any]:
    """The rule of a managed route in front of one rule of the user's."""
    rule, label = pair.rule.item, pair.rule.label
    name = f"{part.name}-{number}" if number else part.name
    matches = matches_of(kind, rule)
    if isinstance(part, SetHeaderRoute):
        where = {"group": "", "kind": "Service", **pair.canary.item, "weight": 1}
        return {
            **rule,
            "name": name,
            "matches": with_headers(matches, part.match or (), label),
            "backendRefs": [where],
        }
    place = {"group": "", "kind": "Service", **pair.canary.item}
    mirror: dict[str, Any] = {"backendRef": {key: place[key] for key in _PLACE if key in place}}
    if part.percentage is not None and part.percentage != 100:
        mirror["percent"] = part.percentage
    return {
        **rule,
        "name": name,
        "matches": with_route_matches(kind, matches, part.match or (), label),
        "filters": [
            *dicts(rule.get("filters")),
            {"type": "RequestMirror", "requestMirror": mirror},
        ],
    }


def _kept(built: dict[str, Any], present: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The rule as it stands, when it says the same: the API server may have dropped its name."""
    nameless = {key: value for key, value in built.items() if key != "name"}
    return next((item for item in present if item in (built, nameless)), built)


def _check_free(coming: Iterable[str], others: Sequence[dict[str, Any]]) -> None:
    """A rule of the user's must never count as one of ours: we would delete it."""
    taken = {rule.get("name") for rule in others}
    for name in coming:
        if name in taken:
            raise Refused(
                f"route '{name}' is the name of a rule that is not the rollout's: give the managed route another"
            )


def _check_limits(at: Route, rules: Sequence[dict[str, Any]]) -> None:
    if at.ref.kind not in ("HTTPRoute", "GRPCRoute"):
        return
    matches = [len(dicts(rule.get("matches"))) or 1 for rule in rules]
    headers = [
        len(dicts(match.get("headers"))) for rule in rules for match in dicts(rule.get("matches"))
    ]
    filters = [len(dicts(rule.get("filters"))) for rule in rules]
    for what, found, most in (
        ("rules", len(rules), MAX_RULES),
        ("matches in one rule", max(matches, default=0), MAX_MATCHES),
        ("matches in all rules", sum(matches), MAX_ALL_MATCHES),
        ("headers in one match", max(headers, default=0), MAX_LIST),
        ("filters in one rule", max(filters, default=0), MAX_LIST),
    ):
        if found > most:
            raise Refused(
                f"{at.ref} would have {found} {what}, and may have {most}: split it into several routes, or use "
                "fewer header and mirror routes",
                field=at.field,
            )
