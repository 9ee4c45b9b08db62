"""Announce: what waits in the outboxes goes out, in order per rollout, then off the object.

At least once, always under one id with the same bytes: an entry leaves the outbox only after it was published.
"""

from collections.abc import Callable, Sequence
from typing import Final

import structlog

from agent.api.meta import Key, Object, Ref
from agent.clock import Clock
from agent.engine import outbox
from agent.engine.backoff import Backoff
from agent.engine.crash_points import Reach
from agent.engine.lane import Epoch, Lanes
from agent.engine.observe import Objects
from agent.engine.outlet import Outlet
from agent.engine.publish import Publisher
from agent.engine.write import Writer, version_of
from agent.errors import Conflict, SerinusError

log = structlog.get_logger(__name__)

LINGER_SECONDS: Final = 0.3
"""How long a published entry may stay: a status write of the lane in this time takes it off for free."""


class Relay:
    """Publishes the outboxes of the rollouts whose announcements are this process's to publish."""

    def __init__(
        self,
        objects: Objects,
        writer: Writer,
        outlet: Outlet,
        backoff: Backoff,
        clock: Clock,
        publisher: Publisher,
        *,
        owns: Callable[[Key], bool],
        reach: Reach,
        urgent: Callable[[], bool] = lambda: False,
    ) -> None:
        self._objects = objects
        self._writer = writer
        self._outlet = outlet
        self._backoff = backoff
        self._clock = clock
        self._publisher = publisher
        self._owns = owns
        self._reach = reach
        self._linger: dict[Key, float] = {}
        self._flushing = False
        self.lanes = Lanes(self._pass, urgent=urgent)

    def look(self, rollout: Object) -> None:
        """See whether this Rollout has something to announce."""
        key = Key.of(rollout)
        if self._owns(key) and _waiting(rollout):
            self.lanes.wake(key, "outbox", urgent=True)

    async def run(self) -> None:
        """Relays until `flush`."""
        await self.lanes.run()

    async def flush(self, rollouts: Sequence[Object], deadline_seconds: float) -> bool:
        """Send what waits, do not linger, then stop; whether it was in time."""
        self._flushing = True
        for rollout in rollouts:
            self.look(rollout)
        return await self.lanes.drain(deadline_seconds, finish_waiting=True)

    async def _pass(self, key: Key, _epoch: Epoch, _causes: tuple[str, ...]) -> float | None:
        rollout = self._objects.get(Ref("Rollout", *key))
        entries = _waiting(rollout)
        if rollout is None or not entries or not self._owns(key):
            self._forget(key)
            return None
        try:
            published = await self._publish(key, entries)
            now = self._clock.monotonic()
            if published:
                self._linger[key] = now + LINGER_SECONDS
            ahead = self._linger.get(key, now) - now
            if ahead > 0 and not self._flushing:
                return ahead
            await self._remove(key, rollout)
        except Conflict:
            wait = self._backoff.failed(key)
            return 0.0 if self._backoff.failures(key) <= 3 else wait
        except SerinusError as error:
            wait = self._backoff.failed(key)
            log.warning(
                "outbox.not_published", rollout=str(key), error=str(error), retry_seconds=wait
            )
            return None if self._flushing else wait
        self._backoff.succeeded(key)
        return None

    async def _publish(self, key: Key, entries: Sequence[outbox.Entry]) -> bool:
        """Publish what is not out yet, in order; whether anything was."""
        published = False
        confirmed = self._outlet.confirmed(key)
        for entry in entries:
            if entry.id in confirmed:
                continue
            self._reach("relay-before-publish")
            await self._publisher.send(key, entry)
            self._reach("relay-after-publish")
            self._outlet.confirm(key, entry.id)
            published = True
            await self._publisher.tell(key, entry)
        return published

    async def _remove(self, key: Key, rollout: Object) -> None:
        """Take what is published off the object, and only that, by compare-and-swap."""
        status = rollout.get("status") or {}
        left = outbox.without(outbox.stored(status), self._outlet.confirmed(key))
        after = outbox.with_entries(status, left, self._clock.now(), outbox.cause_of(status))
        if after is not status:
            await self._writer.status(
                key, {"conditions": after.get("conditions") or None}, version_of(rollout)
            )
            self._reach("relay-after-removal")
        self._outlet.keep_confirmed(key, frozenset(entry.id for entry in left))
        self._linger.pop(key, None)

    def _forget(self, key: Key) -> None:
        self._outlet.keep_confirmed(key, frozenset())
        self._linger.pop(key, None)


def _waiting(rollout: Object | None) -> tuple[outbox.Entry, ...]:
    try:
        return outbox.stored((rollout or {}).get("status") or {})
    except ValueError:
        return ()
