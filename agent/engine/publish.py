"""One announcement on its way: to the bus, then to those who listen in this process."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import structlog

from agent.api.meta import Key
from agent.bus.port import Bus, Record
from agent.engine.outbox import Entry
from agent.errors import SerinusError

log = structlog.get_logger(__name__)

CONTENT_TYPE: Final = b"application/cloudevents+json"
SUBSCRIBER_TRIES: Final = 3

Subscriber = Callable[[Key, bytes], Awaitable[None]]
"""A local listener: gets the event's JSON. Raises a SerinusError to get it again (a few times)."""


class Publisher:
    """Sends entries out as they are.

    Args:
        bus: where events go; None when there are only subscribers.
        topic: the topic of outgoing events.
    """

    def __init__(
        self,
        *,
        bus: Bus | None,
        topic: str,
        subscribers: Sequence[Subscriber],
        counted: Callable[[str, str], None] = lambda _transition, _result: None,
    ) -> None:
        self._bus = bus
        self._topic = topic
        self._subscribers = tuple(subscribers)
        self._counted = counted

    async def send(self, key: Key, entry: Entry) -> None:
        """Returns when the bus has it. Raises Unavailable."""
        if self._bus is not None:
            await self._bus.publish(
                Record(
                    topic=self._topic,
                    key=str(key).encode(),
                    value=entry.event.encode(),
                    headers=(("content-type", CONTENT_TYPE),),
                )
            )

    async def tell(self, key: Key, entry: Entry) -> None:
        """It is out: tell the listeners. They must not hold others up, so each gets a few tries."""
        self._counted(entry.transition, "published")
        log.info("outbox.published", rollout=str(key), transition=entry.transition, id=entry.id)
        for subscriber in self._subscribers:
            await self._try(subscriber, key, entry)

    async def _try(self, subscriber: Subscriber, key: Key, entry: Entry) -> None:
        for attempt in range(1, SUBSCRIBER_TRIES + 1):
            try:
                return await subscriber(key, entry.event.encode())
            except SerinusError as error:
                log.warning(
                    "outbox.subscriber_failed", id=entry.id, attempt=attempt, error=str(error)
                )
        self._counted(entry.transition, "subscriber_gave_up")
        return None
