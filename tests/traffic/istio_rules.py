"""Istio's own rules for a VirtualService, as far as a rewriter could break them (its webhook's validation)."""

import re
from typing import Any

from agent.api.meta import Object

ACTIONS = ("route", "redirect", "directResponse", "delegate")
MOST = 2**31 - 1
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")


def broken_rules(service: Object) -> list[str]:
    """What Istio's webhook would refuse; empty for a valid object."""
    spec = service["spec"]
    broken = []
    if not any(spec.get(block) for block in ("http", "tls", "tcp")):
        broken.append("none of http, tls, tcp")
    hosts = spec.get("hosts") or []
    if len(set(hosts)) != len(hosts):
        broken.append("a host twice")
    if "*" in hosts and "mesh" in (spec.get("gateways") or ["mesh"]):
        broken.append("all hosts for the mesh")
    exported = spec.get("exportTo") or []
    if len(set(exported)) != len(exported) or ("*" in exported and len(exported) > 1):
        broken.append(f"exportTo {exported}")
    for index, route in enumerate(spec.get("http") or ()):
        broken += [f"http[{index}]: {text}" for text in _http(route)]
    for block in ("tls", "tcp"):
        for index, route in enumerate(spec.get(block) or ()):
            broken += [f"{block}[{index}]: {text}" for text in _weights(route)]
            for match in route["match"] if block == "tls" else ():
                names = match.get("sniHosts") or []
                if not names or not set(names) <= set(hosts):
                    broken.append(f"tls[{index}]: SNI hosts {names} of {hosts}")
    return broken


def _http(route: dict[str, Any]) -> list[str]:
    broken = []
    if sum(bool(route.get(action)) for action in ACTIONS) != 1:
        broken.append(f"not exactly one of {', '.join(ACTIONS)}")
    if route.get("mirror") and route.get("mirrors"):
        broken.append("mirror and mirrors")
    parts = [
        route.get("mirrorPercentage"),
        *(item.get("percentage") for item in route.get("mirrors") or ()),
    ]
    shares = [(part or {}).get("value", 0) for part in parts]
    broken += [f"a mirror of {share} %" for share in shares if not 0 <= share <= 100]
    return broken + (_weights(route) if route.get("route") else [])


def _weights(route: dict[str, Any]) -> list[str]:
    broken = []
    items = route.get("route") or []
    weights = [item.get("weight") or 0 for item in items]
    if any(not item.get("destination", {}).get("host") for item in items):
        broken.append("a destination without a host")
    if any(
        not isinstance(weight, int | float) or weight < 0 or weight != int(weight)
        for weight in weights
    ):
        broken.append(f"weights {weights}")
    if len(items) > 1 and not 0 < sum(weights) <= MOST:
        broken.append(f"weights that sum to {sum(weights)}")
    for item in items:
        subset = item.get("destination", {}).get("subset")
        if subset is not None and not _LABEL.fullmatch(subset):
            broken.append(f"the subset {subset}")
    return broken
