"""Builtins over strings, JSON and base64."""

import base64
import binascii
import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from agent.analysis.expression.interpreter import Function, Interpreter
from agent.analysis.expression.nodes import ExpressionError
from agent.analysis.expression.values import MAX_SIZE, Budget, nanoseconds, shown, type_name


def _str(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ExpressionError(f"invalid argument for {name} (type {type_name(value)})")
    return value


def _int(name: str, value: Any) -> int:
    if type(value) is not int:
        raise ExpressionError(f"invalid argument for {name} (type {type_name(value)})")
    return value


def _type(_: Interpreter, value: Any) -> str:
    names = {bool: "bool", int: "int", float: "float", str: "string", list: "array", dict: "map"}
    names |= {datetime: "time.Time", timedelta: "time.Duration"}
    return "nil" if value is None else names.get(type(value), "func")


def _trim(_: Interpreter, text: Any, characters: Any = None) -> str:
    return _str("trim", text).strip(None if characters is None else _str("trim", characters))


def _split(_: Interpreter, text: Any, by: Any, count: Any = -1) -> list[str]:
    return _pieces("split", text, by, count)


def _split_after(_: Interpreter, text: Any, by: Any, count: Any = -1) -> list[str]:
    pieces = _pieces("splitAfter", text, by, count)
    return [*(f"{piece}{by}" for piece in pieces[:-1]), *pieces[-1:]]


def _pieces(name: str, text: Any, by: Any, count: Any) -> list[str]:
    """As Go's SplitN: count pieces at most, all when it is negative; an empty separator splits letters."""
    source, separator, limit = _str(name, text), _str(name, by), _int(name, count)
    if limit == 0:
        return []
    if not separator:
        letters = list(source)
        return letters if limit < 0 else [*letters[: limit - 1], "".join(letters[limit - 1 :])]
    return source.split(separator, limit - 1 if limit > 0 else -1)


def _replace(_: Interpreter, text: Any, old: Any, new: Any, count: Any = -1) -> str:
    source, wanted, other = (_str("replace", value) for value in (text, old, new))
    if (len(source) + 1) * len(other) > MAX_SIZE * 10:
        raise ExpressionError("memory budget exceeded")
    return source.replace(wanted, other, _int("replace", count))


def _repeat(_: Interpreter, text: Any, count: Any) -> str:
    source, times = _str("repeat", text), _int("repeat", count)
    if times < 0:
        raise ExpressionError("invalid argument for repeat (expected positive integer)")
    if len(source) * times > MAX_SIZE:
        raise ExpressionError("memory budget exceeded")
    return source * times


def _join(_: Interpreter, items: Any, glue: Any = "") -> str:
    if not isinstance(items, list):
        raise ExpressionError(f"invalid argument for join (type {type_name(items)})")
    return _str("join", glue).join(_str("join", item) for item in items)


def _to_json(run: Interpreter, value: Any) -> str:
    return _json(value, run.budget, "")


def _json(value: Any, budget: Budget, indent: str) -> str:
    """JSON as Go indents it, two spaces a level."""
    budget.charge()
    deeper = indent + "  "
    if isinstance(value, list | dict) and value:
        if isinstance(value, list):
            items = [_json(item, budget, deeper) for item in value]
        else:
            items = [
                f"{msgspec.json.encode(str(key)).decode()}: {_json(value[key], budget, deeper)}"
                for key in sorted(value, key=str)
            ]
        begin, end = "[]" if isinstance(value, list) else "{}"
        return f"{begin}\n{deeper}" + f",\n{deeper}".join(items) + f"\n{indent}{end}"
    if isinstance(value, float):
        return _json_float(value)
    if isinstance(value, datetime):
        return f'"{value:%Y-%m-%dT%H:%M:%SZ}"'
    if isinstance(value, timedelta):
        return str(nanoseconds(value))
    if callable(value):
        raise ExpressionError("json: unsupported type: func")
    return msgspec.json.encode(value).decode()


def _json_float(value: float) -> str:
    if not math.isfinite(value):
        raise ExpressionError(f"json: unsupported value: {shown(value, Budget())}")
    if value.is_integer() and abs(value) < 1e21:
        return str(int(value))
    return repr(value)


def _from_json(_: Interpreter, text: Any) -> Any:
    try:
        return with_floats(msgspec.json.decode(_str("fromJSON", text)))
    except msgspec.DecodeError as error:
        raise ExpressionError(f"fromJSON: {error}") from error


def with_floats(value: Any) -> Any:
    """The value as decoded JSON has it, with floats only."""
    if isinstance(value, list):
        return [with_floats(item) for item in value]
    if isinstance(value, dict):
        return {key: with_floats(item) for key, item in value.items()}
    return float(value) if type(value) is int else value


def _from_base64(_: Interpreter, text: Any) -> str:
    try:
        return base64.b64decode(_str("fromBase64", text), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise ExpressionError(f"illegal base64 data: {error}") from error


BUILTINS: Final[Mapping[str, Function]] = {
    "type": _type,
    "string": lambda run, value: shown(value, run.budget),
    "trim": _trim,
    "trimPrefix": lambda _, text, part=" ": _str("trimPrefix", text).removeprefix(part),
    "trimSuffix": lambda _, text, part=" ": _str("trimSuffix", text).removesuffix(part),
    "upper": lambda _, text: _str("upper", text).upper(),
    "lower": lambda _, text: _str("lower", text).lower(),
    "split": _split,
    "splitAfter": _split_after,
    "replace": _replace,
    "repeat": _repeat,
    "join": _join,
    "indexOf": lambda _, text, part: _str("indexOf", text).find(_str("indexOf", part)),
    "lastIndexOf": lambda _, text, part: _str("lastIndexOf", text).rfind(_str("lastIndexOf", part)),
    "hasPrefix": lambda _, text, part: _str("hasPrefix", text).startswith(part),
    "hasSuffix": lambda _, text, part: _str("hasSuffix", text).endswith(part),
    "toJSON": _to_json,
    "fromJSON": _from_json,
    "toBase64": lambda _, text: base64.b64encode(_str("toBase64", text).encode()).decode(),
    "fromBase64": _from_base64,
}
