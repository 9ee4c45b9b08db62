"""What the sequential judge asks Prometheus, and what the answers are. PURE."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

import msgspec

from agent.analysis.sequential.counters import Labels, Series, series
from agent.analysis.sequential.settings import Arm, Settings, with_edges
from agent.analysis.sequential.strata import ArmSamples, Counter

HISTORY: Final = "6h"
"""How far back the last value of a series that begins is looked for: a target that was away is not a new one."""
DISPERSION_SECONDS: Final = 3600.0
WHOLE: Final = math.inf


class Asking(msgspec.Struct, frozen=True, kw_only=True):
    """The selectors of an arm: one of requests and one of bad ones, or one of buckets."""

    selectors: tuple[str, ...]
    edges: tuple[float, ...] = ()


def asking(arm: Arm, settings: Settings) -> Asking:
    """What is to be asked about an arm."""
    if settings.slower_than:
        return Asking(
            selectors=(with_edges(arm.buckets, (*settings.slower_than, WHOLE)),),
            edges=settings.slower_than,
        )
    return Asking(selectors=(arm.requests, arm.bad))


def samples_form(selector: str, *, at: float, seconds: float) -> dict[str, str]:
    """Raw samples, as scraped: an instant query of a range selector."""
    return {"query": f"{selector}[{math.ceil(seconds)}s]", "time": f"{at:.3f}"}


def history_form(selector: str, *, at: float) -> dict[str, str]:
    """The last values up to a time."""
    return {"query": f"last_over_time({selector}[{HISTORY}])", "time": f"{at:.3f}"}


def totals_form(selector: str, *, at: float, step: float) -> dict[str, str]:
    """Sum of counters over the time before the run, step by step."""
    return {
        "query": f"sum({selector})",
        "start": f"{at - DISPERSION_SECONDS:.3f}",
        "end": f"{at:.3f}",
        "step": f"{step:g}",
    }


def totals_selectors(settings: Settings) -> tuple[str, ...]:
    """Of stable's requests, then of each part of them that is counted."""
    stable = settings.stable
    if not settings.slower_than:
        return stable.requests, stable.bad
    return tuple(with_edges(stable.buckets, (edge,)) for edge in (WHOLE, *settings.slower_than))


def counts(
    requests: Mapping[float, float], part: Mapping[float, float], *, part_is_good: bool
) -> list[tuple[float, float]]:
    """Requests and bad requests per step, from the counters' sums by time.

    A step in which a sum fell or began is (0, 0): neighbours stay neighbours.
    """
    found = []
    for before, after in pairwise(sorted(requests)):
        number = requests[after] - requests[before]
        counted = part.get(after, 0.0) - part.get(before, 0.0)
        whole = (before in part) == (after in part) and number >= 0 and counted >= 0
        bad = number - counted if part_is_good else counted
        found.append((number, max(0.0, bad)) if whole else (0.0, 0.0))
    return found


def rows(body: Mapping[str, Any]) -> list[tuple[dict[str, str], list[tuple[float, float]]]]:
    """Labels and samples of an answer. Raises ValueError, KeyError, TypeError for another kind of answer."""
    data = body["data"]
    if data["resultType"] == "vector":
        found = [(row["metric"], [row["value"]]) for row in data["result"]]
    elif data["resultType"] == "matrix":
        found = [(row["metric"], row["values"]) for row in data["result"]]
    else:
        raise ValueError(f"result type {data['resultType']!r} is not supported")
    return [
        ({str(k): str(v) for k, v in labels.items()}, [(float(at), float(v)) for at, v in samples])
        for labels, samples in found
    ]


def arm_samples(
    asked: Asking,
    answers: Sequence[Sequence[tuple[dict[str, str], list[tuple[float, float]]]]],
    before: Sequence[Sequence[tuple[dict[str, str], list[tuple[float, float]]]]] = (),
) -> ArmSamples:
    """An arm's counters from the answers to its selectors, and to those about further back."""
    looked_up = [dict(_last(found)) for found in before] or [{} for _ in answers]
    if not asked.edges:
        requests, bad = (
            Counter(tuple(series(labels, values) for labels, values in found), last)
            for found, last in zip(answers, looked_up, strict=True)
        )
        return ArmSamples(requests, (bad,))
    by_edge: dict[float, list[Series]] = {edge: [] for edge in (*asked.edges, WHOLE)}
    for labels, values in answers[0]:
        edge = float(labels.get("le", "nan"))
        if edge in by_edge:
            by_edge[edge].append(series(labels, values))
    made = {edge: Counter(tuple(found), looked_up[0]) for edge, found in by_edge.items()}
    return ArmSamples(made[WHOLE], tuple(made[edge] for edge in asked.edges), parts_are_good=True)


def _last(
    found: Sequence[tuple[dict[str, str], list[tuple[float, float]]]],
) -> list[tuple[Labels, float]]:
    return [
        (item.labels, item.samples[-1][1])
        for item in (series(labels, values) for labels, values in found)
        if item.samples
    ]
