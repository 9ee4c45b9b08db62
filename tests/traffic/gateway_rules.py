"""Gateway API's own rules for a route, as far as a rewriter could break them (limits and CEL rules of its CRDs)."""

import re
from typing import Any

from agent.api.meta import Object

NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]+")
ONCE = ("RequestHeaderModifier", "ResponseHeaderModifier", "RequestRedirect", "URLRewrite", "CORS")


def broken_rules(route: Object) -> list[str]:
    """What the API server would refuse; empty for a valid object."""
    rules = route["spec"]["rules"]
    broken = []
    most = 16 if route["kind"] in ("HTTPRoute", "GRPCRoute") else 1
    if not 1 <= len(rules) <= most:
        broken.append(f"{len(rules)} rules")
    names = [item["name"] for item in rules if "name" in item]
    if len(set(names)) != len(names):
        broken.append(f"names {names}")
    if sum(len(item.get("matches") or [{}]) for item in rules) > 128:
        broken.append("more than 128 matches")
    for index, item in enumerate(rules):
        broken += [f"rules[{index}]: {text}" for text in _rule(item)]
    return broken


def _rule(item: dict[str, Any]) -> list[str]:
    broken = []
    if "name" in item and not (len(item["name"]) <= 253 and NAME.fullmatch(item["name"])):
        broken.append(f"name {item['name']!r}")
    refs = item.get("backendRefs") or []
    if len(refs) > 16:
        broken.append(f"{len(refs)} backendRefs")
    for ref in refs:
        weight = ref.get("weight", 1)
        if not ref.get("name") or isinstance(weight, bool) or not isinstance(weight, int):
            broken.append(f"backendRef {ref}")
        elif not 0 <= weight <= 1_000_000:
            broken.append(f"weight {weight}")
    matches = item.get("matches") or []
    if len(matches) > 64:
        broken.append(f"{len(matches)} matches")
    for match in matches:
        headers = [header["name"].lower() for header in match.get("headers") or ()]
        if len(set(headers)) != len(headers) or len(headers) > 16:
            broken.append(f"headers {headers}")
        broken += [f"header {name!r}" for name in headers if not HEADER.fullmatch(name)]
    filters = [one["type"] for one in item.get("filters") or ()]
    if len(filters) > 16 or any(filters.count(kind) > 1 for kind in ONCE):
        broken.append(f"filters {filters}")
    if "RequestRedirect" in filters and refs:
        broken.append("a redirect with backendRefs")
    for one in item.get("filters") or ():
        mirror = one.get("requestMirror") or {}
        if not 0 <= mirror.get("percent", 100) <= 100 or (
            "percent" in mirror and "fraction" in mirror
        ):
            broken.append(f"mirror {mirror}")
    return broken
