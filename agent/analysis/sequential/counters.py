"""What counters counted between two times, from their raw samples. PURE.

`increase()` extrapolates, and does not see what a series begins with; tests of single requests need what was
really counted. Times are Unix seconds.
"""

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

Labels = tuple[tuple[str, str], ...]


class Series(NamedTuple):
    """One counter.

    Attributes:
        labels: without the metric's name, sorted.
        samples: (time, value), ascending, each time once.
    """

    labels: Labels
    samples: tuple[tuple[float, float], ...]

    @property
    def target(self) -> Labels:
        """Where it is scraped. Series of one target are scraped at one time."""
        return tuple(pair for pair in self.labels if pair[0] in ("instance", "job"))


class Increase(NamedTuple):
    """Something that was counted between the sample before and this time."""

    at: float
    number: float


def series(labels: Mapping[str, str], samples: Iterable[tuple[float, float]]) -> Series:
    """A counter from samples in any order; a time that comes twice counts once, what is no number not at all."""
    found = {at: value for at, value in samples if math.isfinite(value)}
    kept = sorted((name, value) for name, value in labels.items() if name != "__name__")
    return Series(tuple(kept), tuple(sorted(found.items())))


def increases(
    counters: Iterable[Series],
    *,
    since: float,
    until: float,
    before: Mapping[Labels, float],
    known: frozenset[Labels],
) -> list[Increase]:
    """What was counted after `since` and up to `until`.

    A value below the one before it is a counter that began anew. A series that begins counts from 0 when its
    target was there before, for then all of it happened in between; the first value of a new target may be
    months old, and is only where counting begins.

    Args:
        before: last values from before the samples, of series that have no sample up to `since`.
        known: targets that were scraped before.
    """
    found = []
    for counter in counters:
        last = before.get(counter.labels, 0.0 if counter.target in known else None)
        for at, value in counter.samples:
            if at > until:
                break
            if at > since and last is not None:
                number = value - last if value >= last else value
                if number:
                    found.append(Increase(at, number))
            last = value
    return found


def begin_after(counters: Iterable[Series], since: float) -> list[Series]:
    """Series without a sample up to `since`: what they counted before must be looked up."""
    return [c for c in counters if c.samples and c.samples[0][0] > since]


def targets_until(counters: Iterable[Series], since: float) -> frozenset[Labels]:
    """Targets with a sample up to `since`."""
    return frozenset(c.target for c in counters if c.samples and c.samples[0][0] <= since)


def newest(counters: Iterable[Series]) -> float | None:
    """Time of the newest sample; None without any."""
    return max((c.samples[-1][0] for c in counters if c.samples), default=None)
