"""Logs: one event a line, and never a secret in it."""

import io
import logging
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import structlog

from agent.telemetry.logs import REDACTED, configure, redact, redacted

BOT = "123456789:AAE-abc_DEF0123456789xyzABCDEFGHIJKL"


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """Where logs go for the time of a test."""
    stream = io.StringIO()
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    configure(stream=stream)
    yield stream
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def read(stream: io.StringIO) -> list[dict[str, Any]]:
    return [msgspec.json.decode(line) for line in stream.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"POST https://api.telegram.org/bot{BOT}/sendMessage", BOT),
        (f"no answer of http://127.0.0.1:1/bot{BOT}/getMe: refused", BOT),
        (f"got token {BOT} from the file", BOT),
        ("Authorization: Bearer abc.DEF-123_~+/=", "abc.DEF-123"),
        ("authorization: bearer s3cr3tvalue", "s3cr3tvalue"),
        ("{'Authorization': 'Basic cHJvbTpzM2NyM3Q='}", "cHJvbTpzM2NyM3Q="),
        ("http://prometheus:s3cr3t@metrics.example/x", "s3cr3t"),
        ("http://:s3cr3t@metrics.example/x", "s3cr3t"),
        ("http://metrics.example/x?token=s3cr3t&y=1", "s3cr3t"),
        ("https://hooks.example/x?a=1&api_key=s3cr3t", "s3cr3t"),
        ('{"password": "s3cr3t"}', "s3cr3t"),
    ],
    ids=[
        "a bot's URL", "a bot's URL in an error", "a bot's token alone", "a bearer token",
        "a bearer token in lower case", "basic auth", "a password in a URL", "a password without a user",
        "a token in a query", "a key in a query", "a password in JSON",
    ],
)  # fmt: skip
def test_a_text_loses_its_secrets_and_nothing_else(text: str, secret: str) -> None:
    shown = redacted(text)
    assert secret not in shown
    assert shown[:3] == text[:3]


@pytest.mark.parametrize(
    "text",
    [
        "basic rules apply", "the bearer of bad news", "shop/web: 10:30 at http://metrics.example:9090/x",
        "ratio 3:4 of user@example.com", "image registry.example:5000/web@sha256:0123",
    ],
)  # fmt: skip
def test_a_text_without_secrets_stays(text: str) -> None:
    assert redacted(text) == text


@pytest.mark.parametrize(
    "name",
    ["token", "bot_token", "TOKEN", "password", "client_secret", "authorization", "credentials"],
)
def test_a_field_with_such_a_name_shows_nothing(name: str) -> None:
    shown = redact(None, "info", {"event": "x", name: "s3cr3t", "other": "y"})
    assert shown == {"event": "x", name: REDACTED, "other": "y"}


def test_a_field_with_such_a_name_shows_that_it_is_empty() -> None:
    assert redact(None, "info", {"event": "x", "token": ""})["token"] == ""


def test_secrets_inside_of_values_are_found(lines: io.StringIO) -> None:
    log = structlog.get_logger("t")
    headers = {"Authorization": "Bearer s3cr3tvalue", "Accept": "text/plain"}
    log.warning("a.b", headers=headers, urls=[f"http://x/bot{BOT}/getMe"], count=3)
    (line,) = read(lines)
    assert line["headers"] == {"Authorization": REDACTED, "Accept": "text/plain"}
    assert line["urls"] == ["http://x/bot<token>/getMe"]
    assert line["count"] == 3


def test_an_exception_is_told_without_its_secrets(lines: io.StringIO) -> None:
    try:
        raise ValueError(f"http://x/bot{BOT}/getMe")
    except ValueError as error:
        structlog.get_logger("t").exception("a.b", error=error)
    assert "ValueError" in lines.getvalue()
    assert BOT not in lines.getvalue()


def test_a_line_has_its_event_level_time_and_context(lines: io.StringIO) -> None:
    with structlog.contextvars.bound_contextvars(rollout="shop/web"):
        structlog.get_logger("t").info("rollout.aborted", weight=0)
    structlog.get_logger("t").debug("not.shown")
    (line,) = read(lines)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "rollout.aborted", "level": "info", "rollout": "shop/web", "weight": 0
    }  # fmt: skip


def test_what_a_library_logs_is_an_event_from_warning_up(lines: io.StringIO) -> None:
    logging.getLogger("some.library").warning("no answer of %s", f"http://x/bot{BOT}/getMe")
    logging.getLogger("some.library").info("not shown")
    (line,) = read(lines)
    assert (line["event"], line["logger"], line["level"]) == (
        "library.log", "some.library", "warning"
    )  # fmt: skip
    assert line["message"] == "no answer of http://x/bot<token>/getMe"


def test_what_a_library_repeats_is_shown_once_a_period(lines: io.StringIO) -> None:
    for _ in range(100):
        logging.getLogger("aiokafka").error("Unable connect to node with id %s", 1)
    logging.getLogger("aiokafka").error("Unable connect to node with id %s", 2)
    assert [line["message"][-1] for line in read(lines)] == ["1", "2"]


def test_a_library_s_exception_keeps_its_traceback(lines: io.StringIO) -> None:
    try:
        raise ValueError("why")
    except ValueError:
        logging.getLogger("some.library").exception("went wrong")
    assert "ValueError: why" in lines.getvalue()


def test_what_json_does_not_know_is_shown_as_text(lines: io.StringIO) -> None:
    structlog.get_logger("t").info("a.b", kind=object, key=("shop", "web"), data=b"\xff")
    assert len(read(lines)) == 1


def test_the_console_shows_the_same_without_secrets() -> None:
    stream = io.StringIO()
    handlers = logging.getLogger().handlers[:]
    configure(format="console", level="warning", stream=stream)
    structlog.get_logger("t").warning("a.b", token="s3cr3t", rollout="shop/web")
    structlog.get_logger("t").info("not.shown")
    structlog.reset_defaults()
    logging.getLogger().handlers[:] = handlers
    assert "shop/web" in stream.getvalue()
    assert "s3cr3t" not in stream.getvalue()
    assert "not.shown" not in stream.getvalue()
