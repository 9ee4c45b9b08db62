"""Which VirtualService Istio listens to when several speak for one host. PURE.

For clients in the mesh the first one has the host for itself; a gateway puts the rules of all of them one
after the other. First is who is visible to fewer (private, then exported to named namespaces, then
public), then who is older, then by name (istio/istio, sorting of virtual services in the push context).
Editing the other one changes nothing, so it is refused.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from agent.api.meta import Object, Ref
from agent.traffic.hosts import MESH, hosts_of


def overruled_by(ref: Ref, mine: Object, others: Mapping[Ref, Object]) -> str:
    """Why Istio does not look at this VirtualService; "" when it does, as far as `others` tell.

    `others` are those that the rollout does not drive, too: what wins among its own has the same weights.
    Only an object that takes the host away from every client of ours counts: a private one of another
    namespace does so for its neighbours alone.
    """
    hosts = set(hosts_of(ref.kind, mine))
    for other_ref, other in sorted(others.items(), key=lambda item: item[0]):
        if other_ref.kind != ref.kind or not _is_before(other, mine):
            continue
        shared = sorted(hosts.intersection(hosts_of(other_ref.kind, other)))
        if not shared or not _covers(other, mine):
            continue
        if MESH in _gateways(mine) and MESH in _gateways(other):
            return (
                f"{other_ref} is older and has the host '{shared[0]}' for itself in the mesh, so {ref} has "
                "no effect: put all routes of the host into one VirtualService and name that one"
            )
        common = sorted(_gateways(mine).intersection(_gateways(other)))
        if common and _catches_all(other):
            return (
                f"{other_ref} is older and answers every call to the host '{shared[0]}' at the gateway "
                f"'{common[0]}', so {ref} has no effect: put all routes of the host into one VirtualService "
                "and name that one"
            )
    return ""


def _is_before(other: Object, mine: Object) -> bool:
    return _rank(other) < _rank(mine)


def _rank(obj: Object) -> tuple[int, str, str, str]:
    meta = obj.get("metadata") or {}
    exported = _exports(obj)
    width = 2 if "*" in exported else 0 if exported == {str(meta.get("namespace") or "")} else 1
    created = str(meta.get("creationTimestamp") or "9999")
    return width, created, str(meta.get("name") or ""), str(meta.get("namespace") or "")


def _covers(other: Object, mine: Object) -> bool:
    """Whether everybody who can see ours sees the other."""
    seen = _exports(other)
    return "*" in seen or _exports(mine).issubset(seen)


def _exports(obj: Object) -> set[str]:
    """Namespaces that see the object, `*` for all."""
    namespace = str((obj.get("metadata") or {}).get("namespace") or "")
    listed = _texts(obj, "exportTo")
    return {namespace if item == "." else item for item in listed} or {"*"}


def _gateways(obj: Object) -> set[str]:
    """Gateways in full, `mesh` for the sidecars, which is the default."""
    namespace = str((obj.get("metadata") or {}).get("namespace") or "")
    listed = set(_texts(obj, "gateways"))
    return {item if item == MESH or "/" in item else f"{namespace}/{item}" for item in listed} or {
        MESH
    }


def _catches_all(obj: Object) -> bool:
    """Whether an http rule without a match ends the list: whatever comes after it is never asked."""
    http = _spec(obj).get("http")
    routes: Iterable[Any] = http if isinstance(http, list) else ()
    return any(isinstance(route, dict) and not route.get("match") for route in routes)


def _texts(obj: Object, member: str) -> tuple[str, ...]:
    items = _spec(obj).get(member)
    return tuple(str(item) for item in items) if isinstance(items, list) else ()


def _spec(obj: Object) -> dict[str, Any]:
    spec = obj.get("spec")
    return spec if isinstance(spec, dict) else {}
