"""Routers of third parties: what installed packages offer under the entry point `serinus.traffic_routers`.

An entry point is a class that satisfies agent.traffic.types.Router, or an object of one (docs/routers.md).
"""

from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

from agent.cluster.discovery import VERSIONS
from agent.cluster.port import KINDS, Kind
from agent.errors import Refused
from agent.traffic.routers import ROUTERS
from agent.traffic.types import RouteKind, Router

GROUP: Final = "serinus.traffic_routers"
_METHODS: Final = (
    "references", "validate", "canary_weight", "plan", "managed_routes", "claims", "confirmation", "plan_shelter",
)  # fmt: skip


def installed_routers(
    found: Callable[[], Iterable[EntryPoint]] = lambda: entry_points(group=GROUP),
) -> Mapping[str, Router]:
    """Our own routers and those of installed packages, by name; kinds of theirs become known to the cluster port.

    Raises Refused, naming the package's entry point, for one that cannot be loaded, is no router, or has
    the name or the kind of another: an agent that left it out would refuse the Rollouts that use it.
    """
    routers = dict(ROUTERS)
    for point in sorted(found(), key=lambda item: (item.name, item.value)):
        router = _loaded(point)
        if router.name in routers:
            raise _refused(point, f"there is already a router with the name '{router.name}'")
        for kind in router.kinds:
            _learn_kind(point, kind)
        routers[router.name] = router
    return routers


def added_kinds(routers: Mapping[str, Router]) -> tuple[str, ...]:
    """Names of the kinds that routers bring along."""
    return tuple(dict.fromkeys(kind.kind for router in routers.values() for kind in router.kinds))


def _loaded(point: EntryPoint) -> Router:
    try:
        made: Any = point.load()
        router = made() if isinstance(made, type) else made
    except Exception as error:
        raise _refused(point, f"cannot be loaded: {type(error).__name__}: {error}") from error
    missing = [name for name in _METHODS if not callable(getattr(router, name, None))]
    if missing or not isinstance(getattr(router, "name", None), str) or not router.name:
        what = missing[0] if missing else "name"
        raise _refused(
            point, f"is no router: it has no {what}; derive it from agent.traffic.types.Router"
        )
    loaded: Router = router
    return loaded


def _learn_kind(point: EntryPoint, kind: RouteKind) -> None:
    known = KINDS.get(kind.kind)
    if not kind.versions:
        raise _refused(point, f"its kind '{kind.kind}' names no version")
    if known is not None and (known.group, known.plural) != (kind.group, kind.plural):
        raise _refused(point, f"its kind '{kind.kind}' is known as one of {known.group or 'core'}")
    if known is None:
        KINDS[kind.kind] = Kind(kind.kind, kind.plural, kind.group, kind.versions[0])
        VERSIONS.setdefault(kind.group, kind.versions)


def _refused(point: EntryPoint, why: str) -> Refused:
    package = point.dist.name if point.dist is not None else "?"
    return Refused(
        f"the router '{point.name}' of the package '{package}' ({point.value}) {why}", field=GROUP
    )
