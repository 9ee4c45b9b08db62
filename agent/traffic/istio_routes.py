"""Which routes of a VirtualService belong to a rollout, what they say now, and their new weights.

One code path serves http, tls and tcp. Everything here raises Refused with a sentence for the user;
agent.traffic.istio turns that into a refusal. Texts that Argo's users know are Argo's.
"""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from agent.api.meta import Object
from agent.api.rollout import IstioTCPRoute, IstioTLSRoute, IstioVirtualService
from agent.errors import Refused
from agent.traffic.istio_destinations import Destination, Roles, read_destinations
from agent.traffic.json_patch import (
    Operation,
    add,
    check,
    guards_first,
    pointer,
    put,
    remove,
)

Block = Literal["http", "tls", "tcp"]
BLOCKS: tuple[Block, ...] = ("http", "tls", "tcp")
_SETTING: Mapping[Block, str] = {"http": "routes", "tls": "tlsRoutes", "tcp": "tcpRoutes"}
_ISTIO = "spec.strategy.canary.trafficRouting.istio.virtualService"
FULL = 100


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A route whose weights we own.

    `follower`: a managed mirror route, whose destinations copy those of the primary route.
    """

    block: Block
    index: int
    route: dict[str, Any]
    destinations: tuple[Destination, ...]
    follower: bool = False

    @property
    def label(self) -> str:
        """How people find it."""
        name = self.route.get("name")
        return f"route '{name}'" if name else f"{self.block} route {self.index}"


def blocks_of(settings: IstioVirtualService, service: Object, roles: Roles) -> tuple[Block, ...]:
    """The blocks to drive.

    A block that the rollout names is driven, and then the others are nobody's business; when none of
    the named ones exists, or none is named, every block is. A tls or tcp block beside http that leads
    to neither of our destinations belongs to something else (Argo refuses or reweights it).
    """
    present = tuple(block for block in BLOCKS if _spec(service).get(block))
    named = {"http": settings.routes, "tls": settings.tls_routes, "tcp": settings.tcp_routes}
    chosen = tuple(block for block in present if named[block])
    if chosen:
        return chosen
    if "http" not in present:
        if not present and settings.routes:
            raise Refused(_http_missing(settings.routes[0]))
        return present
    return ("http", *(block for block in present[1:] if _leads_to_us(block, service, roles)))


def targets_of(
    block: Block,
    settings: IstioVirtualService,
    managed: tuple[str, ...],
    service: Object,
    roles: Roles,
) -> tuple[Target, ...]:
    """The routes of a block that carry the rollout's weights, managed mirrors last."""
    routes = _routes(block, service)
    if block == "http":
        chosen = _named_http(settings.routes or [], managed, routes)
    elif block == "tls":
        chosen = _matching(block, [_tls_key(item) for item in settings.tls_routes or []], routes)
    else:
        chosen = _matching(block, [_tcp_key(item) for item in settings.tcp_routes or []], routes)
    mirrors = (
        [
            index
            for index, route in enumerate(routes)
            if index not in chosen and route.get("name") in managed and _mirrors(route)
        ]
        if block == "http"
        else []
    )
    return tuple(
        Target(
            block=block,
            index=index,
            route=routes[index],
            destinations=read_destinations(routes[index], roles),
            follower=index in mirrors,
        )
        for index in (*chosen, *mirrors)
    )


def check_pair(target: Target, roles: Roles) -> tuple[Destination, Destination]:
    """The canary and the stable destination; Refused unless there is exactly one of each.

    Both must be there: a route with one destination sends it everything, whatever its weight says.
    """
    if target.route.get("delegate"):
        raise Refused(
            f"{target.label} delegates to another VirtualService: name that one in {_ISTIO}.name"
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


def _spec(service: Object) -> dict[str, Any]:
    spec = service.get("spec")
    return spec if isinstance(spec, dict) else {}


def _routes(block: Block, service: Object) -> list[dict[str, Any]]:
    routes = _spec(service).get(block)
    if not isinstance(routes, list) or not all(isinstance(route, dict) for route in routes):
        raise Refused(f"Unable to get {block.upper()} routes for Istio VirtualService")
    return routes


def _http_missing(name: str) -> str:
    return f"HTTP Route '{name}' is not found in the defined Virtual Service."


def _omitted(block: Block) -> str:
    return (
        f"spec.{block}[] should be set in VirtualService and it must have exactly one route when "
        f"omitting {_ISTIO}.{_SETTING[block]}"
    )


def _named_http(
    names: list[str], managed: tuple[str, ...], routes: list[dict[str, Any]]
) -> list[int]:
    if not names:
        own = [index for index, route in enumerate(routes) if route.get("name") not in managed]
        if len(own) != 1:
            raise Refused(_omitted("http"))
        return own
    chosen: list[int] = []
    for name in dict.fromkeys(names):
        found = [index for index, route in enumerate(routes) if route.get("name") == name]
        if not found:
            raise Refused(_http_missing(name))
        if len(found) > 1:
            raise Refused(
                f"HTTP Route '{name}' occurs {len(found)} times in the Virtual Service: "
                "give every route a name of its own"
            )
        chosen += found
    return chosen


def _tls_key(item: IstioTLSRoute) -> tuple[int, frozenset[str]]:
    return item.port, frozenset(item.sni_hosts or [])


def _tcp_key(item: IstioTCPRoute) -> tuple[int, frozenset[str]]:
    return item.port, frozenset()


def _matching(
    block: Block, wanted: list[tuple[int, frozenset[str]]], routes: list[dict[str, Any]]
) -> list[int]:
    """tls and tcp routes have no name: they are found by their one port and their set of SNI hosts."""
    if not wanted:
        if len(routes) != 1:
            raise Refused(_omitted(block))
        return [0]
    chosen = [index for index, route in enumerate(routes) if _key(block, route) in wanted]
    if not chosen:
        raise Refused(f"No matching {block.upper()} routes found in the defined Virtual Service.")
    return chosen


def _key(block: Block, route: dict[str, Any]) -> tuple[int, frozenset[str]] | None:
    """Port (0 = none) and SNI hosts over all matches; None when several ports are matched."""
    matches = [match for match in _items(route.get("match")) if isinstance(match, dict)]
    ports = {port for match in matches if isinstance(port := match.get("port"), int) and port}
    if len(ports) > 1:
        return None
    hosts = frozenset(str(host) for match in matches for host in _items(match.get("sniHosts")))
    return (next(iter(ports), 0), hosts if block == "tls" else frozenset())


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _mirrors(route: dict[str, Any]) -> bool:
    return bool(route.get("mirror") or route.get("mirrors"))


def _leads_to_us(block: Block, service: Object, roles: Roles) -> bool:
    return any(
        item.role in ("canary", "stable")
        for route in _routes(block, service)
        for item in read_destinations(route, roles)
    )
