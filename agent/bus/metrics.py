"""What a bus counts. The base counts nothing; the composition root hands in one that does."""

from collections.abc import Sequence
from typing import Protocol

import msgspec


class BusMeter:
    """Callbacks at the places worth a metric; every one returns at once and never fails."""

    def published(self, topic: str, result: str, seconds: float) -> None:
        """A publication ended: ok, unavailable or refused."""

    def consumed(self, topic: str, result: str) -> None:
        """A record was received: done or later."""

    def unreadable(self, topic: str, reason: str) -> None:
        """A record could not be read off the bus: the name of the error."""

    def rebalanced(self, topic: str) -> None:
        """The group of this topic shared its partitions out anew."""

    def rebuilt(self, part: str, reason: str) -> None:
        """A producer or consumer that was of no use any more was replaced."""


class Backlog(msgspec.Struct, frozen=True, kw_only=True):
    """What is not done of one partition.

    Attributes:
        records: published and not done; those under way and those held back count.
        held: records that an open transaction holds back.
        oldest_seconds: since the oldest one under way was published; 0 when none is.
    """

    topic: str
    partition: int
    records: int
    held: int
    oldest_seconds: float


class Watched(Protocol):
    """A bus that shows how far behind it is."""

    def backlog(self) -> Sequence[Backlog]: ...

    def silent_seconds(self) -> dict[str, float]:
        """By consumed topic: seconds since the brokers last answered a fetch."""
        ...
