"""Label selectors as kubectl and the API server write them: `a=b,c!=d,e in (x,y),f,!g`. Pure."""

import re
from collections.abc import Callable, Mapping

from agent.errors import Invalid

Predicate = Callable[[Mapping[str, str]], bool]

_SET = re.compile(r"^\s*([\w./-]+)\s+(in|notin)\s*\(([^)]*)\)\s*$")
_EQUAL = re.compile(r"^\s*([\w./-]+)\s*(==|=|!=)\s*([\w.-]*)\s*$")
_EXISTS = re.compile(r"^\s*(!?)\s*([\w./-]+)\s*$")


def parse(selector: str) -> Predicate:
    """Whether labels satisfy the selector; "" is satisfied by all. Raises Invalid."""
    parts = [part for part in re.split(r",(?![^(]*\))", selector) if part.strip()]
    predicates = [_one(part) for part in parts]
    return lambda labels: all(predicate(labels) for predicate in predicates)


def _one(part: str) -> Predicate:
    if found := _SET.match(part):
        name, word, values = (
            found.group(1),
            found.group(2),
            {v.strip() for v in found.group(3).split(",")},
        )
        if word == "in":
            return lambda labels: labels.get(name) in values
        return lambda labels: labels.get(name) not in values
    if found := _EQUAL.match(part):
        name, word, value = found.groups()
        if word == "!=":
            return lambda labels: labels.get(name) != value
        return lambda labels: labels.get(name) == value
    if found := _EXISTS.match(part):
        absent, name = bool(found.group(1)), found.group(2)
        return lambda labels: (name in labels) is not absent
    raise Invalid(f"label selector {part!r} is not understood")
