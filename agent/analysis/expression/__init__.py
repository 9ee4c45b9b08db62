"""Conditions of metrics: expr-lang 1.17 with the functions that Argo adds. PURE.

Parsed once and cached; an evaluation is bounded in size, depth and steps, so no condition and no answer
of a provider can hold the process up. Error texts are Argo's up to the cause.
"""

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple

from agent.analysis.expression import numbers, sequences, texts, times
from agent.analysis.expression.checker import Checker
from agent.analysis.expression.interpreter import Builtin, Interpreter
from agent.analysis.expression.kinds import ANY, Function, Slice, go_type
from agent.analysis.expression.natures import BOOL, FLOAT, Nature, nature_of
from agent.analysis.expression.nodes import ExpressionError, Node
from agent.analysis.expression.parser import parse
from agent.analysis.expression.rewriting import rewritten
from agent.analysis.expression.signatures import Signature
from agent.analysis.expression.silence import asked
from agent.errors import Refused

__all__ = [
    "Evaluated",
    "ExpressionError",
    "asks",
    "evaluate",
    "evaluate_condition",
    "evaluate_time",
    "typed",
]

_BUILTINS: Final[Mapping[str, Builtin]] = {
    **sequences.BUILTINS,
    **numbers.BUILTINS,
    **texts.BUILTINS,
    **times.BUILTINS,
}
_FUNCTIONS: Final = frozenset({*_BUILTINS, "now"})
_ITEMS: Final = {
    "floats": "float64",
    "ints": "int",
    "strings": "string",
    "maps": "map[string]interface {}",
}
_ANY: Final = Nature(ANY)
_NUMBER_TEST: Final = Signature((FLOAT,), BOOL)
_ARGOS: Final[Mapping[str, Signature]] = {
    "asInt": Signature((_ANY,), Nature("int64")),
    "asFloat": Signature((_ANY,), FLOAT),
    "isNaN": _NUMBER_TEST,
    "isInf": _NUMBER_TEST,
    "isNil": Signature((_ANY,), BOOL),
    "default": Signature((_ANY, _ANY), _ANY),
}
"""The functions that Argo gives conditions; times have isNaN and isInf only."""


class Evaluated(NamedTuple):
    """Whether a condition holds, and what it met that is no data (missing.EMPTY, missing.NAN)."""

    holds: bool
    met: frozenset[str]


def evaluate_condition(text: str, value: Any, result_type: str, now: datetime | None) -> Evaluated:
    """Whether a condition holds for a result. Raises ExpressionError; arguments are those of `judge`."""
    found, met = evaluate(text, typed(value, result_type), now)
    if not isinstance(found, bool):
        raise ExpressionError(f"expected bool, but got {go_type(found)}")
    return Evaluated(found, met)


def evaluate(text: str, result: Any, now: datetime | None = None) -> tuple[Any, frozenset[str]]:
    """What an expression gives for a typed result (kinds.py), and what it met that is no data.

    Raises ExpressionError.
    """
    return _evaluate(text, _environment(result), now)


def typed(value: Any, result_type: str) -> Any:
    """The result as the type that a provider hands over; numbers are floats unless they are ints."""
    if result_type not in ("int", "ints"):
        value = texts.with_floats(value)
    known = isinstance(value, list) and result_type in _ITEMS
    return Slice(_ITEMS[result_type], value) if known else value


@lru_cache(maxsize=1024)
def asks(text: str) -> frozenset[str]:
    """What a condition asks for by itself, of missing.EMPTY and missing.NAN; nothing if it cannot be read."""
    try:
        return asked(parse(text, _FUNCTIONS)) if text else frozenset()
    except (ExpressionError, RecursionError):
        return frozenset()


def evaluate_time(text: str, now: datetime) -> datetime:
    """The time that an expression such as `now() - duration("10m")` means. Raises Refused."""
    environment = {
        "isNaN": Function("isNaN", 1, numbers.is_nan),
        "isInf": Function("isInf", 1, numbers.is_inf),
    }
    try:
        found, _ = _evaluate(text, environment, now)
    except ExpressionError as error:
        raise Refused(str(error)) from error
    if not isinstance(found, datetime):
        raise Refused(f"expected time.Time, but got {go_type(found)}")
    return found


def _environment(value: Any) -> dict[str, Any]:
    """`isNil` and `default` look at the whole result whatever they are given, as Argo's do."""

    def is_nil(_: Interpreter, _given: Any) -> bool:
        return value is None

    def default(_: Interpreter, _given: Any, otherwise: Any) -> Any:
        return otherwise if value is None else value

    functions: dict[str, Builtin] = {
        "asInt": numbers.as_int,
        "asFloat": numbers.as_float,
        "isNaN": numbers.is_nan,
        "isInf": numbers.is_inf,
        "isNil": is_nil,
        "default": default,
    }
    return {
        "result": value,
        **{
            name: Function(name, len(_ARGOS[name].parameters), call)
            for name, call in functions.items()
        },
    }


@lru_cache(maxsize=1024)
def _prepared(text: str, names: tuple[str, ...], result: Nature) -> Node:
    """The tree as it runs; the same text is parsed, checked and rewritten once for each type of result."""
    tree = parse(text, _FUNCTIONS)
    natures = {"result": result} if "result" in names else {}
    functions = {name: _ARGOS[name] for name in names if name in _ARGOS}
    return rewritten(Checker(natures, functions, _FUNCTIONS).checked(tree))


def _evaluate(
    text: str, environment: Mapping[str, Any], now: datetime | None
) -> tuple[Any, frozenset[str]]:
    try:
        tree = _prepared(text, tuple(environment), nature_of(environment.get("result")))
        builtins = {**_BUILTINS, "now": lambda _, zone=None: _now(now, zone)}
        run = Interpreter(environment, builtins, times.method)
        return run.evaluate(tree), frozenset(run.budget.met)
    except RecursionError:
        raise ExpressionError("expression or result is nested too deeply") from None
    except UnicodeError as error:
        raise ExpressionError(f"a text is not valid Unicode: {error}") from error


def _now(now: datetime | None, zone: Any) -> datetime:
    if now is None:
        raise ExpressionError("now() is not available here")
    return now.astimezone(zone) if zone is not None else now
