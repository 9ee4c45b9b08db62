"""What libraries say over and over."""

import logging
import sys

from agent.telemetry.repeats import MAX_MESSAGES, PERIOD_SECONDS, Repeats


class Given:
    """A filter whose time is moved by the test."""

    def __init__(self) -> None:
        self.time = 1000.0
        self._filter = Repeats(lambda: self.time)

    def shown(self, text: str, *args: object, name: str = "lib", level: int = logging.ERROR, error: Exception | None = None) -> int | None:  # fmt: skip
        """None when it is not shown, else how many were left out before it."""
        exc_info = None
        if error is not None:
            try:
                raise error
            except type(error):
                exc_info = sys.exc_info()
        record = logging.LogRecord(name, level, "f.py", 1, text, args, exc_info)
        return getattr(record, "repeated", 0) if self._filter.filter(record) else None


def test_the_first_is_shown_at_once_and_then_one_a_period_with_the_number_of_the_others() -> None:
    given = Given()
    assert given.shown("down") == 0
    for _ in range(7):
        given.time += PERIOD_SECONDS / 10
        assert given.shown("down") is None
    given.time += PERIOD_SECONDS
    assert given.shown("down") == 7
    given.time += PERIOD_SECONDS
    assert given.shown("down") == 0, "the count begins anew"


def test_messages_that_differ_hide_nothing_of_each_other() -> None:
    given = Given()
    assert given.shown("no node %s", 1) == 0
    assert given.shown("no node %s", 2) == 0
    assert given.shown("no node %s", 1, name="other") == 0
    assert given.shown("no node %s", 1, level=logging.WARNING) == 0
    assert given.shown("no node %s", 1, error=ValueError("a")) == 0
    assert given.shown("no node %s", 1, error=ValueError("b")) == 0
    assert given.shown("no node %s", 1, error=ValueError("b")) is None
    assert given.shown("no node 1") is None, "the text counts, however it was put together"


def test_only_so_many_messages_are_remembered_and_what_is_forgotten_is_shown_again() -> None:
    given = Given()
    for number in range(MAX_MESSAGES + 1):
        given.time += 0.001
        assert given.shown("offset %d", number) == 0
    assert given.shown("offset %d", MAX_MESSAGES) is None
    assert given.shown("offset %d", 1) is None
    assert given.shown("offset %d", 0) == 0
