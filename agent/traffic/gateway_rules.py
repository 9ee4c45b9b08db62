"""Rules of a Gateway API route: which carry a rollout's weights, what they say, and the patch that changes them.

A backendRef's weight is a share of the sum of its rule; without one it is 1. Everything here raises Refused with a
sentence for the user; agent.traffic.gateway turns that into a refusal.
"""

from collections.abc import Mapping
from math import isfinite
from typing import Any, Final, Literal

import msgspec

from agent.api.meta import Key, Object
from agent.api.rollout import Rollout
from agent.errors import Refused
from agent.traffic.json_patch import Operation, check, guards_first, pointer, put
from agent.traffic.routing import routing_of

Role = Literal["canary", "stable", "foreign"]
FULL: Final = 100
MAX_WEIGHT: Final = 1_000_000
"""Most that a backendRef's weight may be."""


class Backend(msgspec.Struct, frozen=True, kw_only=True):
    """One backendRef. `weight` is None when it is not a number of 0 or more."""

    index: int
    item: dict[str, Any]
    role: Role
    weight: int | None


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One rule, at its place in spec.rules."""

    index: int
    item: dict[str, Any]
    backends: tuple[Backend, ...]

    @property
    def label(self) -> str:
        """How people find it."""
        name = self.item.get("name")
        return f"rule '{name}'" if name else f"rule {self.index}"

    def of(self, role: Role) -> tuple[Backend, ...]:
        return tuple(item for item in self.backends if item.role == role)


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """The two backendRefs of a rule that are ours, and what the others take.

    Attributes:
        total: sum of the pair's weights; what is no number counts as 0.
        others: sum of all other weights.
    """

    rule: Rule
    canary: Backend
    stable: Backend
    total: int
    others: int

    def scale(self, full: int) -> int:
        """What the pair's weights sum to when they are written.

        Beside others the pair keeps its share of the rule, so its own sum stays.
        """
        return self.total if self.others else full


def full_weight(rollout: Rollout) -> int:
    """The weight that means all traffic: trafficRouting.maxTrafficWeight, 100 without one."""
    routing = routing_of(rollout)
    weight = routing.max_traffic_weight if routing else None
    return weight if weight is not None and weight > 0 else FULL


def service_names(rollout: Rollout) -> tuple[str, str]:
    """Canary and stable Service; "" where the manifest names none."""
    canary = rollout.spec.strategy.canary
    return (canary.canary_service, canary.stable_service) if canary else ("", "")


def rules_of(rollout: Rollout, route: Object) -> tuple[Rule, ...]:
    """All rules of a route, with who is who. Refused when they are no list of rules."""
    spec = route.get("spec")
    rules = spec.get("rules") if isinstance(spec, dict) else None
    if not isinstance(rules, list) or not all(isinstance(rule, dict) for rule in rules):
        raise Refused("spec.rules is not a list of rules")
    return tuple(
        Rule(index=index, item=rule, backends=_backends(rollout, Key.of(route).namespace, rule))
        for index, rule in enumerate(rules)
    )


def _backends(rollout: Rollout, namespace: str, rule: Mapping[str, Any]) -> tuple[Backend, ...]:
    refs = rule.get("backendRefs") or []
    if not isinstance(refs, list) or not all(isinstance(ref, dict) for ref in refs):
        raise Refused("backendRefs is not a list of backendRefs")
    return tuple(
        Backend(
            index=index,
            item=ref,
            role=_role(rollout, namespace, ref),
            weight=_weight(ref.get("weight", 1)),
        )
        for index, ref in enumerate(refs)
    )


def _role(rollout: Rollout, namespace: str, ref: Mapping[str, Any]) -> Role:
    where = ref.get("namespace") or namespace
    if not is_service(ref) or where != rollout.metadata.namespace:
        return "foreign"
    canary, stable = service_names(rollout)
    name = ref.get("name")
    if not name:
        return "foreign"
    return "canary" if name == canary else "stable" if name == stable else "foreign"


def is_service(ref: Mapping[str, Any]) -> bool:
    """Whether a reference is one to a core Service, as it is when it says nothing else."""
    return not ref.get("group") and ref.get("kind", "Service") == "Service"


def _weight(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if isfinite(value) and value >= 0 and value == int(value) else None


def dicts(value: Any) -> list[dict[str, Any]]:
    """The maps of a list; none of anything else."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def pairs_of(rollout: Rollout, route: Object) -> tuple[Pair, ...]:
    """The rules with both Services: their weights are ours. Refused when there is none, or one is ambiguous.

    A rule with one of the two is the user's: it sends that version everything it matches.
    """
    rules = rules_of(rollout, route)
    found = tuple(
        _pair(rule, canary, stable)
        for rule in rules
        if (canary := rule.of("canary")) and (stable := rule.of("stable"))
    )
    if not found:
        raise Refused(_no_pair(rollout, rules, Key.of(route).namespace))
    return found


