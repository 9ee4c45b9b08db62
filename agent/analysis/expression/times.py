"""Builtins and methods of times and durations. Layouts are Go's; times are kept to the microsecond."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Final
from zoneinfo import ZoneInfo

from agent.analysis.expression.arithmetic import between, converted, shifted, to_int
from agent.analysis.expression.formats import shown
from agent.analysis.expression.interpreter import Builtin, Interpreter
from agent.analysis.expression.kinds import (
    Duration,
    Function,
    Int64,
    Month,
    Weekday,
    go_type,
    wrapped,
)
from agent.analysis.expression.layouts import LAYOUTS, formatted, parsed
from agent.analysis.expression.natures import Nature
from agent.analysis.expression.nodes import ExpressionError
from agent.analysis.expression.signatures import METHODS
from agent.analysis.expression.values import Budget
from agent.api.durations import parse_go_duration

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ZERO: Final = datetime(1, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def _zone(name: Any) -> tzinfo:
    if not isinstance(name, str):
        raise converted(name, "string")
    if name in ("", "UTC"):
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ExpressionError(f"unknown time zone {name}") from None


def _date(_: Interpreter, *arguments: Any) -> datetime:
    place: tzinfo = UTC
    if isinstance(arguments[0], tzinfo):
        place, arguments = arguments[0], arguments[1:]
    if not arguments or len(arguments) > 3:
        raise ExpressionError("invalid number of arguments (expected at least 1, got 0)")
    for value in arguments:
        if not isinstance(value, str):
            raise converted(value, "string")
    if len(arguments) > 1:
        where = _zone(arguments[2]) if len(arguments) > 2 else place
        return parsed(arguments[1], arguments[0], where)
    for layout in LAYOUTS:
        try:
            return parsed(layout, arguments[0], place)
        except ExpressionError:
            continue
    raise ExpressionError(f"invalid date {arguments[0]}")


def _duration(_: Interpreter, text: Any) -> Duration:
    if not isinstance(text, str):
        raise converted(text, "string")
    try:
        return Duration(parse_go_duration(text))
    except ValueError as error:
        raise ExpressionError(str(error)) from error


def _since_epoch(value: datetime, unit: int) -> Int64:
    """Whole units of so many nanoseconds."""
    return Int64((value - _EPOCH) // _MICROSECOND * 1000 // unit)


def _truncated(value: datetime, step: Duration) -> datetime:
    if step.nanoseconds <= 0:
        return value
    return shifted(value, Duration(-((value - _ZERO) // _MICROSECOND * 1000 % step.nanoseconds)))


def _rounded_time(value: datetime, step: Duration) -> datetime:
    """To the nearest multiple, halves later."""
    if step.nanoseconds <= 0:
        return value
    rest = (value - _ZERO) // _MICROSECOND * 1000 % step.nanoseconds
    up = rest * 2 >= step.nanoseconds
    return shifted(value, Duration(step.nanoseconds - rest if up else -rest))


def _added(value: datetime, years: Any, months: Any, days: Any) -> datetime:
    month = value.month - 1 + to_int(months)
    first = value.replace(
        year=value.year + to_int(years) + month // 12, month=month % 12 + 1, day=1
    )
    moved = first + timedelta(days=value.day - 1 + to_int(days))
    # Through UTC: a wall time that a change of the clocks left out becomes one that there was.
    return moved.astimezone(UTC).astimezone(value.tzinfo)


def _compared(value: datetime, other: datetime) -> int:
    away = between(value, other).nanoseconds
    return (away > 0) - (away < 0)


def _rounded(value: Duration, step: Duration) -> Duration:
    """To the nearest multiple, halves away from zero."""
    if step.nanoseconds <= 0:
        return value
    whole = _whole(value, step.nanoseconds)
    rest = abs(value.nanoseconds) % step.nanoseconds
    away = step.nanoseconds if rest * 2 >= step.nanoseconds else 0
    return Duration(wrapped(whole + (-away if value.nanoseconds < 0 else away)))


def _whole(value: Duration, unit: int) -> int:
    """What is left without the part of a unit, toward zero."""
    whole = abs(value.nanoseconds) // unit * unit
    return -whole if value.nanoseconds < 0 else whole


def _of_unit(unit: int) -> Callable[[Duration], float]:
    """As a float, whole units and the rest apart, as in Go, so that the last digit agrees."""

    def count(value: Duration) -> float:
        whole = _whole(value, unit)
        return whole // unit + (value.nanoseconds - whole) / unit if unit else 0.0

    return count


_METHODS: Final[Mapping[str, Mapping[str, Callable[..., Any]]]] = {
    "time.Time": {
        "Year": lambda value: value.year,
        "Month": lambda value: Month(value.month),
        "Day": lambda value: value.day,
        "Hour": lambda value: value.hour,
        "Minute": lambda value: value.minute,
        "Second": lambda value: value.second,
        "Nanosecond": lambda value: value.microsecond * 1000,
        "YearDay": lambda value: value.timetuple().tm_yday,
        "Weekday": lambda value: Weekday(value.isoweekday() % 7),
        "Unix": lambda value: _since_epoch(value, 10**9),
        "UnixMilli": lambda value: _since_epoch(value, 10**6),
        "UnixMicro": lambda value: _since_epoch(value, 10**3),
        "UnixNano": lambda value: _since_epoch(value, 1),
        "Add": shifted,
        "AddDate": _added,
        "After": lambda value, other: between(value, other).nanoseconds > 0,
        "Before": lambda value, other: between(value, other).nanoseconds < 0,
        "Compare": _compared,
        "Equal": lambda value, other: between(value, other).nanoseconds == 0,
        "Format": formatted,
        "In": lambda value, zone: value.astimezone(zone),
        "IsZero": lambda value: value == _ZERO,
        "String": lambda value: shown(value, Budget()),
        "Sub": between,
        "Round": _rounded_time,
        "Truncate": _truncated,
        "UTC": lambda value: value.astimezone(UTC),
    },
    "time.Duration": {
        "Hours": _of_unit(3600 * 10**9),
        "Minutes": _of_unit(60 * 10**9),
        "Seconds": _of_unit(10**9),
        "Milliseconds": lambda value: Int64(_whole(value, 10**6) // 10**6),
        "Microseconds": lambda value: Int64(_whole(value, 10**3) // 10**3),
        "Nanoseconds": lambda value: Int64(value.nanoseconds),
        "Abs": lambda value: Duration(abs(value.nanoseconds)),
        "String": lambda value: shown(value, Budget()),
        "Round": _rounded,
        "Truncate": lambda value, step: (
            Duration(_whole(value, step.nanoseconds)) if step.nanoseconds > 0 else value
        ),
    },
    **{
        name: {"String": lambda value: shown(value, Budget())}
        for name in ("time.Month", "time.Weekday", "*time.Location")
    },
}


def method(value: Any, name: str) -> Function | None:
    """The method of a value by its name; only times, durations and what they are made of have any."""
    found = _METHODS.get(go_type(value), {}).get(name)
    if found is None:
        return None
    wanted = METHODS[go_type(value)][name].parameters

    def call(_: Interpreter, *arguments: Any) -> Any:
        for given, parameter in zip(arguments, wanted, strict=True):
            if not _fits(given, parameter):
                raise ExpressionError(f"reflect: Call using {go_type(given)} as type {parameter}")
        try:
            return found(value, *arguments)
        except (OverflowError, ValueError):
            raise ExpressionError(f"time out of range in {name}") from None

    return Function(name, len(wanted), call)


def _fits(value: Any, parameter: Nature) -> bool:
    return go_type(value) == str(parameter)


BUILTINS: Final[Mapping[str, Builtin]] = {
    "date": _date,
    "duration": _duration,
    "timezone": lambda _, name: _zone(name),
}
