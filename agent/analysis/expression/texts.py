"""Builtins over texts, JSON and base64."""

import base64
import binascii
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

import msgspec

from agent.analysis.expression.arithmetic import converted, to_int
from agent.analysis.expression.formats import json_text, shown
from agent.analysis.expression.interpreter import Builtin, Interpreter
from agent.analysis.expression.kinds import (
    Duration,
    Function,
    Month,
    Nothing,
    Slice,
    Uint8,
    Weekday,
    as_bytes,
    as_text,
    go_type,
    is_integer,
    is_list,
    is_map,
    joined,
    readable,
)
from agent.analysis.expression.nodes import ExpressionError
from agent.analysis.expression.values import MAX_SIZE

_SPACE: Final = "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
_MAX_REPEAT: Final = 1_000_000
_PATHS: Final = ((datetime, "time.Time"), (Duration, "time.Duration"), (Month, "time.Month"), (Weekday, "time.Weekday"))  # fmt: skip


def _str(value: Any) -> str:
    if not isinstance(value, str):
        raise converted(value, "string")
    return value


def _type(_: Interpreter, value: Any) -> str:
    for known, path in _PATHS:
        if isinstance(value, known):
            return path
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "bool"
    if is_integer(value):
        return "uint" if isinstance(value, Uint8) else "int"
    if isinstance(value, float | str):
        return "float" if isinstance(value, float) else "string"
    if is_list(value) or is_map(value):
        return "array" if is_list(value) else "map"
    return "func" if isinstance(value, Function) else "unknown"


def _trim(_: Interpreter, text: Any, characters: Any = _SPACE) -> str:
    source, unwanted = _str(text), _str(characters)
    return source.strip(unwanted) if unwanted else source


def _cut(text: Any, part: Any, cut: Callable[[bytes, bytes], bytes]) -> str:
    return as_text(cut(as_bytes(_str(text)), as_bytes(_str(part))))


def _split(_: Interpreter, text: Any, by: Any, count: Any = -1) -> Slice:
    return _strings(_pieces(text, by, count), count)


def _strings(pieces: list[str], count: Any) -> Slice:
    """No pieces at all were wanted: that is nil."""
    return Slice("string", pieces) if to_int(count) else Nothing("string")


def _split_after(_: Interpreter, text: Any, by: Any, count: Any = -1) -> Slice:
    pieces = _pieces(text, by, count)
    ended = [joined(piece, by) if by else piece for piece in pieces[:-1]]
    return _strings([*ended, *pieces[-1:]], count)


def _pieces(text: Any, by: Any, count: Any) -> list[str]:
    """As Go's SplitN: count pieces at most, all when it is negative; an empty separator splits letters."""
    source, separator, limit = _str(text), _str(by), to_int(count)
    if limit == 0:
        return []
    if not separator:
        letters = list(source)
        whole = limit < 0 or limit >= len(letters)
        return letters if whole else [*letters[: limit - 1], "".join(letters[limit - 1 :])]
    most = limit - 1 if limit > 0 else -1
    return [as_text(piece) for piece in as_bytes(source).split(as_bytes(separator), most)]


def _replace(_: Interpreter, text: Any, old: Any, new: Any, count: Any = -1) -> str:
    source, wanted, other = (_str(value) for value in (text, old, new))
    if (len(source) + 1) * len(other) > MAX_SIZE * 10:
        raise ExpressionError("memory budget exceeded")
    limit = max(-1, min(to_int(count), MAX_SIZE))
    if not wanted:
        # Between characters, not bytes.
        return joined(source.replace(wanted, other, limit))
    return as_text(as_bytes(source).replace(as_bytes(wanted), as_bytes(other), limit))


def _repeat(run: Interpreter, text: Any, count: Any) -> str:
    source, times = _str(text), to_int(count)
    if times < 0:
        raise ExpressionError(
            f"invalid argument for repeat (expected positive integer, got {times})"
        )
    if times > _MAX_REPEAT:
        raise ExpressionError("memory budget exceeded")
    run.budget.made(len(as_bytes(source)) * times)
    return joined(source * times)


def _join(_: Interpreter, items: Any, glue: Any = "") -> str:
    if go_type(items) not in ("[]interface {}", "[]string"):
        raise ExpressionError(f"invalid argument for join (type {go_type(items)})")
    return joined(_str(glue).join(_str(item) for item in items))


def _place(find: Callable[[bytes, bytes], int]) -> Builtin:
    """A place in a text, in bytes."""
    return lambda _, text, part: find(as_bytes(_str(text)), as_bytes(_str(part)))


def _from_json(run: Interpreter, text: Any) -> Any:
    source = _str(text)
    run.budget.charge_reading(source)
    try:
        return with_floats(msgspec.json.decode(as_bytes(source)))
    except msgspec.DecodeError as error:
        raise ExpressionError(f"fromJSON: {error}") from error


def with_floats(value: Any) -> Any:
    """The value as decoded JSON has it, with floats only."""
    if isinstance(value, list):
        found = (with_floats(item) for item in value)
        return Slice(value.element, found) if isinstance(value, Slice) else list(found)
    if isinstance(value, dict):
        return {key: with_floats(item) for key, item in value.items()}
    return float(value) if type(value) is int else value


def _from_base64(_: Interpreter, text: Any) -> str:
    source = _str(text).replace("\n", "").replace("\r", "")
    try:
        return as_text(base64.b64decode(source, validate=True))
    except (binascii.Error, ValueError) as error:
        raise ExpressionError(f"illegal base64 data: {error}") from error


def _upper(_: Interpreter, text: Any) -> str:
    """Letter by letter, so a letter with two for its capital stays."""
    return "".join(u if len(u := char.upper()) == 1 else char for char in readable(_str(text)))


def _lower(_: Interpreter, text: Any) -> str:
    return "".join(char.lower()[0] for char in readable(_str(text)))


BUILTINS: Final[Mapping[str, Builtin]] = {
    "type": _type,
    "string": lambda run, value: shown(value, run.budget),
    "trim": _trim,
    "trimPrefix": lambda _, text, part=" ": _cut(text, part, bytes.removeprefix),
    "trimSuffix": lambda _, text, part=" ": _cut(text, part, bytes.removesuffix),
    "upper": _upper,
    "lower": _lower,
    "split": _split,
    "splitAfter": _split_after,
    "replace": _replace,
    "repeat": _repeat,
    "join": _join,
    "indexOf": _place(lambda text, part: text.find(part)),
    "lastIndexOf": _place(lambda text, part: text.rfind(part)),
    "hasPrefix": lambda _, text, part: as_bytes(_str(text)).startswith(as_bytes(_str(part))),
    "hasSuffix": lambda _, text, part: as_bytes(_str(text)).endswith(as_bytes(_str(part))),
    "toJSON": lambda run, value: json_text(value, run.budget),
    "fromJSON": _from_json,
    "toBase64": lambda _, text: base64.b64encode(as_bytes(_str(text))).decode(),
    "fromBase64": _from_base64,
}
