"""How long a record waits before it is received again."""

from typing import Final

from agent.errors import Unavailable

SHORTEST_SECONDS: Final = 0.1
LONGEST_SECONDS: Final = 5.0


class Pauses:
    """Doubles from the shortest to the longest pause; a receiver that names a time gets that."""

    def __init__(self) -> None:
        self._next = SHORTEST_SECONDS

    def after(self, error: Unavailable) -> float:
        """Seconds to wait after this failure."""
        return error.retry_after_seconds or self.further()

    def further(self) -> float:
        """Seconds to wait after a failure that names no time."""
        pause = self._next
        self._next = min(pause * 2, LONGEST_SECONDS)
        return pause
