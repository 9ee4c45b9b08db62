"""Conditions of header and mirror routes, put on top of the matches that a rule has. PURE.

Conditions inside one match are all required, several matches are alternatives (Gateway API, HTTPRouteMatch and
GRPCRouteMatch). The conditions of a `setHeaderRoute` are all required, as in Argo's Gateway API plugin. Raises
Refused where one match cannot say both conditions.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from agent.api.rollout import HeaderRoutingMatch, RouteMatch, StringMatch
from agent.errors import Refused
from agent.traffic.gateway_rules import dicts

Match = dict[str, Any]
EVERY_PATH: Final[Mapping[str, str]] = {"type": "PathPrefix", "value": "/"}
"""The path of a match that names none."""
_SPECIAL: Final = frozenset(r"\.+*?()|[]{}^$")


def matches_of(kind: str, rule: Mapping[str, Any]) -> list[Match]:
    """The matches of a rule with the defaults that the API server writes out."""
    matches = dicts(rule.get("matches")) or [{}]
    if kind != "HTTPRoute":
        return [dict(match) for match in matches]
    return [
        {**match, "path": path if isinstance(path := match.get("path"), dict) else dict(EVERY_PATH)}
        for match in matches
    ]


def with_headers(
    matches: Sequence[Match], conditions: Iterable[HeaderRoutingMatch], label: str
) -> list[Match]:
    """Each match with all these headers required, too."""
    wanted = [_header(item.header_name, item.header_value) for item in conditions]
    return [{**match, "headers": _joined(match, wanted, label)} for match in matches]


def with_route_matches(
    kind: str, matches: Sequence[Match], conditions: Iterable[RouteMatch], label: str
) -> list[Match]:
    """Each match narrowed by each of the conditions, which are alternatives."""
    return [
        _narrowed(kind, match, condition, label) for condition in conditions for match in matches
    ]


def _narrowed(kind: str, match: Match, condition: RouteMatch, label: str) -> Match:
    made = dict(match)
    if kind != "HTTPRoute" and (condition.path or condition.method):
        raise Refused(
            f"{label}: a {kind} matches services and methods, not paths: leave path and method out of the "
            "mirror's match"
        )
    if condition.path:
        made["path"] = _path(match["path"], condition.path, label)
    if condition.method:
        method = condition.method.exact
        if not method or match.get("method", method) != method:
            raise Refused(
                f"{label}: an HTTPRoute matches one method exactly, and this rule "
                f"{match.get('method') or 'any'}: give the mirror's method as `exact`, and the same"
            )
        made["method"] = method
    wanted = [_header(name, value) for name, value in (condition.headers or {}).items()]
    if wanted:
        made["headers"] = _joined(match, wanted, label)
    return made


def _path(base: Mapping[str, Any], condition: StringMatch, label: str) -> dict[str, str]:
    """The path that meets both: a prefix here ends at a slash, where Argo's and Istio's may end inside of a word."""
    for kind, value in (
        ("Exact", condition.exact),
        ("PathPrefix", condition.prefix),
        ("RegularExpression", condition.regex),
    ):
        if value:
            wanted = {"type": kind, "value": value}
            break
    else:
        return dict(base)
    if base in (wanted, EVERY_PATH):
        return wanted
    kinds, value = (str(base.get("type")), wanted["type"]), str(base.get("value"))
    if "RegularExpression" not in kinds:
        if kinds[0] == "PathPrefix" and _is_below(wanted["value"], value):
            return wanted
        if kinds[1] == "PathPrefix" and _is_below(value, wanted["value"]):
            return dict(base)
    raise Refused(
        f"{label} matches the path {base.get('value')} ({base.get('type')}), and the mirror {wanted['value']} "
        f"({wanted['type']}): no match says both; give the mirror a path below the rule's"
    )


def _is_below(path: str, prefix: str) -> bool:
    return f"{path.rstrip('/')}/".startswith(f"{prefix.rstrip('/')}/")


def _joined(match: Match, wanted: Sequence[dict[str, str]], label: str) -> list[dict[str, Any]]:
    headers = [dict(item) for item in dicts(match.get("headers"))]
    for item in wanted:
        same = [one for one in headers if str(one.get("name")).lower() == item["name"].lower()]
        if not same:
            headers.append(item)
        elif _condition(same[0]) != _condition(item):
            raise Refused(
                f"{label}: the header '{item['name']}' is required with two values: all headers of a match are "
                "required; say both in one regex, or take one of them out"
            )
    return headers


def _condition(header: Mapping[str, Any]) -> tuple[str, Any]:
    return header.get("type") or "Exact", header.get("value")


def _header(name: str, value: StringMatch | None) -> dict[str, str]:
    """A header's condition. Gateway API knows no prefix: it is a regular expression there."""
    if value is not None and value.exact:
        return {"type": "Exact", "name": name, "value": value.exact}
    if value is not None and value.prefix:
        return {"type": "RegularExpression", "name": name, "value": _quoted(value.prefix) + ".*"}
    if value is not None and value.regex:
        return {"type": "RegularExpression", "name": name, "value": value.regex}
    raise Refused(f"the header '{name}' has no value: set one of exact, prefix, regex")


def _quoted(text: str) -> str:
    return "".join(f"\\{char}" if char in _SPECIAL else char for char in text)
