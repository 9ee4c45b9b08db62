"""Builtins over numbers."""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import Any, Final

from agent.analysis.expression.arithmetic import converted, negated, truncated
from agent.analysis.expression.interpreter import Builtin, Interpreter
from agent.analysis.expression.kinds import (
    Duration,
    Int64,
    Month,
    Typed,
    Uint8,
    Weekday,
    go_type,
    is_integer,
    is_number,
    wrapped,
)
from agent.analysis.expression.nodes import ExpressionError, quoted
from agent.analysis.expression.values import binary

_INTEGER: Final = re.compile(r"[+-]?[0-9]+", re.ASCII)
_UNDERSCORE: Final = re.compile(r"(?<=[0-9a-fA-FxX])_(?=[0-9a-fA-F])")
_DECIMAL: Final = re.compile(
    r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[+-]?inf(?:inity)?|nan",
    re.ASCII | re.IGNORECASE,
)
_HEX: Final = re.compile(
    r"[+-]?0x(?:[0-9a-f]+\.?[0-9a-f]*|\.[0-9a-f]+)p[+-]?[0-9]+", re.ASCII | re.IGNORECASE
)


def parse_int(text: str) -> int:
    """Base 10, 64 bits; the error is Go's."""
    if not _INTEGER.fullmatch(text):
        raise ExpressionError(f"strconv.ParseInt: parsing {quoted(text)}: invalid syntax")
    if len(text.lstrip("+-0")) > 19 or not -(2**63) <= int(text) < 2**63:
        raise ExpressionError(f"strconv.ParseInt: parsing {quoted(text)}: value out of range")
    return int(text)


def parse_float(text: str) -> float:
    """Decimal, hexadecimal with exponent, Inf, NaN, `_` between digits; the error is Go's."""
    digits = _UNDERSCORE.sub("", text)
    if _HEX.fullmatch(digits):
        try:
            return float.fromhex(digits)
        except OverflowError:
            value = math.inf
    elif _DECIMAL.fullmatch(digits):
        value = float(digits)
    else:
        raise ExpressionError(f"strconv.ParseFloat: parsing {quoted(text)}: invalid syntax")
    if math.isinf(value) and "inf" not in text.lower():
        raise ExpressionError(f"strconv.ParseFloat: parsing {quoted(text)}: value out of range")
    return value


def as_int(_: Interpreter, value: Any) -> Int64:
    """Argo's `asInt`."""
    if isinstance(value, str):
        return Int64(parse_int(value))
    if is_number(value):
        return Int64(truncated(value) if isinstance(value, float) else value)
    raise ExpressionError(f"asInt() not supported on {go_type(value)} {_plain(value)}")


def as_float(_: Interpreter, value: Any) -> float:
    """Argo's `asFloat`."""
    if isinstance(value, str):
        return parse_float(value)
    if is_number(value):
        return float(value)
    raise ExpressionError(f"asFloat() not supported on {go_type(value)} {_plain(value)}")


def _plain(value: Any) -> str:
    return {None: "<nil>", True: "true", False: "false"}.get(value, "") if _scalar(value) else ""


def _scalar(value: Any) -> bool:
    return value is None or isinstance(value, bool)


def is_nan(_: Interpreter, value: Any) -> bool:
    """Argo's `isNaN`; floats only."""
    return math.isnan(_float(value))


def is_inf(_: Interpreter, value: Any) -> bool:
    """Argo's `isInf`, of both signs; floats only."""
    return math.isinf(_float(value))


def _float(value: Any) -> float:
    if not isinstance(value, float):
        raise converted(value, "float64")
    return value


def _number(name: str, value: Any) -> Any:
    if not is_number(value):
        raise ExpressionError(f"invalid argument for {name} (type {go_type(value)})")
    return value


def _abs(_: Interpreter, value: Any) -> Any:
    found = _number("abs", value)
    return negated(found) if found < 0 else found


def _rounding(name: str, rule: Callable[[float], float]) -> Builtin:
    def apply(_: Interpreter, value: Any) -> float:
        found = float(_number(name, value))
        return found if not math.isfinite(found) else math.copysign(float(rule(found)), found)

    return apply


def _half_away(value: float) -> float:
    """Halves away from zero."""
    whole = math.trunc(value)
    return whole + math.copysign(1, value) if abs(value - whole) >= 0.5 else float(whole)


