"""Which Gateway API routes a Rollout drives: the configuration of Argo's Gateway API plugin, read in full. PURE."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from agent.api.meta import Ref
from agent.api.rollout import Rollout
from agent.errors import Refused
from agent.traffic.routing import GATEWAY_API, field_of, routing_of

FIELD: Final = field_of(GATEWAY_API)
MEMBERS: Final[Mapping[str, str]] = {
    "http": "HTTPRoute",
    "grpc": "GRPCRoute",
    "tcp": "TCPRoute",
    "tls": "TLSRoute",
}
"""Protocols, in the order in which their routes are written, and the kinds of route objects."""
WITH_HEADERS: Final = ("HTTPRoute", "GRPCRoute")
_NOT_NEEDED: Final = ("configMap",)
"""Bookkeeping of earlier versions of the plugin: what is ours is told from the routes themselves."""
_LABEL: Final = ("rollouts.argoproj.io/gatewayapi-canary", "in-progress")


class Route(msgspec.Struct, frozen=True):
    """One route object. `managed`: header and mirror rules may be added to it."""

    ref: Ref
    field: str
    managed: bool


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """What the plugin's configuration says. `label`: key and value that mark a route while a canary is exposed."""

    routes: tuple[Route, ...]
    label: tuple[str, str] | None


def read_config(rollout: Rollout) -> Config:
    """The configuration. Raises Refused with the field and the fix."""
    routing = routing_of(rollout)
    given = (routing.plugins or {}).get(GATEWAY_API) if routing else None
    if not isinstance(given, dict):
        raise Refused("is not a map: name a route, such as httpRoute: NAME", field=FIELD)
    known = dict(_known())
    for name, value in given.items():
        if name not in known:
            raise Refused(f"is not known: known are {', '.join(known)}", field=f"{FIELD}.{name}")
        if value is not None and not isinstance(value, known[name]):
            kind = {str: "text", list: "list", bool: "truth value"}.get(known[name], "map")
            raise Refused(f"is not a {kind}", field=f"{FIELD}.{name}")
    for protocol in MEMBERS:
        if given.get(f"{protocol}RouteSelector") is not None:
            raise Refused(
                f"is not supported: list the routes by name in {protocol}Routes, so that no label can bring in a "
                "route that nobody has looked at",
                field=f"{FIELD}.{protocol}RouteSelector",
            )
    namespace = given.get("namespace") or rollout.metadata.namespace
    routes = tuple(
        route
        for protocol, kind in MEMBERS.items()
        for route in _routes(given, protocol, kind, namespace)
    )
    if not routes:
        one = ", ".join(f"{protocol}Route" for protocol in MEMBERS)
        raise Refused(f"names no route: set one of {one}, or a list of them", field=FIELD)
    refs = [route.ref for route in routes]
    for route in routes:
        if refs.count(route.ref) > 1:
            raise Refused(f"{route.ref} is named twice: name it once", field=route.field)
    label = (
        given.get("inProgressLabelKey") or _LABEL[0],
        given.get("inProgressLabelValue") or _LABEL[1],
    )
    return Config(routes=routes, label=None if given.get("disableInProgressLabel") else label)


def _known() -> Iterator[tuple[str, type]]:
    for protocol in MEMBERS:
        yield f"{protocol}Route", str
        yield f"{protocol}Routes", list
        yield f"{protocol}RouteSelector", dict
    yield from (("namespace", str), ("inProgressLabelKey", str), ("inProgressLabelValue", str))
    yield "disableInProgressLabel", bool
    yield from ((name, str) for name in _NOT_NEEDED)


def _routes(given: Mapping[str, Any], protocol: str, kind: str, namespace: str) -> Iterator[Route]:
    """Routes of one protocol: those listed, then the single one, which takes header rules without being asked."""
    for index, item in enumerate(given.get(f"{protocol}Routes") or ()):
        field = f"{FIELD}.{protocol}Routes[{index}]"
        name = item.get("name") if isinstance(item, dict) else None
        if not isinstance(name, str) or not name:
            raise Refused("has no name", field=field)
        unknown = sorted(set(item) - {"name", "useHeaderRoutes"})
        if unknown:
            raise Refused(
                "is not known: known are name, useHeaderRoutes", field=f"{field}.{unknown[0]}"
            )
        managed = item.get("useHeaderRoutes") is True and kind in WITH_HEADERS
        yield Route(Ref(kind, namespace, name), f"{field}.name", managed)
    single = given.get(f"{protocol}Route")
    if single:
        yield Route(Ref(kind, namespace, single), f"{FIELD}.{protocol}Route", kind in WITH_HEADERS)
