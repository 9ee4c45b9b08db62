"""Builtins and methods of times and durations. Times are UTC; layouts are Go's."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Final
from zoneinfo import ZoneInfo

from agent.analysis.expression.interpreter import Function, Interpreter
from agent.analysis.expression.nodes import ExpressionError
from agent.analysis.expression.values import Budget, nanoseconds, shown, type_name
from agent.api.durations import parse_go_duration

_LAYOUT: Final = {
    "2006": "%Y",
    "January": "%B",
    "Jan": "%b",
    "Monday": "%A",
    "Mon": "%a",
    "01": "%m",
    "02": "%d",
    "15": "%H",
    "03": "%I",
    "04": "%M",
    "05": "%S",
    "06": "%y",
    "PM": "%p",
    "MST": "%Z",
    "Z07:00": "%z",
    "-07:00": "%z",
    "-0700": "%z",
    ".000000": ".%f",
    ".999999999": ".%f",
}
_LAYOUT_PARTS: Final = re.compile(
    "|".join(re.escape(part) for part in sorted(_LAYOUT, key=len, reverse=True)) + "|%"
)
_LAYOUTS: Final = (
    "2006-01-02",
    "15:04:05",
    "2006-01-02 15:04:05",
    "2006-01-02T15:04:05Z07:00",
    "02 Jan 06 15:04 MST",
    "Monday, 02-Jan-06 15:04:05 MST",
    "Mon, 02 Jan 2006 15:04:05 MST",
)
_UNITS: Final = {"Hours": 3600.0, "Minutes": 60.0, "Seconds": 1.0}
_WHOLE: Final = {"Milliseconds": 1_000_000, "Microseconds": 1000, "Nanoseconds": 1}
_FIELDS: Final[Mapping[str, Callable[[datetime], Any]]] = {
    "Year": lambda time: time.year,
    "Month": lambda time: time.month,
    "Day": lambda time: time.day,
    "Hour": lambda time: time.hour,
    "Minute": lambda time: time.minute,
    "Second": lambda time: time.second,
    "Nanosecond": lambda time: time.microsecond * 1000,
    "YearDay": lambda time: time.timetuple().tm_yday,
    "Weekday": lambda time: time.isoweekday() % 7,
    "Unix": lambda time: int(time.timestamp()),
    "UnixMilli": lambda time: int(time.timestamp() * 1000),
    "UTC": lambda time: time,
}


def _strptime_layout(layout: str) -> str:
    return _LAYOUT_PARTS.sub(lambda found: _LAYOUT.get(found.group(), "%%"), layout)


def _zone(name: Any) -> tzinfo:
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(str(name))
    except (KeyError, ValueError, OSError):
        raise ExpressionError(f"unknown time zone {name}") from None


def _date(_: Interpreter, text: Any, layout: Any = None, zone: Any = "UTC") -> datetime:
    if not isinstance(text, str) or not isinstance(layout, str | None):
        raise ExpressionError(f"invalid argument for date (type {type_name(text)})")
    place = zone if isinstance(zone, tzinfo) else _zone(zone)
    for known in (layout,) if layout is not None else _LAYOUTS:
        try:
            # A layout without a zone gives a time without one; it gets its own in the next line.
            found = datetime.strptime(text, _strptime_layout(known))  # noqa: DTZ007  # see above
            return found.replace(tzinfo=found.tzinfo or place).astimezone(UTC)
        except (ValueError, OverflowError):
            continue
    raise ExpressionError(f"invalid date {text}")


def _duration(_: Interpreter, text: Any) -> timedelta:
    if not isinstance(text, str):
        raise ExpressionError(f"invalid argument for duration (type {type_name(text)})")
    try:
        return timedelta(microseconds=parse_go_duration(text) / 1000)
    except (ValueError, OverflowError) as error:
        raise ExpressionError(str(error)) from error


def method(value: Any, name: str, arguments: list[Any]) -> Any:
    """`value.Name(…)`, which only times and durations have."""
    try:
        if isinstance(value, datetime):
            return _of_time(value, name, *arguments)
        if isinstance(value, timedelta) and not arguments:
            return _of_duration(value, name)
    except (TypeError, AttributeError, OverflowError, ValueError) as error:
        raise ExpressionError(f"invalid call of method {name}: {error}") from error
    raise ExpressionError(f"type {type_name(value)} has no method {name}")


def _of_duration(value: timedelta, name: str) -> Any:
    if name in _UNITS:
        return value.total_seconds() / _UNITS[name]
    if name in _WHOLE:
        return nanoseconds(value) // _WHOLE[name]
    if name == "Abs":
        return abs(value)
    if name != "String":
        raise ExpressionError(f"type time.Duration has no method {name}")
    return shown(value, Budget())


def _of_time(value: datetime, name: str, *arguments: Any) -> Any:
    if name in _FIELDS and not arguments:
        return _FIELDS[name](value)
    if len(arguments) != 1 or name not in (
        "Add",
        "Sub",
        "Before",
        "After",
        "Equal",
        "Format",
        "Truncate",
    ):
        raise ExpressionError(f"type time.Time has no method {name}")
    other = arguments[0]
    if name == "Add":
        return value + other
    if name == "Sub":
        return value - other
    if name == "Format":
        return value.strftime(_strptime_layout(other))
    if name == "Truncate":
        return value - (value - datetime(1, 1, 1, tzinfo=UTC)) % other
    if name == "Equal":
        return value == other
    return value < other if name == "Before" else value > other


BUILTINS: Final[Mapping[str, Function]] = {
    "date": _date,
    "duration": _duration,
    "timezone": lambda _, name: _zone(name),
}
