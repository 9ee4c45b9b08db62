"""Which partitions an open transaction of somebody holds back, and for how long. Pure."""

from collections.abc import Mapping
from typing import Final

TOLD_AFTER_SECONDS: Final = 10.0
"""A transaction lasts milliseconds; one that stays open is a producer that died or waits within it."""


class OpenTransactions:
    """Remembers since when the last stable offset of a partition has stood still."""

    def __init__(self) -> None:
        self._since: dict[int, tuple[int, float]] = {}
        self._told: set[int] = set()

    def overdue(self, stable: Mapping[int, int], now: float) -> list[int]:
        """Partitions whose transaction has been open for too long; each is named once a transaction.

        Args:
            stable: last stable offset by partition, of those that are held back now.
            now: monotonic seconds.
        """
        since = {}
        for partition, offset in stable.items():
            known = self._since.get(partition)
            since[partition] = known if known and known[0] == offset else (offset, now)
        self._told &= {
            number for number, began in since.items() if began == self._since.get(number)
        }
        self._since = since
        late = [
            number
            for number, (_, began) in sorted(since.items())
            if now - began >= TOLD_AFTER_SECONDS and number not in self._told
        ]
        self._told.update(late)
        return late
