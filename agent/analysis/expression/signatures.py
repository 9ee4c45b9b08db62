"""What builtins take and give, as far as it is known before they run.

The words of the errors are those that users of Argo know.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from agent.analysis.expression.kinds import ANY
from agent.analysis.expression.natures import (
    BOOL,
    DURATION,
    FLOAT,
    INT,
    LIST,
    STRING,
    TIME,
    Nature,
)
from agent.analysis.expression.nodes import ExpressionError

Natures = Sequence[Nature]
_ANY: Final = Nature(ANY)
_STRINGS: Final = Nature("[]string")
_ZONE: Final = "*time.Location"
_NUMBERS: Final = ("int", "int64", "uint8", "float64")


class Signature(NamedTuple):
    parameters: tuple[Nature, ...]
    gives: Nature


def _fixed(gives: Nature, *parameters: tuple[Nature, ...]) -> tuple[Signature, ...]:
    return tuple(Signature(found, gives) for found in parameters)


_TEXT_TEST: Final = _fixed(BOOL, (STRING, STRING))
_SORTABLE: Final = (LIST, Nature("[]int"), Nature("[]float64"), _STRINGS)
_BITS: Final = _fixed(INT, (INT, INT))

OVERLOADS: Final[Mapping[str, tuple[Signature, ...]]] = {
    "type": _fixed(STRING, (_ANY,)),
    "string": _fixed(STRING, (_ANY,)),
    "trim": _fixed(STRING, (STRING,), (STRING, STRING)),
    "trimPrefix": _fixed(STRING, (STRING, STRING), (STRING,)),
    "trimSuffix": _fixed(STRING, (STRING, STRING), (STRING,)),
    "upper": _fixed(STRING, (STRING,)),
    "lower": _fixed(STRING, (STRING,)),
    "split": _fixed(_STRINGS, (STRING, STRING), (STRING, STRING, INT)),
    "splitAfter": _fixed(_STRINGS, (STRING, STRING), (STRING, STRING, INT)),
    "replace": _fixed(STRING, (STRING, STRING, STRING, INT), (STRING, STRING, STRING)),
    "repeat": _fixed(STRING, (STRING, INT)),
    "join": _fixed(STRING, (_STRINGS, STRING), (LIST, STRING), (LIST,), (_STRINGS,)),
    "indexOf": _fixed(INT, (STRING, STRING)),
    "lastIndexOf": _fixed(INT, (STRING, STRING)),
    "hasPrefix": _TEXT_TEST,
    "hasSuffix": _TEXT_TEST,
    "toJSON": _fixed(STRING, (_ANY,)),
    "fromJSON": _fixed(_ANY, (STRING,)),
    "toBase64": _fixed(STRING, (STRING,)),
    "fromBase64": _fixed(STRING, (STRING,)),
    "duration": _fixed(DURATION, (STRING,)),
    "timezone": _fixed(Nature(_ZONE), (STRING,)),
    "sort": (
        *(Signature((kind, STRING), LIST) for kind in _SORTABLE),
        *(Signature((kind,), LIST) for kind in _SORTABLE),
    ),
    **dict.fromkeys(("bitand", "bitor", "bitxor", "bitnand", "bitshl", "bitshr", "bitushr"), _BITS),
    "bitnot": _fixed(INT, (INT,)),
}
"""Builtins with parameters of known types; the first that fits counts."""


def _count(found: Natures, least: int, most: int, words: str) -> None:
    if not least <= len(found) <= most:
        raise ExpressionError(f"invalid number of arguments (expected {words}, got {len(found)})")


def _type_text(nature: Nature) -> str:
    return "%!s(<nil>)" if nature.nil else str(nature) if nature.go else ANY


def _one(
    holds: Callable[[Nature], bool], gives: Callable[[Nature], Nature], words: str
) -> Callable[[Natures], Nature]:
    """A builtin of one argument; `words` is what is said of a wrong one."""

    def rule(found: Natures) -> Nature:
        _count(found, 1, 1, "1")
        (given,) = found
        if not given.unknown and not holds(given):
            raise ExpressionError(words.format(_type_text(given)))
        return gives(given)

    return rule


def _numeric(name: str, gives: Callable[[Nature], Nature]) -> Callable[[Natures], Nature]:
    return _one(_is_numeric, gives, f"invalid argument for {name} (type {{}})")


def _is_numeric(given: Nature) -> bool:
    return given.kind in _NUMBERS


def _conversion(name: str, gives: Nature) -> Callable[[Natures], Nature]:
    return _one(
        lambda given: _is_numeric(given) or given.kind == "string",
        lambda _: gives,
        f"invalid argument for {name} (type {{}})",
    )


def _of_list(gives: Callable[[Nature], Nature], words: str) -> Callable[[Natures], Nature]:
    return _one(lambda given: given.array, gives, words)


def _of_map(words: str) -> Callable[[Natures], Nature]:
    return _one(lambda given: given.map, lambda _: LIST, words)


def _known_items(given: Nature) -> Nature:
    """Only what the type says: what else is known of the items is lost in these builtins."""
    return given._replace(item=None).items() if given.array else _ANY


def _aggregate(name: str) -> Callable[[Natures], Nature]:
    def rule(found: Natures) -> Nature:
        if not found:
            raise ExpressionError(f"not enough arguments to call {name}")
        for given in found:
            if given.unknown or given.array:
                return _ANY
            if not _is_numeric(given):
                raise ExpressionError(f"invalid argument for {name} (type {_type_text(given)})")
        return found[0]

    return rule


def _take(found: Natures) -> Nature:
    _count(found, 2, 2, "2")
    items, count = found
    if not items.unknown and not items.array:
        raise ExpressionError(f"cannot take from {_type_text(items)}")
    if not count.unknown and count.kind not in ("int", "int64"):
        raise ExpressionError(f"cannot take {_type_text(count)} elements")
    return items._replace(item=None)


def _concat(found: Natures) -> Nature:
    if not found:
        raise ExpressionError("invalid number of arguments (expected at least 1, got 0)")
    for given in found:
        if not given.unknown and not given.array:
            raise ExpressionError(f"cannot concat {_type_text(given)}")
    return LIST


def _now(found: Natures) -> Nature:
    if found and (len(found) > 1 or found[0].go != _ZONE):
        raise ExpressionError(f"invalid number of arguments (expected 0, got {len(found)})")
    return TIME


def _date(found: Natures) -> Nature:
    if not found:
        raise ExpressionError("invalid number of arguments (expected at least 1, got 0)")
    rest = found[1:] if found[0].go == _ZONE else found
    if len(rest) > 3:
        raise ExpressionError(f"invalid number of arguments (expected at most 3, got {len(rest)})")
    return TIME


RULES: Final[Mapping[str, Callable[[Natures], Nature]]] = {
    "len": _one(
        lambda given: given.array or given.map or given.kind == "string",
        lambda _: INT,
        "invalid argument for len (type {})",
    ),
    "abs": _numeric("abs", lambda given: given),
    "ceil": _numeric("ceil", lambda _: FLOAT),
    "floor": _numeric("floor", lambda _: FLOAT),
    "round": _numeric("round", lambda _: FLOAT),
    "int": _conversion("int", INT),
    "float": _conversion("float", FLOAT),
    **{name: _aggregate(name) for name in ("min", "max", "mean", "median")},
    "now": _now,
    "date": _date,
    "first": _of_list(_known_items, "cannot get first element from {}"),
    "last": _of_list(_known_items, "cannot get last element from {}"),
    "take": _take,
    "keys": _of_map("cannot get keys from {}"),
    "values": _of_map("cannot get values from {}"),
    "toPairs": _of_map("cannot transform {} to pairs"),
    "fromPairs": _of_list(
        lambda _: Nature("map[interface {}]interface {}"), "cannot transform {} from pairs"
    ),
    "reverse": _of_list(lambda _: LIST, "cannot reverse {}"),
    "uniq": _of_list(lambda _: LIST, "cannot uniq {}"),
    "concat": _concat,
    "flatten": _of_list(lambda _: LIST, "cannot flatten {}"),
}
"""Builtins that look at their arguments themselves."""

_NAMED: Final = {"Month": Nature("time.Month"), "Weekday": Nature("time.Weekday")}
METHODS: Final[Mapping[str, Mapping[str, Signature]]] = {
    "time.Time": {
        **{
            name: Signature((), INT)
            for name in ("Year", "Day", "Hour", "Minute", "Second", "Nanosecond", "YearDay")
        },
        **{name: Signature((), gives) for name, gives in _NAMED.items()},
        **{
            name: Signature((), Nature("int64"))
            for name in ("Unix", "UnixMilli", "UnixMicro", "UnixNano")
        },
        "Add": Signature((DURATION,), TIME),
        "AddDate": Signature((INT, INT, INT), TIME),
        "After": Signature((TIME,), BOOL),
        "Before": Signature((TIME,), BOOL),
        "Compare": Signature((TIME,), INT),
        "Equal": Signature((TIME,), BOOL),
        "Format": Signature((STRING,), STRING),
        "In": Signature((Nature(_ZONE),), TIME),
        "IsZero": Signature((), BOOL),
        "String": Signature((), STRING),
        "Round": Signature((DURATION,), TIME),
        "Sub": Signature((TIME,), DURATION),
        "Truncate": Signature((DURATION,), TIME),
        "UTC": Signature((), TIME),
    },
    "time.Duration": {
        **{name: Signature((), FLOAT) for name in ("Hours", "Minutes", "Seconds")},
        **{
            name: Signature((), Nature("int64"))
            for name in ("Milliseconds", "Microseconds", "Nanoseconds")
        },
        "Abs": Signature((), DURATION),
        "String": Signature((), STRING),
        "Round": Signature((DURATION,), DURATION),
        "Truncate": Signature((DURATION,), DURATION),
    },
    "time.Month": {"String": Signature((), STRING)},
    "time.Weekday": {"String": Signature((), STRING)},
    _ZONE: {"String": Signature((), STRING)},
}


def fit(name: str, signature: Signature, found: Natures) -> Nature:
    """What a function with this signature gives. Raises ExpressionError when the arguments do not fit."""
    if len(found) != len(signature.parameters):
        amount = "too many" if len(found) > len(signature.parameters) else "not enough"
        raise ExpressionError(f"{amount} arguments to call {name}")
    for given, wanted in zip(found, signature.parameters, strict=True):
        if given.integer and (wanted.integer or wanted == FLOAT):
            continue
        if given.nil:
            # Only an `interface {}` takes nil.
            if wanted.go != ANY:
                raise ExpressionError(f"cannot use nil as argument (type {wanted}) to call {name}")
        elif not given.unknown and not given.assignable(wanted):
            raise ExpressionError(f"cannot use {given} as argument (type {wanted}) to call {name} ")
    return signature.gives


def builtin(name: str, found: Natures) -> Nature:
    """What a builtin gives for arguments of these natures. Raises ExpressionError."""
    if name in RULES:
        return RULES[name](found)
    error = ExpressionError(f"unknown builtin {name}")
    for signature in OVERLOADS.get(name, ()):
        try:
            return fit(name, signature, found)
        except ExpressionError as cause:
            error = cause
    raise error


def method(name: str, base: Nature) -> Signature | None:
    """The method of a nature, if it has one by this name."""
    return METHODS.get(base.go, {}).get(name)
