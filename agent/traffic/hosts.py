"""For which hosts a route object speaks: objects with a host in common may stand in each other's way. PURE."""

from collections.abc import Mapping
from typing import Any, Final

from agent.api.meta import Key, Object, Ref
from agent.traffic.gateway_status import mesh_services
from agent.traffic.istio_names import CLUSTER_LOCAL

_ISTIO: Final = "VirtualService"
_GATEWAY: Final = ("HTTPRoute", "GRPCRoute", "TCPRoute", "TLSRoute")
HOST_KINDS: Final = (_ISTIO, *_GATEWAY)
"""Kinds that have hosts here."""
MESH: Final = "mesh"
"""The gateway of a VirtualService that stands for the clients in the mesh."""


def hosts_of(kind: str, obj: Object) -> tuple[str, ...]:
    """Hosts of a route object, in full.

    A VirtualService's short name means a Service of its namespace. Of a Gateway API route only the Services that
    are its parents count: hostnames are those of its own Gateway.
    """
    if kind in _GATEWAY:
        return tuple(dict.fromkeys(full_host(name, ns) for ns, name in mesh_services(obj)))
    if kind != _ISTIO:
        return ()
    namespace = Key.of(obj).namespace
    return tuple(dict.fromkeys(full_host(str(host), namespace) for host in _hosts(obj)))


def full_host(host: str, namespace: str) -> str:
    """A host as Istio completes it: names without a dot are Services of the object's namespace."""
    if "." in host or host == "*":
        return host.lower()
    return f"{host}.{namespace}.svc{CLUSTER_LOCAL}".lower()


def other_mesh_api(ref: Ref, mine: Object, others: Mapping[Ref, Object]) -> str:
    """Why it is not defined which of two objects leads the clients of a Service; "" when it is.

    A VirtualService and a Gateway API route for one Service in the mesh: Istio leaves it open who wins
    (waypoints, "mixing is undefined"), so both are refused.
    """
    hosts = set(hosts_of(ref.kind, mine)) if _is_for_mesh(ref.kind, mine) else set()
    for other_ref, other in sorted(others.items(), key=lambda item: item[0]):
        if (other_ref.kind == _ISTIO) == (ref.kind == _ISTIO):
            continue
        shared = sorted(hosts.intersection(hosts_of(other_ref.kind, other)))
        if shared and _is_for_mesh(other_ref.kind, other):
            return (
                f"{other_ref} also speaks for '{shared[0]}' in the mesh, and which of the two counts is not "
                f"defined: take one of {other_ref} and {ref} away"
            )
    return ""


def _is_for_mesh(kind: str, obj: Object) -> bool:
    if kind != _ISTIO:
        return True
    spec = obj.get("spec")
    gateways = spec.get("gateways") if isinstance(spec, dict) else None
    return not gateways or (isinstance(gateways, list) and MESH in gateways)


def _hosts(obj: Object) -> list[Any]:
    spec = obj.get("spec")
    hosts = spec.get("hosts") if isinstance(spec, dict) else None
    return hosts if isinstance(hosts, list) else []
