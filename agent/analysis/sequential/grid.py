"""Where strata begin and end: a grid of one scrape interval in absolute time. PURE.

The grid does not depend on when somebody looks, so late, doubled and repeated looks come to the same strata
and the same moment of decision. It is as wide as a scrape interval, so that each stratum holds one scrape of
every target; its edges lie where no target is scraped, so that a stratum ends soon after its last sample.
"""

import math
import statistics
from collections.abc import Iterable, Sequence
from itertools import pairwise

import msgspec

from agent.analysis.sequential.counters import Series


class Grid(msgspec.Struct, frozen=True):
    """Edges are `offset` + any multiple of `width`, in seconds."""

    width: float
    offset: float = 0.0

    def number(self, at: float) -> int:
        """The stratum that a sample belongs to: after edge `number` - 1, up to edge `number`."""
        return math.ceil((at - self.offset) / self.width)

    def edge(self, number: int) -> float:
        """When a stratum ends."""
        return self.offset + number * self.width

    def last_edge(self, now: float) -> float:
        """The newest edge that is not in the future."""
        return self.edge(math.floor((now - self.offset) / self.width))


def scrape_interval(counters: Iterable[Series]) -> float | None:
    """Median of the time between scrapes of a target; None before anything was scraped twice."""
    gaps = [
        after[0] - before[0] for counter in counters for before, after in pairwise(counter.samples)
    ]
    return max(0.1, round(statistics.median(gaps), 1)) if gaps else None


def grid(width: float, counters: Sequence[Series]) -> Grid:
    """The grid with its edges in the middle of the longest silence, but at most 1 s after the last sample."""
    phases = sorted({round(c.samples[-1][0] % width, 3) for c in counters if c.samples})
    if not phases:
        return Grid(width)
    around = [*phases[1:], phases[0] + width]
    silence, last = max(
        (after - before, -before) for before, after in zip(phases, around, strict=True)
    )
    return Grid(width, round((-last + min(1.0, silence / 2.0)) % width, 3))
