"""Structured logs: one event a line on stderr, names dotted, secrets never.

`configure` is called once, by the composition root. Everybody else: `structlog.get_logger(__name__)`.
"""

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Final, Literal, TextIO

import msgspec
import structlog

from agent.telemetry.repeats import Repeats

Format = Literal["json", "console"]

_SECRET_KEY: Final = re.compile(r"token|secret|password|authorization|credential", re.IGNORECASE)
_SECRET_TEXT: Final = (
    (re.compile(r"/bot\d+:[\w-]+"), "/bot<token>"),
    (re.compile(r"\b\d{6,}:[\w-]{30,}"), "<token>"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{6,}"), r"\1 <redacted>"),
    (re.compile(r"(://[^/\s:@]*):[^@\s/]+@"), r"\1:<redacted>@"),
    (
        re.compile(r"(?i)([?&][\w.-]*(?:token|key|secret|password|signature)[\w.-]*=)[^&\s\"']+"),
        r"\1<redacted>",
    ),
    (
        re.compile(r"(?i)((?:token|secret|password)[\"']?\s*[:=]\s*)([\"'])[^\"']+\2"),
        r"\1\2<redacted>\2",
    ),
)
REDACTED: Final = "<redacted>"
_DEPTH: Final = 6
"""How far into lists and mappings is looked; what is deeper is not shown."""


def configure(
    *,
    level: str = "info",
    format: Format = "json",  # noqa: A002 - the setting's name
    stream: TextIO | None = None,
) -> None:
    """Set up structlog, and send what libraries log by `logging` the same way (from warning up).

    What a library repeats is shown once a period (agent.telemetry.repeats).
    """
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
    forward = _Forward()
    forward.addFilter(Repeats())
    logging.basicConfig(level=logging.WARNING, handlers=[forward], force=True)


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A processor that takes secrets out: by the name of the field, and by the look of texts.

    Values inside of mappings and lists, and the texts of exceptions, are looked at in the same way.
    """
    for name, value in event.items():
        event[name] = _cleaned(value, _DEPTH) if name == "event" else _field(name, value, _DEPTH)
    return event


def _field(name: Any, value: Any, depth: int) -> Any:
    if value and isinstance(name, str) and _SECRET_KEY.search(name):
        return REDACTED
    return _cleaned(value, depth)


def _cleaned(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, BaseException):
        return redacted(str(value) or type(value).__name__)
    if isinstance(value, Mapping):
        if not depth:
            return "..."
        return {name: _field(name, item, depth - 1) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(item, depth - 1) for item in value] if depth else "..."
    return value


def redacted(text: str) -> str:
    """The text without bot tokens, Authorization headers, and the secrets of URLs and JSON."""
    for pattern, replacement in _SECRET_TEXT:
        text = pattern.sub(replacement, text)
    return text


def _json(value: Any, **_options: Any) -> str:
    return msgspec.json.encode(value, enc_hook=str).decode()


class _Forward(logging.Handler):
    """Records of libraries as our events."""

    def emit(self, record: logging.LogRecord) -> None:
        told: dict[str, Any] = {"exc_info": record.exc_info} if record.exc_info else {}
        if repeated := getattr(record, "repeated", 0):
            told["repeated"] = repeated
        structlog.get_logger(record.name).log(
            record.levelno, "library.log", logger=record.name, message=record.getMessage(), **told
        )
