"""What came in through a door becomes durable, or is carried out, before the sender is answered."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog

from agent.bus.port import Bus
from agent.bus.topics import URGENT, key_of, record_of, topic_of
from agent.clock import Clock
from agent.errors import Refused, SerinusError, Unavailable
from agent.events.catalogue import ALERT_RESOLVED
from agent.events.event import Event
from agent.events.recorded import recorded

log = structlog.get_logger(__name__)

Dispatch = Callable[[Event, str], Awaitable[None]]
"""Carries an event of a door out. Raises Refused or Unavailable."""
Counted = Callable[[str, str, str], None]


class Intake:
    """Takes the events of all doors.

    Without a durable bus an event is carried out before it is answered. With one it is published, and whoever
    consumes it carries it out; what is urgent is carried out here as well, at the same time: what comes off
    the bus later is a no-op then, and an alert works while no broker does.

    Each states from then on when it came in.

    Args:
        counted: called with type, door and outcome of what was published only.
    """

    def __init__(
        self,
        bus: Bus,
        dispatch: Dispatch,
        clock: Clock,
        *,
        counted: Counted = lambda *_: None,
    ) -> None:
        self._bus = bus
        self._clock = clock
        self._dispatch = dispatch
        self._counted = counted
        self.open = False

    async def accept(self, events: Sequence[Event], door: str) -> None:
        """Returns when all are durable. Those of one key are taken in order, different keys side by side.

        Raises Refused or Unavailable; the sender repeats everything then, and what was done is a no-op.
        """
        if not self.open:
            raise Unavailable("the agent is starting or stopping", retry_after_seconds=1)
        now = self._clock.now()
        lanes: dict[bytes | None, list[Event]] = {}
        for event in (recorded(event, now) for event in events):
            lanes.setdefault(key_of(event), []).append(event)
        outcomes = await asyncio.gather(
            *(self._lane(lane, door) for lane in lanes.values()), return_exceptions=True
        )
        errors = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        # "Later" wins over "never": what was refused is refused again when everything is repeated.
        for error in sorted(errors, key=lambda error: isinstance(error, Refused)):
            raise error

    async def _lane(self, events: Sequence[Event], door: str) -> None:
        """One after the other. What is refused does not keep those behind it out; what is "later" does."""
        refused: Refused | None = None
        for event in events:
            try:
                await self._take(event, door)
            except Refused as error:
                refused = refused or error
        if refused is not None:
            raise refused

    async def _take(self, event: Event, door: str) -> None:
        if not self._bus.durable:
            await self._dispatch(event, door)
        elif topic_of(event) != URGENT:
            await self._bus.publish(record_of(event))
            self._counted(event.type, door, "published")
        else:
            await self._take_urgent(event, door)

    async def _take_urgent(self, event: Event, door: str) -> None:
        published, done = await asyncio.gather(
            self._bus.publish(record_of(event)), self._dispatch(event, door), return_exceptions=True
        )
        if isinstance(done, Unavailable) and published is None:
            # It is on the bus, and comes again until it can be done.
            log.warning("sink.urgent_later", type=event.type, id=event.id, error=str(done))
        elif isinstance(done, BaseException):
            raise done
        elif isinstance(published, Unavailable) and event.type == ALERT_RESOLVED:
            # It must come after the word that the alert fires, wherever that is on its way.
            raise published
        elif isinstance(published, SerinusError):
            log.warning("sink.not_published", type=event.type, id=event.id, error=str(published))
        elif isinstance(published, BaseException):
            raise published
