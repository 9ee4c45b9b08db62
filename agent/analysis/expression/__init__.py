"""Conditions of metrics: expr-lang 1.17 with the functions that Argo adds. PURE.

Parsed once and cached; an evaluation is bounded in size, depth and steps, so no condition and no answer
of a provider can hold the process up. Error texts are Argo's up to the cause.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple

from agent.analysis.expression import numbers, sequences, texts, times
from agent.analysis.expression.checker import Checker, Type, type_of
from agent.analysis.expression.interpreter import Function, Interpreter
from agent.analysis.expression.nodes import ExpressionError, Node
from agent.analysis.expression.parser import parse
from agent.analysis.expression.silence import asked
from agent.analysis.expression.values import type_name
from agent.errors import Refused

__all__ = ["Evaluated", "ExpressionError", "asks", "evaluate_condition", "evaluate_time"]

_BUILTINS: Final[Mapping[str, Function]] = {
    **sequences.BUILTINS,
    **numbers.BUILTINS,
    **texts.BUILTINS,
    **times.BUILTINS,
}
_INTEGERS: Final = ("int", "ints")
_ELEMENTS: Final = {"floats": "float64", "ints": "int", "strings": "string", "maps": "map"}
_FUNCTIONS: Final = frozenset({*_BUILTINS, "now"})


class Evaluated(NamedTuple):
    """Whether a condition holds, and what it met that is no data (missing.EMPTY, missing.NAN)."""

    holds: bool
    met: frozenset[str]


def evaluate_condition(text: str, value: Any, result_type: str, now: datetime | None) -> Evaluated:
    """Whether a condition holds for a result. Raises ExpressionError; arguments are those of `judge`."""
    if result_type not in _INTEGERS:
        value = texts.with_floats(value)
    found, met = _evaluate(text, _environment(value), _ELEMENTS.get(result_type, "unknown"), now)
    if not isinstance(found, bool):
        raise ExpressionError(f"expected bool, but got {type_name(found)}")
    return Evaluated(found, met)


def asks(text: str) -> frozenset[str]:
    """What a condition asks for by itself, of missing.EMPTY and missing.NAN; nothing if it cannot be read."""
    try:
        return asked(parse(text, _FUNCTIONS)) if text else frozenset()
    except (ExpressionError, RecursionError):
        return frozenset()


def evaluate_time(text: str, now: datetime) -> datetime:
    """The time that an expression such as `now() - duration("10m")` means. Raises Refused."""
    try:
        found, _ = _evaluate(text, {}, "unknown", now)
    except ExpressionError as error:
        raise Refused(str(error)) from error
    if not isinstance(found, datetime):
        raise Refused(f"expected time.Time, but got {type_name(found)}")
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


def _evaluate(
    text: str, environment: Mapping[str, Any], element: str, now: datetime | None
) -> tuple[Any, frozenset[str]]:
    types = {
        name: Type("func") if callable(value) else type_of(value)._replace(element=element)
        for name, value in environment.items()
    }
    try:
        tree = _prepared(text, tuple((name, types[name]) for name in environment))
        builtins = {**_BUILTINS, "now": lambda _: _now(now)}
        run = Interpreter(environment, builtins, times.method)
        return run.evaluate(tree), frozenset(run.budget.met)
    except RecursionError:
        raise ExpressionError("expression or result is nested too deeply") from None
    except UnicodeError as error:
        raise ExpressionError(f"a text is not valid Unicode: {error}") from error


def _now(now: datetime | None) -> datetime:
    if now is None:
        raise ExpressionError("now() is not available here")
    return now
