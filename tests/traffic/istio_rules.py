"""Istio's own rules for a VirtualService, as far as a rewriter could break them (its webhook's validation)."""

from typing import Any

from agent.api.meta import Object

ACTIONS = ("route", "redirect", "directResponse", "delegate")


def broken_rules(service: Object) -> list[str]:
    """What Istio's webhook would refuse; empty for a valid object."""
    spec = service["spec"]
    broken = []
    if not any(spec.get(block) for block in ("http", "tls", "tcp")):
        broken.append("none of http, tls, tcp")
    hosts = spec.get("hosts") or []
    if len(set(hosts)) != len(hosts):
        broken.append("a host twice")
    for index, route in enumerate(spec.get("http") or ()):
        broken += [f"http[{index}]: {text}" for text in _http(route)]
    for block in ("tls", "tcp"):
        for index, route in enumerate(spec.get(block) or ()):
            broken += [f"{block}[{index}]: {text}" for text in _weights(route)]
            if block == "tls" and not all(match.get("sniHosts") for match in route["match"]):
                broken.append(f"tls[{index}]: no SNI hosts")
    return broken


def _http(route: dict[str, Any]) -> list[str]:
    broken = []
    if sum(bool(route.get(action)) for action in ACTIONS) != 1:
        broken.append(f"not exactly one of {', '.join(ACTIONS)}")
    if route.get("mirror") and route.get("mirrors"):
        broken.append("mirror and mirrors")
    percentage = (route.get("mirrorPercentage") or {}).get("value", 0)
    if not 0 <= percentage <= 100:
        broken.append(f"mirrorPercentage {percentage}")
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
    if len(items) > 1 and sum(weights) == 0:
        broken.append("all weights are 0")
    return broken
