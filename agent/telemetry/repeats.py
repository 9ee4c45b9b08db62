"""What libraries say over and over: told once a period, with how often it was said meanwhile.

While a broker is down aiokafka logs the same few errors several times a second, for every client.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

PERIOD_SECONDS: Final = 30.0
MAX_MESSAGES: Final = 256
"""So many are remembered; of more, the one that was told longest ago is forgotten, so it is told again."""

_Message = tuple[str, int, str, str]


class Repeats(logging.Filter):
    """Passes the first record of a message at once, and then one a period.

    Two records are of one message when logger, level, text and exception are the same. A record that passes
    after others were left out has their number as its attribute `repeated`.

    Args:
        now: monotonic seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._now = now
        self._lock = threading.Lock()
        self._told: dict[_Message, tuple[float, int]] = {}  # when, and how many were left out since

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether this record is to be shown."""
        message, now = _message(record), self._now()
        with self._lock:
            at, left_out = self._told.pop(message, (now - PERIOD_SECONDS, 0))
            if now - at < PERIOD_SECONDS:
                self._told[message] = (at, left_out + 1)
                return False
            self._told[message] = (now, 0)
            if len(self._told) > MAX_MESSAGES:
                del self._told[min(self._told, key=lambda known: self._told[known][0])]
        if left_out:
            record.repeated = left_out
        return True


def _message(record: logging.LogRecord) -> _Message:
    error = record.exc_info[1] if record.exc_info else None
    return record.name, record.levelno, record.getMessage(), repr(error)
