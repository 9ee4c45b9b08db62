"""The sweep: everything that was quiet for too long is looked at, spread evenly over the period.

Events make the agent fast; the sweep makes it right when one was lost.
"""

import zlib
from collections.abc import Callable, Iterable
from typing import Final

from agent.api.meta import Key
from agent.clock import Clock

PERIOD_SECONDS: Final = 60
TICK_SECONDS: Final = 1.0
QUIET_SECONDS: Final = 45.0
"""A rollout that was looked at this recently is left for the next round."""


class Sweep:
    """Wakes each rollout once a period, in the second that its name hashes to.

    Args:
        keys: the rollouts that this process drives.
        last_pass: monotonic time of a rollout's last pass, None when there was none.
    """

    def __init__(
        self,
        keys: Callable[[], Iterable[Key]],
        last_pass: Callable[[Key], float | None],
        wake: Callable[[Key, str], None],
        clock: Clock,
    ) -> None:
        self._keys = keys
        self._last_pass = last_pass
        self._wake = wake
        self._clock = clock

    def look(self, slots: Iterable[int], *, quiet_seconds: float = QUIET_SECONDS) -> int:
        """Wake the quiet rollouts of these slots (0 … PERIOD_SECONDS - 1); how many."""
        wanted, now, woken = frozenset(slots), self._clock.monotonic(), 0
        for key in self._keys():
            last = self._last_pass(key)
            if slot(key) in wanted and (last is None or now - last >= quiet_seconds):
                self._wake(key, "sweep")
                woken += 1
        return woken

    async def run(self) -> None:
        """Sweeps until cancelled. A late tick takes the slots it missed along."""
        done = int(self._clock.monotonic())
        while True:
            await self._clock.sleep(TICK_SECONDS)
            now = int(self._clock.monotonic())
            missed = min(now - done, PERIOD_SECONDS)
            self.look(second % PERIOD_SECONDS for second in range(now - missed + 1, now + 1))
            done = now


def slot(key: Key) -> int:
    """The second of the period in which this rollout is swept; the same in every process."""
    return zlib.crc32(str(key).encode()) % PERIOD_SECONDS
