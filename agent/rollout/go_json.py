"""Kubernetes objects as Go writes them in JSON: the text that hashes of revisions and steps are made from. PURE.

Fields stand in the order of the Go types, unknown ones vanish, empty ones vanish where the type says so, maps
are sorted, quantities are canonical, and characters that matter in HTML are escaped.

Types are tables: struct name to its fields, each `name:kind`. Kinds:

    str int bool        left out when zero
    quantity intstr     structs of their own, never left out
    time raw            RFC 3339 text; any JSON, kept as it is
    *kind               a pointer: left out when null, but not when zero
    [kind] {kind}       list, map by text: left out when empty
    Name                another struct, never left out
    …!                  written even when empty (null for lists, maps and pointers)
    +Name               all fields of another struct
"""

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from functools import cache
from json.encoder import encode_basestring
from typing import Any, Final, NamedTuple

from agent.errors import Refused
from agent.rollout.quantities import canonical

Table = Mapping[str, str]

_SPECIAL: Final = re.compile("[<>&\u2028\u2029]")
_ESCAPES: Final = str.maketrans(
    {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
)


class Field(NamedTuple):
    name: str
    kind: str
    always: bool


class Types:
    """A table of struct types, read on first use."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self.fields = cache(self._fields)

    def __contains__(self, name: str) -> bool:
        return name in self._table

    def _fields(self, struct: str) -> tuple[Field, ...]:
        fields: list[Field] = []
        for word in self._table[struct].split():
            if word.startswith("+"):
                fields += self.fields(word[1:])
            else:
                name, _, kind = word.partition(":")
                fields.append(Field(name, kind.removesuffix("!"), kind.endswith("!")))
        return tuple(fields)


def write(value: Any, kind: str, types: Types, path: str = "") -> str:
    """`value` (decoded JSON, None for absent) as JSON text of that kind.

    Raises Refused, naming the field below `path`, for what Go would not read into the type.
    """
    if kind.startswith("*"):
        return "null" if value is None else write(value, kind[1:], types, path)
    if kind.startswith("["):
        return _list(value, kind[1:-1], types, path)
    if kind.startswith("{"):
        return _map(value, kind[1:-1], types, path)
    if kind in types:
        return _struct(value, kind, types, path)
    return _SCALARS[kind](value, path)


def _is_left_out(value: Any, kind: str, types: Types) -> bool:
    """Go's `omitempty` of a field that is not always written."""
    if value is None:
        return kind not in ("quantity", "intstr") and kind not in types
    if kind[0] in "[{":
        return isinstance(value, list | dict) and not value
    return kind in ("str", "int", "bool") and value in ("", 0, False)


def _struct(value: Any, struct: str, types: Types, path: str) -> str:
    value = {} if value is None else _expect(value, dict, "an object", path)
    members = []
    for name, kind, always in types.fields(struct):
        item = value.get(name)
        if always or not _is_left_out(item, kind, types):
            below = f"{path}.{name}" if path else name
            members.append(f"{_text(name)}:{write(item, kind, types, below)}")
    return "{" + ",".join(members) + "}"


def _list(value: Any, kind: str, types: Types, path: str) -> str:
    if value is None:
        return "null"
    items = _expect(value, list, "a list", path)
    texts = [write(item, kind, types, f"{path}[{index}]") for index, item in enumerate(items)]
    return "[" + ",".join(texts) + "]"


def _map(value: Any, kind: str, types: Types, path: str) -> str:
    if value is None:
        return "null"
    items = sorted(_expect(value, dict, "a map", path).items())
    return _join((_text(key), write(item, kind, types, f"{path}[{key}]")) for key, item in items)


def _join(members: Iterable[tuple[str, str]]) -> str:
    return "{" + ",".join(f"{key}:{value}" for key, value in members) + "}"


def _string(value: Any, path: str) -> str:
    return _text("" if value is None else _expect(value, str, "a text", path))


def _integer(value: Any, path: str) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool):
        raise Refused("expected a whole number, got a boolean", field=path)
    return str(0 if value is None else _expect(value, int, "a whole number", path))


def _boolean(value: Any, path: str) -> str:
    return "true" if _expect(value or False, bool, "true or false", path) else "false"


def _int_or_string(value: Any, path: str) -> str:
    return _string(value, path) if isinstance(value, str) else _integer(value, path)


def _quantity(value: Any, path: str) -> str:
    if value is None:
        return '"0"'
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise Refused("expected a quantity such as 500m or 1Gi", field=path)
    try:
        return _text(canonical((value if isinstance(value, str) else _number(value)).strip()))
    except ValueError as error:
        raise Refused(str(error), field=path) from error


def _raw(value: Any, _path: str = "") -> str:
    """Any JSON, members in their order."""
    if isinstance(value, dict):
        return _join((_text(key), _raw(item)) for key, item in value.items())
    if isinstance(value, list):
        return "[" + ",".join(map(_raw, value)) + "]"
    if isinstance(value, str):
        return _text(value)
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return _number(value)


def _number(value: float) -> str:
    """Go's shortest text of a number."""
    if isinstance(value, int):
        return str(value)
    if not math.isfinite(value):
        raise Refused(f"{value} is not a JSON number")
    if value.is_integer() and abs(value) < 1e21:
        return str(int(value))
    text = repr(value)
    if 1e-6 <= abs(value) < 1e21:
        return f"{Decimal(text):f}"
    mantissa, _, exponent = text.partition("e")
    return f"{mantissa}e{exponent[0]}{exponent[1:].lstrip('0')}"


def _text(value: str) -> str:
    """A JSON text; half a surrogate pair, which is no character, becomes U+FFFD."""
    if not value.isascii():
        value = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    text = encode_basestring(value)
    return text.translate(_ESCAPES) if _SPECIAL.search(text) else text


def _expect(value: Any, type_: type, what: str, path: str) -> Any:
    if not isinstance(value, type_):
        raise Refused(f"expected {what}, got {type(value).__name__}", field=path)
    return value


_SCALARS: Final[Mapping[str, Callable[[Any, str], str]]] = {
    "str": _string,
    "int": _integer,
    "bool": _boolean,
    "intstr": _int_or_string,
    "quantity": _quantity,
    "time": _string,
    "raw": _raw,
}
