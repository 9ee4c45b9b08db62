"""What operators take and give, as far as it is known before an expression runs."""

from collections.abc import Mapping
from typing import Final

from agent.analysis.expression.natures import (
    BOOL,
    DURATION,
    FLOAT,
    INT,
    STRING,
    TIME,
    UNKNOWN,
    Nature,
    list_of,
)
from agent.analysis.expression.nodes import ExpressionError

_NUMBERS: Final = ("int", "int64", "uint8", "float64")
_INTEGERS: Final = ("int", "int64", "uint8")
_TIMES: Final = ("time.Time", "time.Duration")
_ORDERED: Final = (*_NUMBERS, "string", *_TIMES)
_WITH_UNKNOWN: Final[Mapping[str, tuple[str, ...]]] = {
    **dict.fromkeys(("<", ">", "<=", ">=", "+"), _ORDERED),
    "-": (*_NUMBERS, *_TIMES),
    "*": (*_NUMBERS, "time.Duration"),
    **dict.fromkeys(("/", "**"), _NUMBERS),
    **dict.fromkeys(("%", ".."), _INTEGERS),
    **dict.fromkeys(("contains", "startsWith", "endsWith", "matches"), ("string",)),
    **dict.fromkeys(("&&", "||"), ("bool",)),
}
"""What an operand may be when the other one is not known."""
_GIVES: Final[Mapping[str, Nature]] = {
    **dict.fromkeys(("+", "-", "*"), UNKNOWN),
    **dict.fromkeys(("/", "**"), FLOAT),
    "%": INT,
    "..": list_of(INT),
}
_TEMPORAL: Final[Mapping[tuple[str, str, str], Nature]] = {
    ("+", TIME.go, DURATION.go): TIME,
    ("+", DURATION.go, TIME.go): TIME,
    ("+", DURATION.go, DURATION.go): DURATION,
    ("-", TIME.go, TIME.go): DURATION,
    ("-", TIME.go, DURATION.go): TIME,
    ("-", DURATION.go, DURATION.go): DURATION,
    ("*", DURATION.go, DURATION.go): DURATION,
}


def either(left: Nature, right: Nature) -> Nature:
    if left.nil or right.nil:
        return right if left.nil else left
    return left if right.assignable(left) else UNKNOWN


def contained(left: Nature, right: Nature) -> Nature | None:
    if right.map:
        if not left.unknown and not left.assignable(right.keys()):
            raise ExpressionError(f"cannot use {left} as type {right.keys()} in map key")
        return BOOL
    if right.array:
        if not left.comparable(right.items()):
            raise ExpressionError(f"cannot use {left} as type {right.items()} in array")
        return BOOL
    if right == TIME:
        return BOOL if left.unknown or left == STRING else None
    return BOOL if right.unknown or (left.unknown and right == STRING) else None


def operation(operator: str, left: Nature, right: Nature) -> Nature | None:
    """What an operator gives for these operands; None when it does not go with them."""
    allowed = _WITH_UNKNOWN[operator]
    gives = _GIVES.get(operator, BOOL)
    if left.unknown or right.unknown:
        known = [side for side in (left, right) if not side.unknown]
        return gives if all(side.go in allowed for side in known) else None
    if (operator, left.go, right.go) in _TEMPORAL:
        return _TEMPORAL[operator, left.go, right.go]
    if left.number and right.number and left.go in allowed and right.go in allowed:
        if operator in ("+", "-", "*"):
            return FLOAT if FLOAT in (left, right) else INT
        return gives
    if operator == "*" and {left.go, right.go} & {DURATION.go} and (left.number or right.number):
        return DURATION
    if operator == "matches" and left.go == "[]uint8" and right == STRING:
        return BOOL
    if left != right or left.number or left.go not in allowed:
        return None
    if operator in ("+", "-", "*"):
        return STRING if left == STRING and operator == "+" else None
    return gives