def _int(_: Interpreter, value: Any) -> int:
    if isinstance(value, str):
        try:
            return parse_int(value)
        except ExpressionError:
            raise ExpressionError(f"invalid operation: int({value})") from None
    if isinstance(value, Duration):
        return value.nanoseconds
    if not is_number(value) and not isinstance(value, Month | Weekday):
        raise ExpressionError(f"invalid operation: int({go_type(value)})")
    return truncated(value) if isinstance(value, float) else int(value)


def _to_float(_: Interpreter, value: Any) -> float:
    if isinstance(value, str):
        try:
            return parse_float(value)
        except ExpressionError:
            raise ExpressionError(f"invalid operation: float({value})") from None
    if not is_number(value):
        raise ExpressionError(f"invalid operation: float({go_type(value)})")
    return float(value)


def _flat(name: str, run: Interpreter, values: Any) -> Iterator[Any]:
    """Numbers of the arguments and of the lists among them."""
    for value in values:
        run.budget.charge()
        if isinstance(value, bytes):
            yield from (Uint8(byte) for byte in value)
        elif isinstance(value, list):
            yield from _flat(name, run, value)
        else:
            yield _number(name, value)


def _extreme(name: str, operator: str) -> Builtin:
    """The first of the extreme values; a single value of another kind stays as it is."""

    def find(run: Interpreter, *values: Any) -> Any:
        if len(values) == 1 and not isinstance(values[0], list | bytes):
            return values[0]
        best: Any = None
        found = (
            (value,) if isinstance(value, Duration | Typed) else _flat(name, run, (value,))
            for value in values
        )
        for value in chain.from_iterable(found):
            if best is None or binary(operator, best, value, run.budget):
                best = value
        return best

    return find


def _measured(name: str, value: Any) -> float:
    """A number as a float; a duration counts its nanoseconds."""
    if isinstance(value, Duration):
        return float(value.nanoseconds)
    return float(value if isinstance(value, Typed) else _number(name, value))


def _all_measured(name: str, run: Interpreter, values: Any) -> Iterator[float]:
    for value in values:
        run.budget.charge()
        if isinstance(value, list | bytes):
            yield from _all_measured(name, run, value)
        else:
            yield _measured(name, value)


def _total(name: str, run: Interpreter, values: Any) -> tuple[int, float]:
    """How many numbers there are and their sum; lists are added up by themselves first."""
    count, total = 0, 0.0
    for value in values:
        run.budget.charge()
        if isinstance(value, list | bytes):
            inner, part = _total(name, run, value)
            count, total = count + inner, total + part
        else:
            count, total = count + 1, total + _measured(name, value)
    return count, total


def _mean(run: Interpreter, *values: Any) -> float:
    count, total = _total("mean", run, values)
    return total / count if count else 0.0


def _median(run: Interpreter, *values: Any) -> float:
    found = sorted(
        _all_measured("median", run, values),
        key=lambda value: (not math.isnan(value), value),
    )
    if not found:
        return 0.0
    half = len(found) // 2
    return found[half] if len(found) % 2 else (found[half - 1] + found[half]) / 2


def _bits(name: str, apply: Callable[..., int]) -> Builtin:
    def compute(_: Interpreter, *values: Any) -> int:
        for value in values:
            if not is_integer(value):
                raise ExpressionError(
                    f"cannot use {go_type(value)} as argument (type int) to call {name}"
                )
        if "sh" in name and values[1] < 0:
            raise ExpressionError(
                f"invalid operation: negative shift count {int(values[1])} (type int)"
            )
        return wrapped(apply(*(int(value) for value in values)))

    return compute


BUILTINS: Final[Mapping[str, Builtin]] = {
    "abs": _abs,
    "ceil": _rounding("ceil", math.ceil),
    "floor": _rounding("floor", math.floor),
    "round": _rounding("round", _half_away),
    "int": _int,
    "float": _to_float,
    "min": _extreme("min", ">"),
    "max": _extreme("max", "<"),
    "mean": _mean,
    "median": _median,
    "bitand": _bits("bitand", lambda left, right: left & right),
    "bitor": _bits("bitor", lambda left, right: left | right),
    "bitxor": _bits("bitxor", lambda left, right: left ^ right),
    "bitnand": _bits("bitnand", lambda left, right: left & ~right),
    "bitnot": _bits("bitnot", lambda value: ~value),
    "bitshl": _bits("bitshl", lambda value, count: value << count if count < 64 else 0),
    "bitshr": _bits("bitshr", lambda value, count: value >> min(count, 64)),
    "bitushr": _bits("bitushr", lambda value, count: (value % 2**64) >> min(count, 64)),
}
