"""The inbox: records become events, events reach their handler, what cannot be used is dead-lettered.

Handlers are idempotent, so nothing is remembered here about what was seen.
"""

import fnmatch
from collections.abc import Awaitable, Callable, Mapping

import structlog

from agent.bus.codec import from_record
from agent.bus.dead_letter import bury
from agent.bus.port import Bus, Record
from agent.errors import Refused, Retry, SerinusError, Unavailable
from agent.events.event import Event
from agent.events.recorded import recorded

log = structlog.get_logger(__name__)

Handle = Callable[[Event], Awaitable[None]]
"""Carries one event out. Refused: never possible (dead letter). Retry, Unavailable: later."""

Counted = Callable[[str, str, str], None]


class Inbox:
    """Dispatches by event type.

    Args:
        table: pattern (`*`, `?`) of the type to its handler; the first that matches counts.
        counted: called with type, door and outcome of every event.
        buried: called with the topic of every record that became a dead letter.
    """

    def __init__(
        self,
        bus: Bus,
        table: Mapping[str, Handle],
        *,
        counted: Counted = lambda *_: None,
        buried: Callable[[str], None] = lambda _topic: None,
    ) -> None:
        self._bus = bus
        self._table = dict(table)
        self._counted = counted
        self._buried = buried

    async def receive(self, record: Record) -> None:
        """Take one record of the bus; returning means done. Raises Unavailable for "later"."""
        try:
            event = from_record(record)
            if record.published_at is not None:
                # By then it had come in; read again after a death, it did not come in again.
                event = recorded(event, record.published_at)
            await self.dispatch(event, "bus")
        except Refused as error:
            log.warning(
                "event.dead_letter", topic=record.topic, offset=record.offset, reason=str(error)
            )
            await self._bury(record, str(error))
        except Unavailable:
            raise
        except Exception as error:
            # A bug of ours, or input nobody thought of. Trying again would stop all records behind it.
            log.exception("event.dead_letter", topic=record.topic, offset=record.offset)
            await self._bury(record, f"internal error: {type(error).__name__}: {error}")

    async def _bury(self, record: Record, reason: str) -> None:
        await bury(self._bus, record, reason)
        self._counted("", "bus", "dead-letter")
        self._buried(record.topic)

    async def dispatch(self, event: Event, door: str) -> None:
        """Hand the event to its handler. An unknown type is counted and done.

        Raises Refused or Unavailable.
        """
        handle = self.handler_of(event.type)
        if handle is None:
            self._counted("unknown", door, "ignored")
            log.info("event.unknown_type", type=event.type, source=event.source, id=event.id)
            return
        try:
            await handle(event)
        except Refused:
            self._counted(event.type, door, "refused")
            raise
        except SerinusError as error:
            # Even what the API server forbids is "later": a person mends the role, the event must not be lost.
            self._counted(event.type, door, "later")
            if isinstance(error, Unavailable):
                raise
            after = error.after_seconds if isinstance(error, Retry) else None
            raise Unavailable(str(error), retry_after_seconds=after) from error
        self._counted(event.type, door, "done")

    def handler_of(self, event_type: str) -> Handle | None:
        """The handler of a type, None when it is unknown."""
        return next(
            (h for pattern, h in self._table.items() if fnmatch.fnmatchcase(event_type, pattern)),
            None,
        )