def _pair(rule: Rule, canary: tuple[Backend, ...], stable: tuple[Backend, ...]) -> Pair:
    for role, items in (("canary", canary), ("stable", stable)):
        if len(items) > 1:
            raise Refused(
                f"{rule.label} has {len(items)} backendRefs to the {role} Service: leave one of them, so that its "
                "weight is the share"
            )
    others = sum(item.weight or 0 for item in rule.of("foreign"))
    total = (canary[0].weight or 0) + (stable[0].weight or 0)
    return Pair(rule=rule, canary=canary[0], stable=stable[0], total=total, others=others)


def _no_pair(rollout: Rollout, rules: tuple[Rule, ...], namespace: str) -> str:
    canary, stable = service_names(rollout)
    home = rollout.metadata.namespace
    elsewhere = any(
        item.item.get("name") in (canary, stable) and is_service(item.item)
        for rule in rules
        for item in rule.of("foreign")
    )
    text = (
        f"no rule has backendRefs to both the canary Service '{canary}' and the stable Service '{stable}': "
        "put both into one rule"
    )
    if elsewhere or namespace != home:
        text += (
            f", each with namespace: {home} (the Rollout's), and allow that by a ReferenceGrant there for routes "
            f"of '{namespace}'"
        )
    return text


def canary_share(pair: Pair, full: int) -> int:
    """The canary's share of what the pair gets, 0 to `full`; Refused when it cannot be told.

    Rounded so that a canary with any traffic never reads 0, nor a stable with any traffic as gone.
    """
    for item in pair.rule.backends:
        if item.weight is None:
            raise Refused(
                f"{pair.rule.label}: the weight of '{item.item.get('name')}' is not a number"
            )
    canary, stable = pair.canary.weight or 0, pair.stable.weight or 0
    if canary == 0:
        return 0
    if stable == 0:
        return full
    return min(full - 1, -(-canary * full // pair.total))


def share_or_full(pair: Pair, full: int) -> int:
    """The canary's share; what cannot be told counts as everything, so that any write is a lower."""
    try:
        return canary_share(pair, full)
    except Refused:
        return full


def lowers(pair: Pair, weight: int, full: int) -> bool:
    """Whether this weight is surely a lower: everything else is guarded as a raise is."""
    now = share_or_full(pair, full)
    return weight < now or weight == now == 0


def check_scale(pair: Pair, full: int) -> None:
    """Refused when the pair's weights cannot say every weight exactly without changing the share of others."""
    if pair.others and (pair.total == 0 or pair.total % full):
        raise Refused(
            f"{pair.rule.label} also sends {pair.others} of {pair.total + pair.others} to others, whose share must "
            f"stay: multiply all weights of the rule so that those of canary and stable sum to a multiple of {full}, "
            "or take the others out"
        )


def rewrite(pair: Pair, weight: int, full: int) -> tuple[Operation, ...]:
    """JSON Patch operations (tests first) that give the pair its weights; empty when it has them.

    They sum to `full`, beside others to what they summed to. A lower that cannot be said exactly takes off more.
    """
    if not lowers(pair, weight, full):
        check_scale(pair, full)
    total = pair.scale(full)
    canary = min(total, total * weight // full)
    wanted = {pair.canary.index: canary, pair.stable.index: total - canary}
    base = pointer("spec", "rules", pair.rule.index, "backendRefs")
    operations: list[Operation] = []
    for item in pair.rule.backends:
        at = base + pointer(item.index)
        if item.index in wanted and wanted[item.index] != item.weight:
            operations.append(check(at + "/name", item.item["name"]))
            operations += put(at, item.item, "weight", wanted[item.index])
    if not operations:
        return ()
    bystanders = [
        check(base + pointer(item.index, "weight"), item.item["weight"])
        for item in pair.rule.backends
        if "weight" in item.item and wanted.get(item.index, item.weight) == item.weight
    ]
    return guards_first([*bystanders, *operations])
