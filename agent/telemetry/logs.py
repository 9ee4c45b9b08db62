"""Structured logs: one event a line on stderr, names dotted, secrets never.

`configure` is called once, by the composition root. Everybody else: `structlog.get_logger(__name__)`.
"""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, Final, Literal, TextIO

import msgspec
import structlog

Format = Literal["json", "console"]

_SECRET_KEY: Final = re.compile(r"token|secret|password|authorization|credential", re.IGNORECASE)
_SECRET_TEXT: Final = (
    (re.compile(r"/bot\d+:[\w-]+"), "/bot<token>"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{6,}"), r"\1 <redacted>"),
    (re.compile(r"(://[^/\s:@]+):[^@\s/]+@"), r"\1:<redacted>@"),
)
REDACTED: Final = "<redacted>"


def configure(
    *,
    level: str = "info",
    format: Format = "json",  # noqa: A002 - the setting's name
    stream: TextIO | None = None,
) -> None:
    """Set up structlog, and send what libraries log by `logging` the same way (from warning up)."""
    threshold = logging.getLevelNamesMapping()[level.upper()]
    renderer: Any = (
        structlog.processors.JSONRenderer(serializer=_json)
        if format == "json"
        else structlog.dev.ConsoleRenderer(colors=(stream or sys.stderr).isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            redact,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(file=stream or sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, handlers=[_Forward()], force=True)


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A processor that takes secrets out: by the name of the field, and by the look of texts."""
    for name, value in event.items():
        if name != "event" and _SECRET_KEY.search(name) and value:
            event[name] = REDACTED
        elif isinstance(value, str):
            event[name] = redacted(value)
    return event


def redacted(text: str) -> str:
    """The text without bot tokens, bearer tokens and passwords in URLs."""
    for pattern, replacement in _SECRET_TEXT:
        text = pattern.sub(replacement, text)
    return text


def _json(value: Any, **_options: Any) -> str:
    return msgspec.json.encode(value, enc_hook=str).decode()


class _Forward(logging.Handler):
    """Records of libraries as our events."""

    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger(record.name).log(
            record.levelno, "library.log", logger=record.name, message=record.getMessage()
        )
