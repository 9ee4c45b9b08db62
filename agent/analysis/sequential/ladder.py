"""The ratios at which the likelihood is kept. PURE.

A test of "at most r0 times as often" needs the likelihood at r0 and at ratios above it. These ladders are
laid so that each rung serves several tests: the test of r0, and the tests of all other rungs, which together
bound the ratio.
"""

from functools import lru_cache
from typing import Final, NamedTuple

ALTERNATIVES: Final = 16
"""Ratios against which each null is held: 1.25 to 100 times itself, evenly in their logarithm."""
_NEAREST: Final = 1.25
_SPAN: Final = 80.0
_LOWEST: Final = -6
_HIGHEST: Final = 26
_TOP: Final = 2 * (ALTERNATIVES - 1)
"""Rungs are half a step apart; the alternatives of r0 are every second one from 0 to this."""
_SAFE_LOWEST: Final = 0.05
_SAFE_SPAN: Final = 16.0
"""Alternatives of the safe-to-advance test: 0.05 to 0.8 times its tolerance."""


class Test(NamedTuple):
    """One test: indexes into `points`, and the side on which its alternatives lie."""

    null: int
    alternatives: tuple[int, ...]


class Ladder(NamedTuple):
    """Attributes:
    points: the ratios.
    worse: H0 "the canary fails at most r0 times as often as stable".
    bounds: the same for other ratios than r0, ascending; r0 is among them.
    safe: H0 "the canary fails at least `tolerance` times as often"; None without a tolerance.
    """

    points: tuple[float, ...]
    worse: Test
    bounds: tuple[Test, ...]
    safe: Test | None


@lru_cache(maxsize=256)
def ladder(r0: float, tolerance: float | None) -> Ladder:
    """The ladder for a tolerated ratio and, for the safe-to-advance test, its tolerance."""
    step = _SPAN ** (0.5 / (ALTERNATIVES - 1))
    rungs = range(_LOWEST, _HIGHEST + 1)
    above = range(_LOWEST, _TOP + 1)
    points = [r0 * step**rung for rung in rungs]
    first_above = len(points) - _LOWEST
    points += [r0 * _NEAREST * step**rung for rung in above]
    bounds = tuple(
        Test(
            rung - _LOWEST,
            tuple(first_above + rung + 2 * j for j in range(ALTERNATIVES) if rung + 2 * j <= _TOP),
        )
        for rung in rungs
    )
    safe = None
    if tolerance is not None:
        first = len(points)
        points.append(tolerance)
        points += [
            tolerance * _SAFE_LOWEST * _SAFE_SPAN ** (j / (ALTERNATIVES - 1))
            for j in range(ALTERNATIVES)
        ]
        safe = Test(first, tuple(range(first + 1, first + 1 + ALTERNATIVES)))
    return Ladder(tuple(points), bounds[-_LOWEST], bounds, safe)
