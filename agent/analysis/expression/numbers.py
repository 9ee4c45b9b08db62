"""Builtins over numbers."""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from agent.analysis.expression.interpreter import Function, Interpreter
from agent.analysis.expression.nodes import ExpressionError
from agent.analysis.expression.values import binary, divided, is_number, type_name, wrapped

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
        raise ExpressionError(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    if len(text) > 40 or not -(2**63) <= int(text) < 2**63:
        raise ExpressionError(f'strconv.ParseInt: parsing "{text}": value out of range')
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
        raise ExpressionError(f'strconv.ParseFloat: parsing "{text}": invalid syntax')
    if math.isinf(value) and "inf" not in text.lower():
        raise ExpressionError(f'strconv.ParseFloat: parsing "{text}": value out of range')
    return value


def truncated(value: float) -> int:
    """Toward zero; what fits no integer becomes the smallest, as on the usual processors."""
    if not math.isfinite(value) or abs(value) >= 2.0**63:
        return -(2**63)
    return int(value)


def as_int(value: Any) -> int:
    """Argo's `asInt`."""
    if isinstance(value, str):
        return parse_int(value)
    if is_number(value):
        return truncated(value) if isinstance(value, float) else int(value)
    raise ExpressionError("asInt() not supported on type " + type_name(value))


def as_float(value: Any) -> float:
    """Argo's `asFloat`."""
    if isinstance(value, str):
        return parse_float(value)
    if is_number(value):
        return float(value)
    raise ExpressionError("asFloat() not supported on type " + type_name(value))


def is_nan(value: Any) -> bool:
    """Argo's `isNaN`; floats only."""
    return math.isnan(_float("isNaN", value))


def is_inf(value: Any) -> bool:
    """Argo's `isInf`, of both signs; floats only."""
    return math.isinf(_float("isInf", value))


def _float(name: str, value: Any) -> float:
    if not isinstance(value, float):
        raise ExpressionError(
            f"cannot use {type_name(value)} as argument (type float64) to call {name}"
        )
    return value


def _number(name: str, value: Any) -> Any:
    if not is_number(value):
        raise ExpressionError(f"invalid argument for {name} (type {type_name(value)})")
    return value


def _abs(_: Interpreter, value: Any) -> Any:
    found = _number("abs", value)
    return wrapped(abs(found)) if isinstance(found, int) else abs(found)


def _rounding(name: str, rule: Callable[[float], float]) -> Function:
    def apply(_: Interpreter, value: Any) -> float:
        found = float(_number(name, value))
        return found if not math.isfinite(found) else float(rule(found))

    return apply


def _half_away(value: float) -> float:
    """Halves away from zero."""
    whole = math.trunc(value)
    return whole + math.copysign(1, value) if abs(value - whole) >= 0.5 else float(whole)


def _int(_: Interpreter, value: Any) -> int:
    if isinstance(value, str):
        if not _INTEGER.fullmatch(value) or len(value) > 40:
            raise ExpressionError("invalid operation: int(" + value + ")")
        return wrapped(int(value))
    found = _number("int", value)
    return truncated(found) if isinstance(found, float) else int(found)


def _to_float(_: Interpreter, value: Any) -> float:
    if isinstance(value, str):
        try:
            return parse_float(value)
        except ExpressionError:
            raise ExpressionError(f"invalid operation: float({value})") from None
    return float(_number("float", value))


def _flat(name: str, run: Interpreter, values: tuple[Any, ...]) -> Iterator[Any]:
    """Numbers of the arguments and of the lists among them."""
    for value in values:
        run.budget.charge()
        if isinstance(value, list):
            yield from _flat(name, run, tuple(value))
        else:
            yield _number(name, value)


def _extreme(name: str, operator: str) -> Function:
    def find(run: Interpreter, *values: Any) -> Any:
        if not values:
            raise ExpressionError(f"not enough arguments to call {name}")
        best: Any = None
        for value in _flat(name, run, values):
            if best is None or binary(operator, value, best, run.budget):
                best = value
        return best

    return find


def _mean(run: Interpreter, *values: Any) -> Any:
    found = [float(value) for value in _flat("mean", run, values)]
    return divided(sum(found), float(len(found))) if found else 0


def _median(run: Interpreter, *values: Any) -> Any:
    found = sorted(float(value) for value in _flat("median", run, values))
    if not found:
        return 0
    half = len(found) // 2
    return found[half] if len(found) % 2 else (found[half - 1] + found[half]) / 2


def _bits(name: str, apply: Callable[..., int]) -> Function:
    def compute(_: Interpreter, *values: Any) -> int:
        for value in values:
            if type(value) is not int:
                raise ExpressionError(
                    f"cannot use {type_name(value)} as argument (type int) to call {name}"
                )
        if "sh" in name and len(values) == 2 and values[1] < 0:
            raise ExpressionError(f"invalid operation: negative shift count {values[1]}")
        return wrapped(apply(*values))

    return compute


def _left(value: int, count: int) -> int:
    return value << count if count < 64 else 0


BUILTINS: Final[Mapping[str, Function]] = {
    "abs": _abs,
    "ceil": _rounding("ceil", math.ceil),
    "floor": _rounding("floor", math.floor),
    "round": _rounding("round", _half_away),
    "int": _int,
    "float": _to_float,
    "min": _extreme("min", "<"),
    "max": _extreme("max", ">"),
    "mean": _mean,
    "median": _median,
    "bitand": _bits("bitand", lambda left, right: left & right),
    "bitor": _bits("bitor", lambda left, right: left | right),
    "bitxor": _bits("bitxor", lambda left, right: left ^ right),
    "bitnand": _bits("bitnand", lambda left, right: left & ~right),
    "bitnot": _bits("bitnot", lambda value: ~value),
    "bitshl": _bits("bitshl", _left),
    "bitshr": _bits("bitshr", lambda value, count: value >> min(count, 64)),
    "bitushr": _bits("bitushr", lambda value, count: (value % 2**64) >> min(count, 64)),
}
