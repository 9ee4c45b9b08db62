"""Conditions of metrics: expr-lang 1.17 with the functions that Argo adds. PURE.

Parsed once and cached; an evaluation is bounded in size, depth and steps, so no condition and no answer
of a provider can hold the process up. Error texts are Argo's up to the cause.
"""

import math
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, Literal

from agent.analysis.expression import numbers, sequences, texts, times
from agent.analysis.expression.checker import Checker, Type, type_of
from agent.analysis.expression.interpreter import Function, Interpreter
from agent.analysis.expression.nodes import ExpressionError, Node
from agent.analysis.expression.parser import parse
from agent.analysis.expression.values import type_name
from agent.errors import Refused

Compat = Literal["safe", "argo"]

NO_DATA: Final = "metric result is nil or empty: no data returned from the metric provider"
NOT_A_NUMBER: Final = "metric result is NaN: no data returned from the metric provider"
_BUILTINS: Final[Mapping[str, Function]] = {
    **sequences.BUILTINS,
    **numbers.BUILTINS,
    **texts.BUILTINS,
    **times.BUILTINS,
}
_INTEGERS: Final = ("int", "ints")
_ELEMENTS: Final = {"floats": "float64", "ints": "int", "strings": "string", "maps": "map"}
_FUNCTIONS: Final = frozenset({*_BUILTINS, "now"})


def judge(
    value: Any,
    *,
    success: str,
    failure: str,
    result_type: str,
    compat: Compat,
    now: datetime | None = None,
) -> tuple[str, str]:
    """Phase and message of a measurement with this result.

    Args:
        value: JSON-like: None, bool, int, float, str, list or dict.
        success, failure: the conditions, "" when not given.
        result_type: what the provider hands over: json, float, int, floats, ints, strings, maps,
            optional-float. Numbers are floats unless it is one of ints.
        compat: `safe` takes a NaN or no data at all, with only a failure condition, for an error: nothing
            was measured, so nothing speaks for the revision.
        now: what `now()` gives; without it the function is refused.
    """
    if result_type not in _INTEGERS:
        value = texts.with_floats(value)
    held = {}
    for label, text in (("successCondition", success), ("failureCondition", failure)):
        if text:
            try:
                held[label] = _condition(text, value, result_type, now)
            except ExpressionError as error:
                cause = NO_DATA if _is_no_data(value) else str(error)
                return "Error", f'could not evaluate {label} "{text}": {cause}'
    if compat == "safe" and failure and not success and not held["failureCondition"]:
        missing = _missing(value)
        if missing:
            return "Error", f'could not evaluate failureCondition "{failure}": {missing}'
    return _outcome(held.get("successCondition"), held.get("failureCondition")), ""


def _outcome(success: bool | None, failure: bool | None) -> str:
    if failure:
        return "Failed"
    if success is None:
        return "Successful"
    if success:
        return "Successful"
    return "Failed" if failure is None else "Inconclusive"


def evaluate_time(text: str, now: datetime) -> datetime:
    """The time that an expression such as `now() - duration("10m")` means. Raises Refused."""
    try:
        found = _evaluate(text, {}, "unknown", now)
    except ExpressionError as error:
        raise Refused(str(error)) from error
    if not isinstance(found, datetime):
        raise Refused(f"expected time.Time, but got {type_name(found)}")
    return found


def _condition(text: str, value: Any, result_type: str, now: datetime | None) -> bool:
    found = _evaluate(text, _environment(value), _ELEMENTS.get(result_type, "unknown"), now)
    if not isinstance(found, bool):
        raise ExpressionError(f"expected bool, but got {type_name(found)}")
    return found


def _environment(value: Any) -> dict[str, Any]:
    """`isNil` and `default` look at the whole result whatever they are given, as Argo's do."""

    def is_nil(_: Any) -> bool:
        return value is None

    def default(_: Any, otherwise: Any) -> Any:
        return otherwise if value is None else value

    functions: dict[str, Callable[..., Any]] = {
        "asInt": numbers.as_int,
        "asFloat": numbers.as_float,
        "isNaN": numbers.is_nan,
        "isInf": numbers.is_inf,
        "isNil": is_nil,
        "default": default,
    }
    return {"result": value, **functions}


@lru_cache(maxsize=1024)
def _prepared(text: str, types: tuple[tuple[str, Type], ...]) -> Node:
    """The checked tree; the same text is parsed and checked once for each type of the result."""
    tree = parse(text, _FUNCTIONS)
    Checker(dict(types), _FUNCTIONS).check(tree)
    return tree


def _evaluate(text: str, environment: Mapping[str, Any], element: str, now: datetime | None) -> Any:
    types = {
        name: Type("func") if callable(value) else type_of(value)._replace(element=element)
        for name, value in environment.items()
    }
    try:
        tree = _prepared(text, tuple((name, types[name]) for name in environment))
        builtins = {**_BUILTINS, "now": lambda _: _now(now)}
        return Interpreter(environment, builtins, times.method).evaluate(tree)
    except RecursionError:
        raise ExpressionError("expression or result is nested too deeply") from None
    except UnicodeError as error:
        raise ExpressionError(f"a text is not valid Unicode: {error}") from error


def _now(now: datetime | None) -> datetime:
    if now is None:
        raise ExpressionError("now() is not available here")
    return now


def _is_no_data(value: Any) -> bool:
    return value is None or value == []


def _missing(value: Any) -> str:
    """Why a result says nothing: it is empty, or NaN alone or among others; "" when it says something."""
    if _is_no_data(value):
        return NO_DATA
    values = value if isinstance(value, list) else [value]
    return NOT_A_NUMBER if any(isinstance(v, float) and math.isnan(v) for v in values) else ""
