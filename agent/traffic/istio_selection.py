"""Which routes of a VirtualService carry a rollout's weights.

One code path serves http, tls and tcp. Trouble is raised as Refused with a sentence for the user; texts that
Argo's users know are Argo's.
"""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from agent.api.meta import Object
from agent.api.rollout import IstioTCPRoute, IstioTLSRoute, IstioVirtualService
from agent.errors import Refused
from agent.traffic.istio_destinations import Destination, Roles, read_destinations

Block = Literal["http", "tls", "tcp"]
BLOCKS: tuple[Block, ...] = ("http", "tls", "tcp")
_SETTING: Mapping[Block, str] = {"http": "routes", "tls": "tlsRoutes", "tcp": "tcpRoutes"}
VIRTUAL_SERVICE = "spec.strategy.canary.trafficRouting.istio.virtualService"


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
    routes = routes_in(block, service)
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


def _spec(service: Object) -> dict[str, Any]:
    spec = service.get("spec")
    return spec if isinstance(spec, dict) else {}


def routes_in(block: Block, service: Object) -> list[dict[str, Any]]:
    routes = _spec(service).get(block)
    if not isinstance(routes, list) or not all(isinstance(route, dict) for route in routes):
        raise Refused(f"Unable to get {block.upper()} routes for Istio VirtualService")
    return routes


def _http_missing(name: str) -> str:
    return f"HTTP Route '{name}' is not found in the defined Virtual Service."


def _omitted(block: Block) -> str:
    return (
        f"spec.{block}[] should be set in VirtualService and it must have exactly one route when "
        f"omitting {VIRTUAL_SERVICE}.{_SETTING[block]}"
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
        for route in routes_in(block, service)
        for item in read_destinations(route, roles)
    )
