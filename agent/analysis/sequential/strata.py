"""From samples of both arms' counters to strata. PURE."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from agent.analysis.sequential.counters import (
    Labels,
    Series,
    begin_after,
    increases,
    newest,
    targets_until,
)
from agent.analysis.sequential.grid import Grid
from agent.analysis.sequential.verdict import Counted
from agent.errors import Refused


class Counter(NamedTuple):
    """What one selector found.

    Attributes:
        series: with samples from before the time from which is counted.
        before: last values of series that have none from before, from further back.
    """

    series: tuple[Series, ...] = ()
    before: Mapping[Labels, float] = {}


class ArmSamples(NamedTuple):
    """One arm's counters.

    Attributes:
        requests: all of them.
        parts: for every comparison the bad ones, or with `parts_are_good` the others (buckets up to an edge).
    """

    requests: Counter
    parts: tuple[Counter, ...]
    parts_are_good: bool = False

    @property
    def series(self) -> tuple[Series, ...]:
        return (*self.requests.series, *(s for part in self.parts for s in part.series))

    @property
    def newest(self) -> float | None:
        """Time of the newest sample of requests."""
        return newest(self.requests.series)


def strata(
    canary: ArmSamples, stable: ArmSamples, grid: Grid, *, since: float, until: float
) -> list[Counted]:
    """The strata after `since` (an edge) up to the last edge at or before `until` in which something was counted.

    Raises Refused when more requests are bad than there are.
    """
    until = grid.last_edge(until)
    known = _known(canary, since) | _known(stable, since)
    totals: dict[int, list[float]] = defaultdict(lambda: [0.0] * (2 + 2 * len(canary.parts)))
    for offset, (name, arm) in enumerate((("canary", canary), ("stable", stable))):
        for column, counter in enumerate((arm.requests, *arm.parts)):
            for increase in increases(
                counter.series, since=since, until=until, before=counter.before, known=known
            ):
                totals[grid.number(increase.at)][2 * column + offset] += increase.number
        _check(name, arm, [row[offset::2] for row in totals.values()])
    return [
        Counted(
            grid.edge(number),
            row[0],
            row[1],
            tuple(_bad(canary, stable, row, at) for at in range(len(canary.parts))),
        )
        for number, row in sorted(totals.items())
    ]


def look_up(arm: ArmSamples, since: float) -> bool:
    """Whether a series begins after `since`, so that one must ask what it counted long before."""
    return bool(begin_after(arm.series, since))


def without_edge(arm: ArmSamples, edges: Sequence[float]) -> float | None:
    """The first edge for which the histogram has no bucket; without it every request would be slow."""
    for edge, part in zip(edges, arm.parts, strict=True):
        if arm.requests.series and not part.series:
            return edge
    return None


def _known(arm: ArmSamples, since: float) -> frozenset[Labels]:
    """Targets that were scraped before `since`."""
    looked_up = frozenset(
        Series(labels, ()).target
        for counter in (arm.requests, *arm.parts)
        for labels in counter.before
    )
    return targets_until(arm.series, since) | looked_up


def _bad(
    canary: ArmSamples, stable: ArmSamples, row: Sequence[float], at: int
) -> tuple[float, float]:
    """Bad requests of canary and stable in a stratum."""
    found = []
    for offset, arm in enumerate((canary, stable)):
        part, requests = row[2 + 2 * at + offset], row[offset]
        found.append(max(0.0, requests - part) if arm.parts_are_good else part)
    return found[0], found[1]


def _check(name: str, arm: ArmSamples, rows: Sequence[Sequence[float]]) -> None:
    requests = sum(row[0] for row in rows)
    for column in range(1, 1 + len(arm.parts)):
        part = sum(row[column] for row in rows)
        if part > 1.5 * requests + 10 and not arm.parts_are_good:
            raise Refused(
                f"{part:.0f} bad requests of {requests:.0f}: what bad selects must be a part of what"
                " requests selects",
                field=f"{name}.bad",
            )
