"""Durations as Go writes them (`1h30m`, `500ms`), and the pauses that are written with them. PURE.

The grammar, the limits and the words of the errors are those of Go's time.ParseDuration, because users
meet them in messages.
"""

import re
from typing import Final

from agent.api.rollout import Pause

NANOSECONDS: Final = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,  # U+00B5, micro sign
    "μs": 1_000,  # U+03BC, the Greek letter
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60 * 1_000_000_000,
    "h": 3600 * 1_000_000_000,
}
SECOND: Final = NANOSECONDS["s"]
REFUSED: Final = -1
"""What `pause_seconds` says of a duration that is none."""

_MAX: Final = 2**63
_PART: Final = re.compile(r"([0-9]*)(?:(\.)([0-9]*))?([^0-9.]*)", re.ASCII)
_INTEGER: Final = re.compile(r"[+-]?[0-9]+", re.ASCII)


def parse_go_duration(text: str) -> int:
    """Nanoseconds of a Go duration such as `-1.5h`, `90s`, `1h15m30.918s`; `0` needs no unit.

    Raises ValueError with Go's message for anything else, also for what does not fit into 64 bits.
    """
    rest = text[1:] if text[:1] in ("+", "-") else text
    if rest == "0":
        return 0
    if not rest:
        raise _invalid(text)
    total = 0
    while rest:
        match = _PART.match(rest)
        nanoseconds = _part(match, text) if match else 0
        total += nanoseconds
        if total > _MAX:
            raise _invalid(text)
        rest = rest[match.end() :] if match else ""
    if text[0] == "-":
        return -total
    if total == _MAX:
        raise _invalid(text)
    return total


def _part(match: re.Match[str], text: str) -> int:
    """Nanoseconds of one number with its unit."""
    whole, _, fraction, unit = match.groups()
    if not whole and not fraction:
        raise _invalid(text)
    if int(whole or 0) > _MAX:
        raise _invalid(text)
    if not unit:
        raise ValueError(f"time: missing unit in duration {_quote(text)}")
    if unit not in NANOSECONDS:
        raise ValueError(f"time: unknown unit {_quote(unit)} in duration {_quote(text)}")
    scale = NANOSECONDS[unit]
    nanoseconds = int(whole or 0) * scale
    if fraction:
        nanoseconds += _fraction(fraction, scale)
    if nanoseconds > _MAX:
        raise _invalid(text)
    return nanoseconds


def _fraction(digits: str, unit: int) -> int:
    """Nanoseconds of `0.<digits>` units, through floats as in Go so that the last digit agrees.

    Digits beyond 64 bits are cut.
    """
    value, scale = 0, 1.0
    for digit in digits:
        longer = value * 10 + int(digit)
        if longer > _MAX - 1:
            break
        value, scale = longer, scale * 10
    return int(value * (unit / scale))


def _invalid(text: str) -> ValueError:
    return ValueError(f"time: invalid duration {_quote(text)}")


def _quote(text: str) -> str:
    """The text in quotes as Go's time package writes it: bytes outside printable ASCII as \\xNN."""
    parts = []
    for char in text:
        if ord(char) >= 0x80 or char < " ":
            parts += [f"\\x{byte:02x}" for byte in char.encode("utf-8", "surrogatepass")]
        else:
            parts.append("\\" + char if char in '"\\' else char)
    return '"' + "".join(parts) + '"'


def format_go_duration(nanoseconds: int) -> str:
    """Go's text of a duration: `1h30m0s`, `1.5s`, `100ms`, `0s`."""
    if nanoseconds < 0:
        return "-" + format_go_duration(-nanoseconds)
    if nanoseconds == 0:
        return "0s"
    for unit in ("ns", "µs", "ms"):
        if nanoseconds < NANOSECONDS[unit] * 1000:
            return _decimal(nanoseconds, NANOSECONDS[unit]) + unit
    minutes, nanoseconds = divmod(nanoseconds, NANOSECONDS["m"])
    hours, minutes = divmod(minutes, 60)
    text = _decimal(nanoseconds, SECOND) + "s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text


def _decimal(value: int, unit: int) -> str:
    whole, rest = divmod(value, unit)
    if not rest:
        return str(whole)
    return f"{whole}.{str(rest).zfill(len(str(unit)) - 1).rstrip('0')}"


def pause_seconds(pause: Pause) -> int | None:
    """How long a pause step lasts, in whole seconds; None waits for a person.

    `duration` is a number of seconds, digits, or a Go duration, whose fraction of a second is cut.
    Negative is refused by validation; so is what cannot be read or does not fit into 32 bits, which gives
    REFUSED.
    """
    duration = pause.duration
    if duration is None:
        return None
    if isinstance(duration, int):
        return duration
    if _INTEGER.fullmatch(duration) and _fits(int(duration)):
        return int(duration)
    try:
        nanoseconds = parse_go_duration(duration)
    except ValueError:
        return REFUSED
    seconds = abs(nanoseconds) // SECOND
    seconds = -seconds if nanoseconds < 0 else seconds
    return seconds if _fits(seconds) else REFUSED


def _fits(value: int) -> bool:
    return -(2**31) <= value < 2**31
