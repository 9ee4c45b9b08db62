"""What a route says now, and the patch that gives it new weights.

Everything here raises Refused with a sentence for the user; agent.traffic.istio turns that into a refusal.
"""

from collections.abc import Mapping

from agent.errors import Refused
from agent.traffic.istio_destinations import Destination, Roles
from agent.traffic.istio_selection import VIRTUAL_SERVICE, Target
from agent.traffic.json_patch import (
    Operation,
    add,
    check,
    guards_first,
    pointer,
    put,
    remove,
)

FULL = 100


def check_pair(target: Target, roles: Roles) -> tuple[Destination, Destination]:
    """The canary and the stable destination; Refused unless there is exactly one of each.

    Both must be there: a route with one destination sends it everything, whatever its weight says.
    """
    delegate = target.route.get("delegate")
    if delegate:
        raise Refused(
            f"{target.label} delegates to {_delegate(delegate)}, which has the weights: name that one in "
            f"{VIRTUAL_SERVICE}.name"
        )
    pair = []
    for role in ("canary", "stable"):
        found = [item for item in target.destinations if item.role == role]
        if not found:
            raise Refused(roles.missing("canary" if role == "canary" else "stable"))
        if len(found) > 1:
            raise Refused(
                f"{target.label} has {len(found)} destinations for the {role}: leave one of them, "
                "so that the weights of the route can sum to 100"
            )
        pair.append(found[0])
    return pair[0], pair[1]


def _delegate(delegate: object) -> str:
    """The VirtualService that a root delegates to, as a rollout would name it."""
    found = delegate if isinstance(delegate, dict) else {}
    name, namespace = found.get("name") or "", found.get("namespace") or ""
    return (
        f"the VirtualService '{name}.{namespace}'" if namespace else f"the VirtualService '{name}'"
    )


def canary_share(target: Target) -> int:
    """The canary's share in percent as Istio and Envoy read the route; Refused when it cannot be told.

    One destination takes everything. Weights are shares of their sum: where that is not 100, a share
    is rounded so that a canary with any traffic never reads 0, nor a stable with any traffic as gone.
    100 also means "all but what fixed subsets take", which is how a full canary is written there.
    """
    items = target.destinations
    if len(items) == 1:
        return FULL if items[0].role == "canary" else 0
    sums = dict.fromkeys(("canary", "stable", "experiment", "fixed", "foreign"), 0)
    for item in items:
        if item.weight is None:
            raise Refused(f"{target.label}: the weight of '{item.host}' is not a number")
        sums[item.role] += item.weight
    canary, total = sums["canary"], sum(sums.values())
    if canary == 0:
        return 0
    if canary + sums["fixed"] == total:
        return FULL
    return min(FULL - 1, -(-canary * FULL // total))


def exposed_beside(target: Target) -> int:
    """The weight of experiments of ours on the route."""
    return sum(item.weight or 0 for item in target.destinations if item.role == "experiment")


def rewrite(
    target: Target, roles: Roles, weight: int, experiments: Mapping[str, int]
) -> tuple[Operation, ...]:
    """JSON Patch operations (tests first) that give the route its weights; empty when it has them.

    Canary gets `weight`, experiments theirs, stable the rest, so the sum is 100. A weight that is not
    ours stays; a raise beside a foreign one is refused. When the rest is too small a lower takes what
    fits: lowering always goes forward.
    """
    canary, stable = check_pair(target, roles)
    lowers = weight < canary_share_or_full(target)
    kept = _kept(target, tolerant=lowers or weight == 0)
    room = FULL - kept - sum(experiments.values())
    share = _fit(target, weight, room, lowers=lowers, whole=not experiments)
    wanted = {canary.index: share, stable.index: max(0, room - share)}
    operations: list[Operation] = []
    leaving: list[int] = []
    for item in target.destinations:
        if item.role == "experiment":
            name = item.host.split(".", 1)[0]
            if name in experiments:
                wanted[item.index] = experiments[name]
            elif item.weight != 0:
                leaving.append(item.index)
    base = pointer("spec", target.block, target.index, "route")
    for item in target.destinations:
        at = base + pointer(item.index)
        if item.index in wanted and wanted[item.index] != item.weight:
            operations.append(check(at + "/destination", item.item["destination"]))
            operations += put(at, item.item, "weight", wanted[item.index])
    present = {item.host.split(".", 1)[0] for item in target.destinations}
    operations += [
        add(base + "/-", {"destination": {"host": name}, "weight": share})
        for name, share in sorted(experiments.items())
        if name not in present and share > 0
    ]
    operations += [remove(base + pointer(index)) for index in reversed(leaving)]
    if not operations:
        return ()
    return guards_first([*_identity(target), *_bystanders(target, base, wanted), *operations])


def canary_share_or_full(target: Target) -> int:
    """The canary's share; what cannot be told counts as everything, so that any write is a lower."""
    try:
        return canary_share(target)
    except Refused:
        return FULL


def _kept(target: Target, *, tolerant: bool) -> int:
    """The sum of weights that are not ours. A foreign one is refused unless the write is a lower."""
    total = 0
    for item in target.destinations:
        if item.role not in ("fixed", "foreign"):
            continue
        if item.role == "foreign" and item.weight != 0 and not tolerant:
            subset = f" subset '{item.subset}'" if item.subset else ""
            raise Refused(
                f"{target.label} also sends weight to '{item.host}'{subset}, which is not of this rollout: "
                "take it out of the route, or list its subset under destinationRule.additionalSubsetNames"
            )
        total += item.weight or 0
    return total


def _fit(target: Target, weight: int, room: int, *, lowers: bool, whole: bool) -> int:
    """The canary's weight that fits into the room left by others."""
    if weight <= room:
        return weight
    if weight == FULL and whole and room > 0:
        return room
    if not lowers and weight > 0:
        raise Refused(
            f"{target.label}: weight {weight} does not fit, others already take {FULL - room} of 100"
        )
    # One point stays with stable, so that the result does not read as a full canary.
    return max(0, room - 1)


def _identity(target: Target) -> list[Operation]:
    """Tests that the index still means this route: its name, else its match."""
    for key in ("name", "match"):
        if key in target.route:
            at = pointer("spec", target.block, target.index, key)
            return [check(at, target.route[key])]
    return []


def _bystanders(target: Target, base: str, wanted: Mapping[int, int]) -> list[Operation]:
    """Tests on what the plan relies upon without touching it: the sum would be wrong otherwise."""
    return [
        check(base + pointer(item.index, "weight"), item.item["weight"])
        for item in target.destinations
        if "weight" in item.item and wanted.get(item.index, item.weight) == item.weight
    ]
