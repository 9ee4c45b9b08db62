"""Values and operators as the expression language has them: Go's, on plain Python data.

int is a 64-bit integer, float a float64, datetime a time, timedelta a duration; lists and maps are as in JSON.
"""

import math
from datetime import datetime, timedelta
from typing import Any, Final

from agent.analysis.expression.nodes import ExpressionError
from agent.analysis.missing import EMPTY, NAN
from agent.api.durations import format_go_duration
from agent.api.regex import BadPattern, compile_pattern

MAX_STEPS: Final = 200_000
MAX_SIZE: Final = 1_000_000
"""Longest text or list that an expression may make."""
_PER_STEP: Final = 64
"""Characters or items that are read or made in about the time of one step."""
_EXPONENT_FROM: Final = 6


class Budget:
    """Counts the work of one evaluation, so that no expression can hold the process up."""

    def __init__(self) -> None:
        self._left = MAX_STEPS
        self.met: set[str] = set()
        """What is no data and was met on the way: missing.EMPTY, missing.NAN."""

    def charge(self, steps: int = 1) -> None:
        self._left -= steps
        if self._left < 0:
            raise ExpressionError(f"expression takes more than {MAX_STEPS} steps")

    def compared(self, *values: Any) -> None:
        """Remembers that NaN was among what is compared."""
        if any(isinstance(value, float) and math.isnan(value) for value in values):
            self.met.add(NAN)

    def read(self, value: Any) -> Any:
        """The value, which a condition reads from data; remembers that nothing was there."""
        if value is None or value == []:
            self.met.add(EMPTY)
        return value

    def charge_reading(self, *values: Any) -> None:
        """Long texts and lists cost more than short ones."""
        sizes = (len(value) for value in values if isinstance(value, str | list))
        self.charge(sum(sizes) // _PER_STEP)

    def sized(self, value: Any) -> Any:
        """The value, if it is not too large."""
        if isinstance(value, str | list | dict):
            self.charge(len(value) // _PER_STEP)
            if len(value) > MAX_SIZE:
                raise ExpressionError("memory budget exceeded")
        return value


def type_name(value: Any) -> str:
    """The type in Go's words, for messages."""
    names = {bool: "bool", int: "int", float: "float64", str: "string", list: "[]interface {}"}
    names |= {dict: "map[string]interface {}", datetime: "time.Time", timedelta: "time.Duration"}
    return "nil" if value is None else names.get(type(value), "func")


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def wrapped(value: int) -> int:
    """Overflow as in 64-bit integers."""
    return (value + 2**63) % 2**64 - 2**63


def equal(left: Any, right: Any, budget: Budget) -> bool:
    """Deep equality; numbers by value as floats when one is a float."""
    budget.charge()
    if is_number(left) and is_number(right):
        both_int = isinstance(left, int) and isinstance(right, int)
        budget.compared(left, right)
        return bool(left == right if both_int else float(left) == float(right))
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(
            equal(one, other, budget) for one, other in zip(left, right, strict=True)
        )
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(
            equal(left[key], right[key], budget) for key in left
        )
    return type(left) is type(right) and bool(left == right)


def binary(operator: str, left: Any, right: Any, budget: Budget) -> Any:
    """`left operator right` for all operators that need both sides."""
    budget.charge_reading(left, right)
    if operator == "==":
        return equal(left, right, budget)
    if operator == "!=":
        return not equal(left, right, budget)
    if operator in ("<", ">", "<=", ">="):
        budget.compared(left, right)
        return _ordered(operator, left, right)
    if operator == "in":
        return contained(left, right, budget)
    if operator in ("matches", "contains", "startsWith", "endsWith"):
        return _text(operator, left, right)
    if operator == "..":
        return _range(left, right, budget)
    return budget.sized(_arithmetic(operator, left, right))


def mismatch(operator: str, left: Any, right: Any) -> ExpressionError:
    return ExpressionError(
        f"invalid operation: {operator} (mismatched types {type_name(left)} and {type_name(right)})"
    )


def _ordered(operator: str, left: Any, right: Any) -> bool:
    numbers = is_number(left) and is_number(right)
    if not numbers and not (
        type(left) is type(right) and isinstance(left, str | datetime | timedelta)
    ):
        raise mismatch(operator, left, right)
    if numbers and (isinstance(left, float) or isinstance(right, float)):
        left, right = float(left), float(right)
    if operator == "<":
        return bool(left < right)
    if operator == ">":
        return bool(left > right)
    return bool(left <= right) if operator == "<=" else bool(left >= right)


def contained(item: Any, container: Any, budget: Budget) -> bool:
    if container is None:
        return False
    if isinstance(container, list):
        return any(equal(item, other, budget) for other in container)
    if isinstance(container, dict):
        if item is not None and not isinstance(item, str):
            raise ExpressionError(f"cannot use {type_name(item)} as type string in map key")
        return item in container
    raise ExpressionError(f'operator "in" not defined on {type_name(container)}')


def _text(operator: str, left: Any, right: Any) -> bool:
    if operator == "matches" and left is None:
        return False
    if not isinstance(left, str) or not isinstance(right, str):
        raise mismatch(operator, left, right)
    if operator == "contains":
        return right in left
    if operator == "startsWith":
        return left.startswith(right)
    if operator == "endsWith":
        return left.endswith(right)
    try:
        return compile_pattern(right).search(left) is not None
    except BadPattern as error:
        raise ExpressionError(f"error parsing regexp: {error}") from error


def _range(left: Any, right: Any, budget: Budget) -> list[int]:
    if not _both_int(left, right):
        raise mismatch("..", left, right)
    if right - left >= MAX_SIZE:
        raise ExpressionError("memory budget exceeded")
    return list(budget.sized(list(range(left, right + 1))))


def _both_int(left: Any, right: Any) -> bool:
    return type(left) is int and type(right) is int


def _arithmetic(operator: str, left: Any, right: Any) -> Any:
    if is_number(left) and is_number(right):
        return _numeric(operator, left, right)
    if operator == "+" and isinstance(left, str) and isinstance(right, str):
        return left + right
    try:
        return _temporal(operator, left, right)
    except OverflowError:
        raise ExpressionError(f"time out of range in operation {operator}") from None


def _temporal(operator: str, left: Any, right: Any) -> datetime | timedelta:
    """Times and durations; a duration times a number stays one."""
    span = isinstance(left, timedelta), isinstance(right, timedelta)
    if operator == "+" and isinstance(left, datetime) and isinstance(right, timedelta):
        return left + right
    if operator == "+" and isinstance(left, timedelta) and isinstance(right, datetime):
        return right + left
    if operator == "-" and isinstance(left, datetime):
        if isinstance(right, datetime):
            return left - right
        if isinstance(right, timedelta):
            return left - right
    if all(span) and operator in ("+", "-"):
        return left + right if operator == "+" else left - right  # type: ignore[no-any-return]  # both are durations
    if operator == "*" and span == (True, False) and is_number(right):
        return left * right  # type: ignore[no-any-return]  # a duration by a number
    if operator == "*" and span == (False, True) and is_number(left):
        return left * right  # type: ignore[no-any-return]  # a number by a duration
    raise mismatch(operator, left, right)


def _numeric(operator: str, left: Any, right: Any) -> int | float:
    if operator == "/":
        return divided(float(left), float(right))
    if operator == "**":
        return power(float(left), float(right))
    if operator == "%":
        if not _both_int(left, right):
            raise mismatch(operator, left, right)
        if right == 0:
            raise ExpressionError("integer divide by zero")
        rest = abs(left) % abs(right)
        return int(-rest if left < 0 else rest)
    if not _both_int(left, right):
        left, right = float(left), float(right)
    value = left + right if operator == "+" else left - right if operator == "-" else left * right
    return wrapped(value) if isinstance(value, int) else float(value)


def divided(left: float, right: float) -> float:
    """Division as IEEE 754 has it: by zero gives an infinity, 0/0 NaN."""
    if right != 0:
        return left / right
    if left == 0 or math.isnan(left):
        return math.nan
    return math.copysign(math.inf, left) * math.copysign(1.0, right)


def power(left: float, right: float) -> float:
    try:
        return math.pow(left, right)
    except OverflowError:
        return -math.inf if left < 0 and right % 2 == 1 else math.inf
    except ValueError:
        # A negative base with a fraction, or zero with a negative power.
        if left != 0:
            return math.nan
        return math.copysign(math.inf, left) if right % 2 == 1 else math.inf


def float_text(value: float) -> str:
    """A float as Go prints it: the shortest digits, with an exponent from 1e+06 and below 1e-04."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if value == 0:
        return "-0" if math.copysign(1.0, value) < 0 else "0"
    mantissa, _, exponent = f"{value!r}".partition("e")
    digits = mantissa.lstrip("-").replace(".", "")
    point = len(mantissa.lstrip("-").partition(".")[0]) + int(exponent or 0)
    lead = len(digits) - len(digits.lstrip("0"))
    digits, point = digits.strip("0"), point - lead
    sign = "-" if value < 0 else ""
    power_of_ten = point - 1
    if power_of_ten < -4 or power_of_ten >= _EXPONENT_FROM:
        fraction = f".{digits[1:]}" if len(digits) > 1 else ""
        return f"{sign}{digits[0]}{fraction}e{power_of_ten:+03d}"
    if point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    whole = digits[:point].ljust(point, "0")
    return f"{sign}{whole}.{digits[point:]}" if len(digits) > point else f"{sign}{whole}"


def shown(value: Any, budget: Budget) -> str:
    """The value as `string(…)` gives it."""
    budget.charge()
    if isinstance(value, str):
        return value
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return float_text(value)
    if isinstance(value, timedelta):
        return format_go_duration(nanoseconds(value))
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S} +0000 UTC"
    if isinstance(value, list):
        return "[" + " ".join(shown(item, budget) for item in value) + "]"
    if isinstance(value, dict):
        pairs = (f"{key}:{shown(value[key], budget)}" for key in sorted(value, key=str))
        return "map[" + " ".join(pairs) + "]"
    return str(value)


def nanoseconds(value: timedelta) -> int:
    return value // timedelta(microseconds=1) * 1000
