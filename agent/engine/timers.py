"""Timers: when to look at a rollout again although nothing happens to it.

They live in memory only and are rebuilt from the objects: every pass says when it wants the next one.
"""

import asyncio
import heapq
from collections.abc import Callable
from datetime import datetime
from typing import Final

from agent.api.meta import Key
from agent.clock import Clock

RECHECK_SECONDS: Final = 30.0
"""Longest sleep: a wall clock that was set is noticed after this time."""


class Timers:
    """A heap of `wake_at` per rollout; the last one set counts."""

    def __init__(self, wake: Callable[[Key, str], None], clock: Clock) -> None:
        self._wake = wake
        self._clock = clock
        self._due: dict[Key, datetime] = {}
        self._heap: list[tuple[datetime, Key]] = []
        self._changed = asyncio.Event()

    def set(self, key: Key, when: datetime | None) -> None:
        """Wake the rollout at `when`; None takes its timer away."""
        if when is None:
            self._due.pop(key, None)
            return
        if self._due.get(key) == when:
            return
        self._due[key] = when
        heapq.heappush(self._heap, (when, key))
        if self._heap[0] == (when, key):
            self._changed.set()

    def due_at(self, key: Key) -> datetime | None:
        """When this rollout's timer fires."""
        return self._due.get(key)

    def fire(self) -> int:
        """Wake everything that is due now; how many."""
        now, fired = self._clock.now(), 0
        while self._heap and self._heap[0][0] <= now:
            when, key = heapq.heappop(self._heap)
            # An entry that a later `set` replaced is still in the heap: only the one that counts fires.
            if self._due.get(key) == when:
                del self._due[key]
                self._wake(key, "timer")
                fired += 1
        return fired

    async def run(self) -> None:
        """Fires timers until cancelled."""
        while True:
            self._changed.clear()
            self.fire()
            try:
                async with asyncio.timeout(self._pause_seconds()):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def _pause_seconds(self) -> float:
        if not self._heap:
            return RECHECK_SECONDS
        ahead = (self._heap[0][0] - self._clock.now()).total_seconds()
        return min(max(0.0, ahead), RECHECK_SECONDS)
