"""Operators on values, and the budget of an evaluation."""

import math
from datetime import UTC, datetime
from typing import Any, Final

from agent.analysis.expression.arithmetic import arithmetic, between, converted, mismatch, to_int
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
    is_list,
    is_nil,
    is_number,
    readable,
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
    return budget.sized(arithmetic(operator, left, right))


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
    if isinstance(container, datetime) and isinstance(item, str):
        return False  # A time has no fields to be seen.
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
