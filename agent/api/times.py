"""Times as Kubernetes writes them: RFC 3339, UTC, whole seconds. Pure: nothing here reads a clock."""

from datetime import UTC, datetime


def parse_time(text: str) -> datetime:
    """An RFC 3339 time as an aware UTC datetime.

    Fractions beyond microseconds (Alertmanager writes nanoseconds) are cut. Raises ValueError.
    """
    head, dot, tail = text.strip().partition(".")
    if dot:
        digits = len(tail) - len(tail.lstrip("0123456789"))
        text = f"{head}.{tail[:digits][:6].ljust(6, '0')}{tail[digits:]}"
    value = datetime.fromisoformat(text)
    if value.tzinfo is None:
        raise ValueError(f"time {text!r} has no time zone")
    try:
        return value.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"time {text!r} is out of range") from error


def format_time(value: datetime) -> str:
    """`2024-05-01T10:00:00Z`, the resolution of times in Kubernetes objects."""
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def format_time_ms(value: datetime) -> str:
    """`2024-05-01T10:00:00.123Z`, for our own annotations and events."""
    value = value.astimezone(UTC)
    return f"{value:%Y-%m-%dT%H:%M:%S}.{value.microsecond // 1000:03d}Z"


def format_time_us(value: datetime) -> str:
    """`2024-05-01T10:00:00.123456Z`, as a Lease wants its times (MicroTime: six digits, no fewer)."""
    value = value.astimezone(UTC)
    return f"{value:%Y-%m-%dT%H:%M:%S}.{value.microsecond:06d}Z"
