"""From Gateway API routes to what a proxy does with them: the VirtualService that istiod makes of one inside.

A match for itself; the most specific one is asked first, whatever the order of the rules: an exact path, the longest
prefix, a method, most headers, most query parameters, then the order in the route (HTTPRouteRule's precedence).
"""

from typing import Any, Final

from agent.api.meta import Object

_URI: Final = {"Exact": "exact", "PathPrefix": "prefix", "RegularExpression": "regex"}
_TEXT: Final = {"Exact": "exact", "RegularExpression": "regex"}


def virtual_service_of(route: Object) -> Object:
    """What agent.demo.translate and tests.e2e.tcp_proxy understand."""
    rules = route["spec"]["rules"]
    if route["kind"] == "HTTPRoute":
        entries = [
            (_rank(match), {"match": [_match(match)], "route": _backends(rule), **_named(rule)})
            for rule in rules
            for match in rule.get("matches") or [{}]
        ]
        spec = {"http": [entry for _, entry in sorted(entries, key=lambda item: item[0])]}
    else:
        spec = {"tcp": [{"route": _backends(rule)} for rule in rules]}
    return {"metadata": route["metadata"], "spec": spec}


def _named(rule: dict[str, Any]) -> dict[str, str]:
    return {"name": rule["name"]} if "name" in rule else {}


def _backends(rule: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"destination": {"host": item["name"]}, "weight": item.get("weight", 1)}
        for item in rule["backendRefs"]
    ]


def _rank(match: dict[str, Any]) -> tuple[bool, int, bool, int, int]:
    """Smaller is asked first."""
    path = match.get("path") or {"type": "PathPrefix", "value": "/"}
    return (
        path["type"] != "Exact",
        -len(path["value"]),
        "method" not in match,
        -len(match.get("headers") or ()),
        -len(match.get("queryParams") or ()),
    )


def _match(match: dict[str, Any]) -> dict[str, Any]:
    path = match.get("path") or {"type": "PathPrefix", "value": "/"}
    made: dict[str, Any] = {"uri": {_URI[path["type"]]: path["value"]}}
    if match.get("headers"):
        made["headers"] = {
            item["name"]: {_TEXT[item.get("type", "Exact")]: item["value"]}
            for item in match["headers"]
        }
    if match.get("method"):
        made["method"] = {"exact": match["method"]}
    return made
