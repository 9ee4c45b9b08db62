"""Values as texts: `string(…)` as Go prints them, and `toJSON(…)` as Go encodes them."""

import base64
import math
import re
from datetime import datetime, tzinfo
from typing import Any, Final

import msgspec

from agent.analysis.expression.kinds import (
    Duration,
    Function,
    Month,
    Table,
    Weekday,
    as_bytes,
    go_type,
    is_nil,
)
from agent.analysis.expression.nodes import ExpressionError
from agent.analysis.expression.values import Budget
from agent.api.durations import format_go_duration

_NO_UTF8: Final = re.compile("[\ud800-\udfff]")
MONTHS: Final = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
WEEKDAYS: Final = (
    "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday",
)  # fmt: skip
_ESCAPED: Final = {
    "<": "\\u003c",
    ">": "\\u003e",
    "&": "\\u0026",
    "\u2028": "\\u2028",
    "\u2029": "\\u2029",
}


def float_text(value: float, exponent_from: int = 6) -> str:
    """The shortest digits that give the float back, with an exponent below 1e-04 and from 1e+06."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if value == 0:
        return "-0" if math.copysign(1.0, value) < 0 else "0"
    sign, digits, point = _parts(value)
    power = point - 1
    if power < -4 or power >= exponent_from:
        fraction = f".{digits[1:]}" if len(digits) > 1 else ""
        return f"{sign}{digits[0]}{fraction}e{power:+03d}"
    return sign + _plain(digits, point)


def _parts(value: float) -> tuple[str, str, int]:
    """Sign, digits without zeros around them, and where the point stands among them."""
    mantissa, _, exponent = f"{value!r}".partition("e")
    whole, _, rest = mantissa.lstrip("-").partition(".")
    digits, point = whole + rest, len(whole) + int(exponent or 0)
    lead = len(digits) - len(digits.lstrip("0"))
    return "-" if value < 0 else "", digits.strip("0"), point - lead


def _plain(digits: str, point: int) -> str:
    if point <= 0:
        return f"0.{'0' * -point}{digits}"
    whole = digits[:point].ljust(point, "0")
    return f"{whole}.{digits[point:]}" if len(digits) > point else whole


def shown(value: Any, budget: Budget) -> str:
    """The value as `string(…)` gives it."""
    budget.charge()
    match value:
        case str():
            return value
        case None:
            return "<nil>"
        case bool():
            return "true" if value else "false"
        case float():
            return float_text(value)
        case Duration():
            return format_go_duration(value.nanoseconds)
        case datetime():
            return _time(value)
        case bytes():
            return "[" + " ".join(str(byte) for byte in value) + "]"
        case list():
            return "[" + " ".join(shown(item, budget) for item in value) + "]"
        case dict():
            pairs = (f"{key}:{shown(value[key], budget)}" for key in sorted(value, key=as_bytes))
            return "map[" + " ".join(pairs) + "]"
        case Table():
            found = sorted(value.pairs(), key=lambda pair: _order(pair[0]))
            return (
                "map[" + " ".join(f"{shown(k, budget)}:{shown(v, budget)}" for k, v in found) + "]"
            )
        case Month():
            return MONTHS[value - 1]
        case Weekday():
            return WEEKDAYS[value]
        case tzinfo():
            return str(value)
        case Function():
            raise ExpressionError("a function has no text")
    return str(int(value))


def _order(key: Any) -> tuple[int, Any]:
    """The order in which Go prints the keys of a map of anything: nil, numbers, texts, the rest."""
    if key is None:
        return 0, 0
    if isinstance(key, bool):
        return 4, key
    if isinstance(key, float):
        return 2, (not math.isnan(key), key)
    return (1, key) if isinstance(key, int) else (3, str(key))


def _time(value: datetime) -> str:
    fraction = f".{value.microsecond:06d}".rstrip("0") if value.microsecond else ""
    offset = f"{value:%z}"[:5]
    name = str(value.tzname() or "UTC")
    zone = offset if name.startswith(("UTC+", "UTC-")) else name
    return f"{value.year:04d}-{value:%m-%d %H:%M:%S}{fraction} {offset} {zone}"


def rfc3339(value: datetime) -> str:
    fraction = f".{value.microsecond:06d}".rstrip("0") if value.microsecond else ""
    offset = f"{value:%z}"
    zone = "Z" if offset == "+0000" else f"{offset[:3]}:{offset[3:5]}"
    return f"{value.year:04d}-{value:%m-%dT%H:%M:%S}{fraction}{zone}"


def json_text(value: Any, budget: Budget, indent: str = "") -> str:
    """JSON as Go indents it, two spaces a level."""
    budget.charge()
    deeper = indent + "  "
    match value:
        case Table() | Function():
            raise ExpressionError(f"json: unsupported type: {go_type(value)}")
        case bytes():
            return f'"{base64.b64encode(value).decode()}"'
        case list():
            if is_nil(value):
                return "null"
            items = [json_text(item, budget, deeper) for item in value]
            return _bracketed("[]", items, indent)
        case dict():
            items = [
                f"{_json_string(key)}: {json_text(value[key], budget, deeper)}"
                for key in sorted(value, key=as_bytes)
            ]
            return _bracketed("{}", items, indent)
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case float():
            return _json_float(value)
        case str():
            return _json_string(value)
        case datetime():
            return f'"{rfc3339(value)}"'
        case Duration():
            return str(value.nanoseconds)
        case tzinfo():
            return "{}"
    return str(int(value))


def _bracketed(brackets: str, items: list[str], indent: str) -> str:
    if not items:
        return brackets
    begin, end = brackets[0], brackets[1]
    deeper = f"\n{indent}  "
    return f"{begin}{deeper}{f',{deeper}'.join(items)}\n{indent}{end}"


def _json_string(text: str) -> str:
    """The text in quotes; what is no UTF-8 is written as an escaped replacement character."""
    pieces = []
    for piece in _NO_UTF8.split(text):
        encoded = msgspec.json.encode(piece).decode()[1:-1]
        pieces.append("".join(_ESCAPED.get(char, char) for char in encoded))
    return '"' + "\\ufffd".join(pieces) + '"'


def _json_float(value: float) -> str:
    if not math.isfinite(value):
        raise ExpressionError(f"json: unsupported value: {float_text(value)}")
    if value == 0:
        return "-0" if math.copysign(1.0, value) < 0 else "0"
    sign, digits, point = _parts(value)
    if 1e-6 <= abs(value) < 1e21:
        return sign + _plain(digits, point)
    fraction = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{fraction}e{point - 1:+d}"
