"""Times as texts: Go's layouts, such as `2006-01-02T15:04:05Z07:00`."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Final

from agent.analysis.expression.formats import MONTHS, WEEKDAYS
from agent.analysis.expression.nodes import ExpressionError

LAYOUTS: Final = (
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


def parsed(layout: str, text: str, place: tzinfo) -> datetime:
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


def formatted(value: datetime, layout: str) -> str:
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
