"""Exponential backoff with full jitter, counted per rollout."""

import random
from typing import Final

from agent.api.meta import Key

BASE_SECONDS: Final = 0.2
CAP_SECONDS: Final = 30.0


class Backoff:
    """How long a rollout waits after its n-th failure in a row.

    Full jitter (a uniform draw from 0 to the exponential bound) spreads those that failed together.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._failures: dict[Key, int] = {}

    def failed(self, key: Key, *, at_least: float = 0.0) -> float:
        """Count a failure; seconds to wait. `at_least`: what the server asked for."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        bound = min(CAP_SECONDS, BASE_SECONDS * 2 ** min(failures, 16))
        # Never 0: a delay of 0 means "at once" to the lane.
        return max(at_least, self._rng.uniform(0.0, bound), 0.001)

    def succeeded(self, key: Key) -> None:
        """Forget the failures."""
        self._failures.pop(key, None)

    def failures(self, key: Key) -> int:
        """Failures in a row so far."""
        return self._failures.get(key, 0)
