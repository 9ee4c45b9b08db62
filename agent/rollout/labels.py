"""Labels and label selectors, by Kubernetes' rules. PURE."""

import re
from collections.abc import Mapping
from typing import Any, Final

from agent.rollout.field_errors import at, forbidden, invalid, required
from agent.traffic.types import FieldError

_NAME: Final = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]", re.ASCII)
_SUBDOMAIN: Final = re.compile(
    r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", re.ASCII
)
_EXAMPLES: Final = "(e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
_BAD_VALUE: Final = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and "
    "must start and end with an alphanumeric character "
    + _EXAMPLES
    + "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
_BAD_NAME: Final = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
    "alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)


def key_problems(key: str) -> list[str]:
    """Why a text is no key of a label or annotation (`name` or `prefix/name`); empty when it is one."""
    prefix, slash, name = key.rpartition("/")
    if "/" in prefix:
        return ["a qualified name " + _BAD_NAME.removeprefix("name part ")]
    problems = []
    if slash and not prefix:
        problems.append("prefix part must be non-empty")
    elif prefix and (len(prefix) > 253 or not _SUBDOMAIN.fullmatch(prefix)):
        problems.append(
            "prefix part must be a lowercase RFC 1123 subdomain of at most 253 characters"
        )
    if not name:
        problems.append("name part must be non-empty")
    elif len(name) > 63:
        problems.append("name part must be no more than 63 bytes")
    if not _NAME.fullmatch(name):
        problems.append(_BAD_NAME)
    return problems


def value_problems(value: str) -> list[str]:
    """Why a text is no value of a label; empty when it is one."""
    problems = ["must be no more than 63 bytes"] if len(value.encode()) > 63 else []
    if value and not _NAME.fullmatch(value):
        problems.append(_BAD_VALUE)
    return problems


def is_empty(selector: Mapping[str, Any]) -> bool:
    """Whether the selector asks for nothing, and so selects everything."""
    return not selector.get("matchLabels") and not selector.get("matchExpressions")


def matches(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """Whether the labels are selected. No selector selects nothing, an empty one everything.

    An expression whose operator is unknown selects nothing.
    """
    if selector is None:
        return False
    wanted = (selector.get("matchLabels") or {}).items()
    expressions = selector.get("matchExpressions") or ()
    return all(labels.get(key) == value for key, value in wanted) and all(
        _holds(expression, labels) for expression in expressions
    )


def _holds(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    value = labels.get(expression.get("key") or "")
    values = expression.get("values") or ()
    match expression.get("operator"):
        case "In":
            return value is not None and value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case _:
            return False


def selector_errors(selector: Mapping[str, Any], field: str) -> list[FieldError]:
    """Why the selector is none; empty when it is one."""
    errors = []
    for key, value in sorted((selector.get("matchLabels") or {}).items()):
        errors += [invalid(f"{field}.matchLabels", key, why) for why in key_problems(key)]
        errors += [
            invalid(f"{field}.matchLabels", value, why) for why in value_problems(value or "")
        ]
    for index, expression in enumerate(selector.get("matchExpressions") or ()):
        errors += _expression_errors(expression, at(f"{field}.matchExpressions", index))
    return errors


def _expression_errors(expression: Mapping[str, Any], field: str) -> list[FieldError]:
    operator, values = expression.get("operator") or "", expression.get("values") or ()
    errors = []
    if operator in ("In", "NotIn"):
        if not values:
            errors.append(
                required(f"{field}.values", "must be specified when `operator` is 'In' or 'NotIn'")
            )
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            errors.append(forbidden(f"{field}.values", why))
    else:
        errors.append(invalid(f"{field}.operator", operator, "not a valid selector operator"))
    key = expression.get("key") or ""
    errors += [invalid(f"{field}.key", key, why) for why in key_problems(key)]
    for index, value in enumerate(values):
        problems = value_problems(value)
        errors += [invalid(at(f"{field}.values", index), value, why) for why in problems]
    return errors


def label_errors(labels: Mapping[str, Any], field: str) -> list[FieldError]:
    """Why the map is none of labels; empty when it is one."""
    errors = []
    for key, value in sorted(labels.items()):
        errors += [invalid(field, key, why) for why in key_problems(key)]
        errors += [invalid(field, value, why) for why in value_problems(value)]
    return errors
