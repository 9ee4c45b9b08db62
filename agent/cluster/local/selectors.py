"""Label and field selectors as kubectl and the API server write them: `a=b,c!=d,e in (x,y),f,!g`. Pure."""

import re
from collections.abc import Callable, Mapping

from agent.api.meta import Object
from agent.errors import Invalid

Labels = Mapping[str, str]
Accepts = Callable[[Object], bool]

_KEY = r"[A-Za-z0-9]([-A-Za-z0-9_./]*[A-Za-z0-9])?"
_SET = re.compile(rf"(?P<key>{_KEY})\s+(?P<word>in|notin)\s*\((?P<values>[^()]*)\)")
_EQUAL = re.compile(rf"(?P<key>{_KEY})\s*(?P<word>==|=|!=)\s*(?P<value>[-A-Za-z0-9_.]*)")
_EXISTS = re.compile(rf"(?P<absent>!?)\s*(?P<key>{_KEY})")
_FIELD = re.compile(r"(?P<path>[A-Za-z][A-Za-z0-9.]*)(?P<word>==|=|!=)(?P<value>[^,]*)")


def parse(labels: str, fields: str = "") -> Accepts:
    """Whether an object satisfies both selectors; "" is satisfied by all. Raises Invalid."""
    by_label = [_label(part.strip()) for part in _parts(labels)]
    by_field = [_field(part.strip()) for part in fields.split(",") if part.strip()]

    def accepts(obj: Object) -> bool:
        own: Labels = obj["metadata"].get("labels") or {}
        return all(holds(own) for holds in by_label) and all(holds(obj) for holds in by_field)

    return accepts


def _parts(selector: str) -> list[str]:
    """Between commas that are not inside parentheses."""
    return re.split(r",(?![^(]*\))", selector) if selector.strip() else []


def _label(part: str) -> Callable[[Labels], bool]:
    if found := _SET.fullmatch(part):
        key, wanted = found["key"], found["word"] == "in"
        values = {value.strip() for value in found["values"].split(",")}
        return lambda labels: (labels.get(key) in values) is wanted
    if found := _EQUAL.fullmatch(part):
        key, value, equal = found["key"], found["value"], found["word"] != "!="
        return lambda labels: (labels.get(key) == value) is equal
    if found := _EXISTS.fullmatch(part):
        key, present = found["key"], not found["absent"]
        return lambda labels: (key in labels) is present
    raise Invalid(f"label selector: {part!r} is not understood")


def _field(part: str) -> Accepts:
    found = _FIELD.fullmatch(part)
    if found is None:
        raise Invalid(f"field selector: {part!r} is not understood")
    path, value, equal = found["path"].split("."), found["value"], found["word"] != "!="
    return lambda obj: (_text(obj, path) == value) is equal


def _text(obj: Object, path: list[str]) -> str:
    """The field as a field selector compares it: absent is ""."""
    value: object = obj
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return "" if value is None else str(value)
