"""The value types of expressions: Go's, on plain Python data.

None, bool, int (64 bits), float, str and bytes stand for themselves, a list for []any and a dict for
map[string]any, as in decoded JSON; a datetime is a time.Time. The classes below are for what the language
tells apart beyond that. A str is UTF-8: bytes that are none are kept as surrogate escapes.
"""

from collections.abc import Callable
from datetime import datetime, tzinfo
from typing import Any, Final, NamedTuple

from agent.analysis.expression.nodes import ExpressionError

ANY: Final = "interface {}"


class Typed(int):
    """An integer of another type than int."""

    go: str


class Int64(Typed):
    go = "int64"


class Uint8(Typed):
    go = "uint8"


class Month(Typed):
    go = "time.Month"


class Weekday(Typed):
    go = "time.Weekday"


class Duration(NamedTuple):
    """A time.Duration."""

    nanoseconds: int


class Slice(list[Any]):
    """A list whose items all have one type, such as []float64."""

    __slots__ = ("element",)

    def __init__(self, element: str, items: Any = ()) -> None:
        super().__init__(items)
        self.element = element


class Nothing(Slice):
    """A nil list: what a missing group is."""


class Pair(list[Any]):
    """A [2]any: what `toPairs` makes."""


class Table:
    """A map with keys of any type; `element` is the type of the values.

    Keys of different types are different keys (1 and 1.0 and true).
    """

    __slots__ = ("element", "entries")

    def __init__(self, element: str) -> None:
        self.element = element
        self.entries: dict[tuple[str, Any], tuple[Any, Any]] = {}

    def __len__(self) -> int:
        return len(self.entries)

    def put(self, key: Any, value: Any) -> None:
        self.entries[_identity(key)] = (key, value)

    def get(self, key: Any) -> Any:
        """The value, or what stands for none."""
        found = self.entries.get(_identity(key))
        if found is not None:
            return found[1]
        return Nothing(ANY) if self.element.startswith("[]") else None

    def has(self, key: Any) -> bool:
        return _identity(key) in self.entries

    def pairs(self) -> list[tuple[Any, Any]]:
        return list(self.entries.values())


def _identity(key: Any) -> tuple[str, Any]:
    """What makes a key the same key. Raises ExpressionError for what cannot be one."""
    if isinstance(key, Pair):
        return go_type(key), tuple(_identity(item) for item in key)
    if is_list(key) or is_map(key) or isinstance(key, Function):
        raise ExpressionError(f"hash of unhashable type: {go_type(key)}")
    return go_type(key), key


class Function(NamedTuple):
    """A function as a value: of the environment, or a method of a time."""

    name: str
    parameters: int
    call: Callable[..., Any]


_NAMES: Final = {
    type(None): "<nil>",
    bool: "bool",
    int: "int",
    float: "float64",
    str: "string",
    bytes: "[]uint8",
    list: "[]interface {}",
    dict: "map[string]interface {}",
    datetime: "time.Time",
    Duration: "time.Duration",
    Pair: "[2]interface {}",
    Function: "func",
}


def go_type(value: Any) -> str:
    """The type of a value in Go's words."""
    name = _NAMES.get(type(value))
    if name is not None:
        return name
    if isinstance(value, Typed):
        return value.go
    if isinstance(value, Slice):
        return f"[]{value.element}"
    if isinstance(value, Table):
        return f"map[interface {{}}]{value.element}"
    return "*time.Location" if isinstance(value, tzinfo) else "func"


def is_integer(value: Any) -> bool:
    """Of the types with arithmetic: not a month."""
    return type(value) in (int, Int64, Uint8)


def is_number(value: Any) -> bool:
    return type(value) is float or is_integer(value)


def is_list(value: Any) -> bool:
    return isinstance(value, list | bytes)


def is_map(value: Any) -> bool:
    return isinstance(value, dict | Table)


def is_nil(value: Any) -> bool:
    return value is None or isinstance(value, Nothing)


def as_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def as_text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def joined(*texts: str) -> str:
    """The texts one after the other; bytes that make a character only together become one."""
    whole = "".join(texts)
    return whole if whole.isascii() else as_text(as_bytes(whole))


def readable(text: str) -> str:
    """The text with a replacement character for each byte that is no UTF-8."""
    return (
        text
        if text.isascii()
        else "".join("\ufffd" if "\udc80" <= c <= "\udcff" else c for c in text)
    )


def wrapped(value: int) -> int:
    """Overflow as in 64-bit integers; the type is int."""
    return (int(value) + 2**63) % 2**64 - 2**63
