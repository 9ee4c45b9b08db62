"""The bus port: records in, records out. Kafka and memory keep the same contract."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Protocol

import msgspec


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One record of a topic.

    Attributes:
        partition, offset: -1 before it is published.
        published_at: when, by whoever published it, aware UTC; None before, or when that is not known.
    """

    topic: str
    key: bytes | None = None
    value: bytes | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    partition: int = -1
    offset: int = -1
    published_at: datetime | None = None


Receive = Callable[[Record], Awaitable[None]]
"""Handles one record; returning means durable. Raises Unavailable for "later": the records of this key (of
the whole partition, on some buses) pause, back off and begin with the same record again. It never raises for
bad input (that is dead-lettered)."""


class Bus(Protocol):
    """At-least-once, ordered per key."""

    durable: bool
    """Whether a published record survives this process: the sink may answer 2xx then."""

    async def publish(self, record: Record) -> None:
        """Returns when the record is durable on the bus.

        Raises Unavailable within a deadline (the outcome is unknown then), Refused for a record that no
        bus can carry (too large, neither key nor value).
        """
        ...

    async def consume(self, topics: Sequence[str], receive: Receive) -> None:
        """Runs until cancelled, and ends in order then. Begins with what was published before. Records of one key are received one after the other, in order; a
        record counts as done (committed) when `receive` returned for it and all before it."""
        ...

    async def aclose(self) -> None: ...
