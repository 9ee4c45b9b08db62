"""Do the requests themselves show the canary's weight? Counters of two moments, judged against it. PURE.

What an object says is what was asked for; what the proxies do shows in their counters. Missing data never confirms.
"""

from collections.abc import Iterable, Mapping
from math import isfinite, sqrt
from typing import Any, Final, Literal

import msgspec

LIMIT: Final = 4.0
"""Standard deviations: a split that is in force is further off in 6 of 100,000 looks, which are looked at again."""
EDGE: Final = 0.001
"""At weight 100 a request in a thousand may still be under way to the other version."""


State = Literal["confirmed", "few", "off", "absent"]


class Counts(msgspec.Struct, frozen=True):
    """Requests since some beginning: of the canary, and of canary and stable together."""

    canary: float
    total: float


class Shown(msgspec.Struct, frozen=True):
    """What the requests show. `few`: too few to tell; `off`: another share; `absent`: no counters."""

    state: State
    text: str = ""


def counts(vector: Any, names: Iterable[str]) -> Counts | None:
    """The counters of a Prometheus vector, one or more series a version; None without usable data.

    Args:
        names: a series with one of these as the value of a label is the canary's.
    """
    known = {name for name in names if name}
    canary = total = 0.0
    if not isinstance(vector, list) or not vector:
        return None
    for series in vector:
        try:
            labels, value = series["metric"], float(series["value"][1])
        except (KeyError, TypeError, ValueError, IndexError):
            return None
        if not isinstance(labels, Mapping) or not isfinite(value) or value < 0:
            return None
        total += value
        canary += value if known.intersection(map(str, labels.values())) else 0.0
    return Counts(canary, total)


def judge(before: Counts, now: Counts, weight: int, least: int) -> Shown:
    """Whether the requests between two moments were split by `weight` (1..100), of at least `least`.

    Counters that fell have begun anew: there is nothing between the two then.
    """
    total, hits = now.total - before.total, now.canary - before.canary
    if total < least or hits < 0 or hits > total:
        return Shown("few", f"{max(0, round(total))} of {least} requests were seen")
    share = min(weight / 100, 1 - EDGE)
    deviation = (hits - total * share) / sqrt(total * share * (1 - share))
    what = f"the canary got {100 * hits / total:.1f} % of {round(total)} requests"
    # Above 100 % there is nothing, so that at the edge only too few are off.
    off = deviation < -LIMIT or (deviation > LIMIT and weight < 100)
    return Shown("off" if off else "confirmed", what)
