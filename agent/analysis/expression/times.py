"""Builtins and methods of times and durations. Layouts are Go's; times are kept to the microsecond."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any, Final
from zoneinfo import ZoneInfo

from agent.analysis.expression.formats import MONTHS, WEEKDAYS, shown
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
from agent.analysis.expression.natures import Nature
from agent.analysis.expression.nodes import ExpressionError
from agent.analysis.expression.signatures import METHODS
from agent.analysis.expression.values import Budget, between, converted, shifted, to_int
from agent.api.durations import parse_go_duration

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ZERO: Final = datetime(1, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_LAYOUTS: Final = (
    "2006-01-02",
    "15:04:05",
    "2006-01-02 15:04:05",
    "2006-01-02T15:04:05Z07:00",
    "02 Jan 06 15:04 MST",
    "Monday, 02-Jan-06 15:04:05 MST",
    "Mon, 02 Jan 2006 15:04:05 MST",
)
_NAMES: Final = {
    "January": MONTHS,
    "Jan": tuple(name[:3] for name in MONTHS),
    "Monday": WEEKDAYS,
    "Mon": tuple(name[:3] for name in WEEKDAYS),
}
_PATTERNS: Final = {
    **{part: f"({'|'.join(names)})" for part, names in _NAMES.items()},
    "2006": "([0-9]{4})",
    **dict.fromkeys(("01", "02", "03", "04", "05", "06"), "([0-9]{2})"),
    "15": "([0-9]{2})",
    **dict.fromkeys(("1", "3"), "([0-9]{1,2})"),
    "2": "([0-9]{1,2})",
    "PM": "(AM|PM)",
    "MST": "([A-Z]{3,5})",
    "Z07:00": "(Z|[+-][0-9]{2}:[0-9]{2})",
    "-07:00": "([+-][0-9]{2}:[0-9]{2})",
    "-0700": "([+-][0-9]{4})",
}
_PARTS: Final = re.compile(
    r"[.,]0+(?![0-9])|[.,]9+(?![0-9])|"
    + "|".join(re.escape(part) for part in sorted(_PATTERNS, key=len, reverse=True))
)


def _zone(name: Any) -> tzinfo:
    if not isinstance(name, str):
        raise converted(name, "string")
    if name in ("", "UTC"):
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ExpressionError(f"unknown time zone {name}") from None


def _parsed(layout: str, text: str, place: tzinfo) -> datetime:
    """The time that a text in this layout means. Raises ExpressionError in Go's words."""
    found: dict[str, str] = {}
    pattern, names, position = "", [], 0
    for part in _PARTS.finditer(layout):
        pattern += re.escape(layout[position : part.start()])
        name = part.group()
        if name[0] in ".,":
            pattern += f"[.,]([0-9]{{{len(name) - 1}}})" if name[1] == "0" else "(?:[.,]([0-9]+))?"
            names.append("fraction")
        else:
            # A fraction may follow the seconds also where the layout has none.
            fraction = name == "05" and layout[part.end() : part.end() + 2] not in (
                ".0", ".9", ",0", ",9",
            )  # fmt: skip
            pattern += _PATTERNS[name] + ("(?:[.,]([0-9]+))?" if fraction else "")
            names += [name, "fraction"] if fraction else [name]
        position = part.end()
    match = re.fullmatch(pattern + re.escape(layout[position:]), text, re.IGNORECASE)
    if match is None:
        raise ExpressionError(f'parsing time "{text}" as "{layout}": cannot parse')
    for name, value in zip(names, match.groups(), strict=True):
        found[name] = value or found.get(name, "")
    try:
        return _assembled(found, place)
    except (ValueError, OverflowError):
        raise ExpressionError(f'parsing time "{text}": out of range') from None


def _assembled(found: Mapping[str, str], place: tzinfo) -> datetime:
    """The time of its parts; without a year it is the year 0, which counts as 1 here."""
    year = int(found.get("2006") or 1)
    if "06" in found:
        short = int(found["06"])
        year = short + (1900 if short >= 69 else 2000)
    month = int(found.get("01") or found.get("1") or 1)
    for part in ("January", "Jan"):
        if part in found:
            names = [name.lower() for name in _NAMES[part]]
            month = names.index(found[part].lower()) + 1
    hour = int(found.get("15") or found.get("03") or found.get("3") or 0)
    if "PM" in found:
        if hour > 12:
            raise ValueError("hour out of range")
        hour = hour % 12 + (12 if found["PM"].upper() == "PM" else 0)
    moment = datetime(
        year,
        month,
        int(found.get("02") or found.get("2") or 1),
        hour,
        int(found.get("04") or 0),
        int(found.get("05") or 0),
        int((found.get("fraction") or "0")[:6].ljust(6, "0")),
        tzinfo=place,
    )
    offset = found.get("Z07:00") or found.get("-07:00") or found.get("-0700")
    if offset and offset.upper() == "Z":
        return moment.replace(tzinfo=UTC)
    if offset:
        digits = offset[1:].replace(":", "")
        away = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
        return moment.replace(tzinfo=timezone(-away if offset[0] == "-" else away))
    if found.get("MST"):
        return moment.replace(
            tzinfo=UTC if found["MST"] == "UTC" else timezone(timedelta(0), found["MST"])
        )
    return moment


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
        return _parsed(arguments[1], arguments[0], where)
    for layout in _LAYOUTS:
        try:
            return _parsed(layout, arguments[0], place)
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


def _formatted(value: datetime, layout: str) -> str:
    def written(part: re.Match[str]) -> str:
        name = part.group()
        if name[0] in ".,":
            digits = f"{value.microsecond:06d}".ljust(len(name) - 1, "0")[: len(name) - 1]
            digits = digits.rstrip("0") if name[1] == "9" else digits
            return name[0] + digits if digits else ""
        return _FORMATS[name](value)

    return _PARTS.sub(written, layout)


def _offset(value: datetime, colon: str) -> str:
    text = f"{value:%z}"
    return f"{text[:3]}{colon}{text[3:5]}"


def _zone_name(value: datetime) -> str:
    name = str(value.tzname() or "UTC")
    return _offset(value, "") if name.startswith(("UTC+", "UTC-")) else name


_FORMATS: Final[Mapping[str, Callable[[datetime], str]]] = {
    "2006": lambda value: f"{value.year:04d}",
    "06": lambda value: f"{value.year % 100:02d}",
    "January": lambda value: MONTHS[value.month - 1],
    "Jan": lambda value: MONTHS[value.month - 1][:3],
    "01": lambda value: f"{value.month:02d}",
    "1": lambda value: str(value.month),
    "Monday": lambda value: WEEKDAYS[value.isoweekday() % 7],
    "Mon": lambda value: WEEKDAYS[value.isoweekday() % 7][:3],
    "02": lambda value: f"{value.day:02d}",
    "2": lambda value: str(value.day),
    "15": lambda value: f"{value.hour:02d}",
    "03": lambda value: f"{value.hour % 12 or 12:02d}",
    "3": lambda value: str(value.hour % 12 or 12),
    "04": lambda value: f"{value.minute:02d}",
    "05": lambda value: f"{value.second:02d}",
    "PM": lambda value: "PM" if value.hour >= 12 else "AM",
    "MST": _zone_name,
    "Z07:00": lambda value: "Z" if not value.utcoffset() else _offset(value, ":"),
    "-07:00": lambda value: _offset(value, ":"),
    "-0700": lambda value: _offset(value, ""),
}


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
        "Format": _formatted,
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
