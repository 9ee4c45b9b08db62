"""Operators on values, and the budget of an evaluation."""

import math
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from agent.analysis.expression.kinds import (
    ANY,
    Duration,
    Function,
    Slice,
    Table,
    Uint8,
    as_bytes,
    as_text,
    go_type,
    is_integer,
    is_list,
    is_nil,
    is_number,
    joined,
    readable,
    wrapped,
)
from agent.analysis.expression.nodes import ExpressionError
from agent.analysis.missing import EMPTY, NAN
from agent.api.regex import BadPattern, compile_pattern

MAX_STEPS: Final = 200_000
MAX_SIZE: Final = 1_000_000
"""Longest text or list that an expression may make."""
_PER_STEP: Final = 64
"""Characters or items that are read or made in about the time of one step."""


class Budget:
    """Counts the work of one evaluation, so that no expression can hold the process up."""

    def __init__(self) -> None:
        self._left = MAX_STEPS
        self._made = 0
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
        if value is None or (isinstance(value, list) and not value):
            self.met.add(EMPTY)
        return value

    def charge_reading(self, *values: Any) -> None:
        """Long texts and lists cost more than short ones."""
        sizes = (len(value) for value in values if isinstance(value, str | list | bytes))
        self.charge(sum(sizes) // _PER_STEP)

    def made(self, size: int) -> None:
        """Counts items that were made, over the whole evaluation."""
        self._made += size
        if self._made >= MAX_SIZE:
            raise ExpressionError("memory budget exceeded")

    def sized(self, value: Any) -> Any:
        """The value, if it is not too large."""
        if isinstance(value, str | list | dict):
            self.charge(len(value) // _PER_STEP)
            if len(value) > MAX_SIZE:
                raise ExpressionError("memory budget exceeded")
        return value


def equal(left: Any, right: Any, budget: Budget) -> bool:
    """As the operator: numbers by value, lists of any with others item by item, all else strictly."""
    budget.charge()
    if is_number(left) and is_number(right):
        budget.compared(left, right)
        if isinstance(left, float) or isinstance(right, float):
            return float(left) == float(right)
        return int(left) == int(right)
    if _item_by_item(left, right):
        return len(left) == len(right) and all(
            equal(one, other, budget) for one, other in zip(left, right, strict=True)
        )
    if isinstance(left, datetime) and isinstance(right, datetime):
        return between(left, right).nanoseconds == 0
    if is_nil(left) and is_nil(right):
        return True
    return same(left, right, budget)


def _item_by_item(left: Any, right: Any) -> bool:
    kinds = {_plain_list(left), _plain_list(right)}
    return "" not in kinds and (ANY in kinds or len(kinds) == 1)


def _plain_list(value: Any) -> str:
    """The item type of a list of any or of scalars; "" for everything else."""
    if type(value) is list:
        return ANY
    known = isinstance(value, Slice) and value.element in (ANY, "int", "float64", "string")
    return value.element if known else ""


def same(left: Any, right: Any, budget: Budget) -> bool:
    """Deep equality of values and types."""
    budget.charge()
    if go_type(left) != go_type(right) or isinstance(left, Function):
        return False
    if isinstance(left, float):
        budget.compared(left, right)
    if left is right and not isinstance(left, float):
        return True
    if isinstance(left, list):
        return (
            len(left) == len(right)
            and is_nil(left) == is_nil(right)
            and all(same(one, other, budget) for one, other in zip(left, right, strict=True))
        )
    if isinstance(left, Table):
        return len(left) == len(right) and all(
            right.has(key) and same(value, right.get(key), budget) for key, value in left.pairs()
        )
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(
            same(value, right[key], budget) for key, value in left.items()
        )
    return bool(left == right)


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
    return ExpressionError(f"invalid operation: {go_type(left)} {operator} {go_type(right)}")


def _ordered(operator: str, left: Any, right: Any) -> bool:
    if is_number(left) and is_number(right):
        if isinstance(left, float) or isinstance(right, float):
            left, right = float(left), float(right)
    elif isinstance(left, datetime) and isinstance(right, datetime):
        left, right = left.astimezone(UTC), right.astimezone(UTC)
    elif type(left) is not type(right) or not isinstance(left, str | Duration):
        raise mismatch(operator, left, right)
    if operator == "<":
        return bool(left < right)
    if operator == ">":
        return bool(left > right)
    return bool(left <= right) if operator == "<=" else bool(left >= right)


def contained(item: Any, container: Any, budget: Budget) -> bool:
    if container is None:
        return False
    if is_list(container):
        items = (Uint8(byte) for byte in container) if isinstance(container, bytes) else container
        return any(equal(other, item, budget) for other in items)
    if isinstance(container, dict):
        return ("" if item is None else string_key(item)) in container
    if isinstance(container, Table):
        return container.has(item)
    raise ExpressionError(f'operator "in" not defined on {go_type(container)}')


def string_key(key: Any) -> str:
    """A key of a map of strings."""
    if not isinstance(key, str):
        raise ExpressionError(
            f"reflect.Value.MapIndex: value of type {go_type(key)} is not assignable to type string"
        )
    return key


def _text(operator: str, left: Any, right: Any) -> bool:
    if is_nil(left) or is_nil(right):
        return False
    if operator == "matches" and isinstance(left, bytes):
        left = as_text(left)
    for value in (left, right):
        if not isinstance(value, str):
            raise converted(value, "string")
    if operator == "matches":
        return matches(right, left)
    data, part = as_bytes(left), as_bytes(right)
    if operator == "contains":
        return part in data
    return data.startswith(part) if operator == "startsWith" else data.endswith(part)


def matches(pattern: str, text: str) -> bool:
    try:
        return compile_pattern(pattern).search(readable(text)) is not None
    except BadPattern as error:
        raise ExpressionError(f"error parsing regexp: {error}") from error


def _range(left: Any, right: Any, budget: Budget) -> Slice:
    start, stop = to_int(left), to_int(right)
    size = max(0, stop - start + 1)
    budget.made(size)
    budget.charge(size // _PER_STEP)
    return Slice("int", range(start, stop + 1))


def converted(value: Any, wanted: str) -> ExpressionError:
    """A value is not of the type that is needed."""
    kind = "nil" if value is None else go_type(value)
    return ExpressionError(f"interface conversion: interface {{}} is {kind}, not {wanted}")


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


def _arithmetic(operator: str, left: Any, right: Any) -> Any:
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
