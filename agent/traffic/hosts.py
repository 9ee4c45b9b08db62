"""For which hosts a route object speaks: objects with a host in common may stand in each other's way. PURE."""

from typing import Any, Final

from agent.api.meta import Key, Object
from agent.traffic.istio_names import CLUSTER_LOCAL

HOST_KINDS: Final = ("VirtualService",)
"""Kinds that have hosts here."""


def hosts_of(kind: str, obj: Object) -> tuple[str, ...]:
    """Hosts of a route object, in full. A VirtualService's short name means a Service of its namespace."""
    if kind not in HOST_KINDS:
        return ()
    namespace = Key.of(obj).namespace
    return tuple(dict.fromkeys(full_host(str(host), namespace) for host in _hosts(obj)))


def full_host(host: str, namespace: str) -> str:
    """A host as Istio completes it: names without a dot are Services of the object's namespace."""
    if "." in host or host == "*":
        return host.lower()
    return f"{host}.{namespace}.svc{CLUSTER_LOCAL}".lower()


def _hosts(obj: Object) -> list[Any]:
    spec = obj.get("spec")
    hosts = spec.get("hosts") if isinstance(spec, dict) else None
    return hosts if isinstance(hosts, list) else []
