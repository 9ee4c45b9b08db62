"""Samples and what is said about them: percentiles, ratios, a table, JSON."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any


def percentile(samples: Iterable[float], percent: float) -> float:
    """The nearest rank: the least sample that so many percent do not exceed. NaN without samples."""
    ordered = sorted(samples)
    if not ordered:
        return math.nan
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measured thing.

    Attributes:
        samples: in `unit`; one sample is a plain figure.
        baseline: median of the raw hops of the same run in the same unit, 0 for none.
    """

    name: str
    unit: str
    samples: Sequence[float]
    baseline: float = 0.0

    @property
    def p50(self) -> float:
        return percentile(self.samples, 50)

    @property
    def p99(self) -> float:
        return percentile(self.samples, 99)

    @property
    def ratio(self) -> float | None:
        """The median as a multiple of the raw hops'."""
        return self.p50 / self.baseline if self.baseline else None

    def as_json(self) -> dict[str, Any]:
        """The figures, without the samples."""
        figures = {"n": len(self.samples), "p50": self.p50, "p99": self.p99}
        figures["max"] = max(self.samples, default=math.nan)
        rounded = {
            key: round(value, 3) if math.isfinite(value) else None for key, value in figures.items()
        }
        ratio = {"ratio": round(self.ratio, 2)} if self.ratio is not None else {}
        return {"name": self.name, "unit": self.unit, **rounded, **ratio}


@dataclass
class Report:
    """What one bench found."""

    title: str
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, name: str, unit: str, *samples: float, baseline: float = 0.0) -> Row:
        """One more row."""
        row = Row(name=name, unit=unit, samples=samples, baseline=baseline)
        self.rows.append(row)
        return row

    def text(self) -> str:
        """A table for people."""
        width = max((len(row.name) for row in self.rows), default=0)
        lines = [
            self.title,
            f"  {'':{width}}  {'n':>5} {'p50':>9} {'p99':>9} {'max':>9}       ratio",
        ]
        for row in self.rows:
            ratio = f"{row.ratio:.2f}×" if row.ratio is not None else ""
            figures = (row.p50, row.p99, max(row.samples, default=math.nan))
            shown = (
                " ".join(f"{figure:9.2f}" for figure in figures)
                if len(row.samples) > 1
                else f"{figures[0]:9.2f} {'':9} {'':9}"
            )
            lines.append(
                f"  {row.name:{width}}  {len(row.samples):5} {shown} {row.unit:<5} {ratio:>6}".rstrip()
            )
        return "\n".join([*lines, *(f"  {note}" for note in self.notes)])

    def as_json(self) -> dict[str, Any]:
        """The same for programs."""
        return {
            "title": self.title,
            "rows": [row.as_json() for row in self.rows],
            "notes": self.notes,
        }
