"""Arithmetic on numbers, times and durations, as Go has it."""

import math
from datetime import UTC, datetime, timedelta
from typing import Any

from agent.analysis.expression.kinds import (
    Duration,
    Uint8,
    go_type,
    is_integer,
    is_number,
    joined,
    wrapped,
)
from agent.analysis.expression.nodes import ExpressionError


def converted(value: Any, wanted: str) -> ExpressionError:
    """A value is not of the type that is needed."""
    kind = "nil" if value is None else go_type(value)
    return ExpressionError(f"interface conversion: interface {{}} is {kind}, not {wanted}")


def mismatch(operator: str, left: Any, right: Any) -> ExpressionError:
    return ExpressionError(f"invalid operation: {go_type(left)} {operator} {go_type(right)}")


def to_int(value: Any) -> int:
    """An index, a bound or a count; fractions are cut."""
    if not is_number(value):
        raise ExpressionError(f"invalid operation: int({go_type(value)})")
    return truncated(value) if isinstance(value, float) else int(value)


def truncated(value: float) -> int:
    """Toward zero; what fits no integer becomes the smallest, as on the usual processors."""
    if not math.isfinite(value) or abs(value) >= 2.0**63:
        return -(2**63)
    return int(value)


def arithmetic(operator: str, left: Any, right: Any) -> Any:
    if operator == "**":
        return power(_to_float(left), _to_float(right))
    if is_number(left) and is_number(right):
        return _numeric(operator, left, right)
    if operator == "+" and isinstance(left, str) and isinstance(right, str):
        return joined(left, right)
    try:
        return _temporal(operator, left, right)
    except OverflowError:
        raise ExpressionError(f"time out of range in operation {operator}") from None


def _to_float(value: Any) -> float:
    if not is_number(value):
        raise ExpressionError(f"invalid operation: float({go_type(value)})")
    return float(value)


def _temporal(operator: str, left: Any, right: Any) -> datetime | Duration | float:
    """Times and durations; a duration times an integer stays one, times a float becomes one of those."""
    match operator, left, right:
        case "+", datetime(), Duration():
            return shifted(left, right)
        case "+", Duration(), datetime():
            return shifted(right, left)
        case "-", datetime(), datetime():
            return between(left, right)
        case "-", datetime(), Duration():
            return shifted(left, Duration(-right.nanoseconds))
        case "+", Duration(), Duration():
            return Duration(wrapped(left.nanoseconds + right.nanoseconds))
        case "-", Duration(), Duration():
            return Duration(wrapped(left.nanoseconds - right.nanoseconds))
        case "*", Duration() | float() | int(), Duration() | float() | int():
            factors = [
                factor.nanoseconds if isinstance(factor, Duration) else factor
                for factor in (left, right)
                if isinstance(factor, Duration) or is_number(factor)
            ]
            if len(factors) == 2 and any(isinstance(factor, float) for factor in factors):
                return float(factors[0]) * float(factors[1])
            if len(factors) == 2:
                return Duration(wrapped(int(factors[0]) * int(factors[1])))
    raise mismatch(operator, left, right)


def shifted(value: datetime, by: Duration) -> datetime:
    """The time so much later, in the same zone; times are kept to the microsecond."""
    moved = value.astimezone(UTC) + timedelta(microseconds=by.nanoseconds // 1000)
    return moved.astimezone(value.tzinfo)


def between(later: datetime, earlier: datetime) -> Duration:
    passed = later.astimezone(UTC) - earlier.astimezone(UTC)
    return Duration(passed // timedelta(microseconds=1) * 1000)


def _numeric(operator: str, left: Any, right: Any) -> int | float:
    if operator == "/":
        return divided(float(left), float(right))
    integers = is_integer(left) and is_integer(right)
    if operator == "%":
        if not integers:
            raise mismatch(operator, left, right)
        if right == 0:
            raise ExpressionError("runtime error: integer divide by zero")
        rest = abs(left) % abs(right)
        return int(-rest if left < 0 else rest)
    one, other = (int(left), int(right)) if integers else (float(left), float(right))
    value = one + other if operator == "+" else one - other if operator == "-" else one * other
    return wrapped(value) if isinstance(value, int) else value


def negated(value: Any) -> Any:
    if not is_number(value):
        raise ExpressionError(f"invalid operation: - {go_type(value)}")
    if isinstance(value, float):
        return -value
    return Uint8(-value % 256) if isinstance(value, Uint8) else type(value)(wrapped(-value))


def divided(left: float, right: float) -> float:
    """Division as IEEE 754 has it: by zero gives an infinity, 0/0 NaN."""
    if right != 0:
        return left / right
    if left == 0 or math.isnan(left):
        return math.nan
    return math.copysign(math.inf, left) * math.copysign(1.0, right)


def power(base: float, exponent: float) -> float:
    """Go's power: repeated squaring of the mantissa, so whole exponents give its digits to the last."""
    if not math.isfinite(base) or not math.isfinite(exponent) or base == 0 or exponent == 0:
        return _special_power(base, exponent)
    if abs(exponent) == 0.5:
        root = math.sqrt(base) if base > 0 else math.nan
        return root if exponent > 0 else 1 / root
    rest, whole = math.modf(abs(exponent))
    if rest and base < 0:
        return math.nan
    if whole >= 2.0**63:
        if abs(base) == 1:
            return 1.0
        return 0.0 if (abs(base) < 1) == (exponent > 0) else math.inf
    if rest > 0.5:
        rest, whole = rest - 1, whole + 1
    mantissa = math.exp(rest * math.log(base)) if rest else 1.0
    scale = 0
    factor, shift = math.frexp(base)
    count = int(whole)
    while count:
        if abs(shift) > 1 << 12:
            scale += shift
            break
        if count & 1:
            mantissa, scale = mantissa * factor, scale + shift
        factor, shift = factor * factor, shift * 2
        if factor < 0.5:
            factor, shift = factor * 2, shift - 1
        count >>= 1
    if exponent < 0:
        mantissa, scale = 1 / mantissa, -scale
    try:
        return math.ldexp(mantissa, scale)
    except OverflowError:
        return math.copysign(math.inf, mantissa)


def _special_power(left: float, right: float) -> float:
    """Powers of and by zero, infinities and NaN."""
    try:
        return math.pow(left, right)
    except ValueError:
        # Zero with a negative power.
        return math.copysign(math.inf, left) if right % 2 == 1 else math.inf
