"""The likelihood of the ratio of two arms' rates of bad requests, and what a stratum adds to it. PURE.

With n_c and n_s requests and rates p_c = r·p_s, a bad request is one of the canary's with probability
q·r / (q·r + 1 - q), q = n_c / (n_c + n_s), whatever p_s is. So, up to a constant, the log-likelihood of r is

    G(r) = k_c·log r - Σ (k_c + k_s)·log(1 + q·(r - 1))        summed over strata

and G(r) - G(r0) is the logarithm of the test's factor a_r^k_c · b_r^k_s (two Poisson or Bernoulli arms with
rates that drift jointly). Strata are what keeps joint incidents and changing weights out of the comparison:
sums over strata compare like with like, a comparison of sums would not (Simpson's paradox).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import msgspec


class Stratum(NamedTuple):
    """Requests and bad requests of both arms in one scrape interval."""

    canary_requests: float
    canary_bad: float
    stable_requests: float
    stable_bad: float


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the judge knows about one kind of bad request. Sums only: the order of strata is forgotten.

    Attributes:
        canary_bad, stable_bad: totals.
        sums: Σ (k_c + k_s)·log(1 + q·(r - 1)) for every r of the ladder.
        canary_weighed, stable_weighed: Σ k_c·n_s/n and Σ k_s·n_c/n; their quotient is the ratio, compared
            within strata (Mantel and Haenszel).
    """

    canary_bad: float = 0.0
    stable_bad: float = 0.0
    sums: tuple[float, ...] = ()
    canary_weighed: float = 0.0
    stable_weighed: float = 0.0

    @property
    def ratio(self) -> float | None:
        """How many times as often the canary fails; None without a bad request of stable to compare with."""
        return self.canary_weighed / self.stable_weighed if self.stable_weighed else None


def empty(points: Sequence[float]) -> Comparison:
    """Nothing seen yet."""
    return Comparison(sums=(0.0,) * len(points))


def add(seen: Comparison, points: Sequence[float], stratum: Stratum) -> Comparison:
    """What is known after one more stratum.

    More bad requests than requests cannot be (two queries that are answered from different scrapes): they
    count as that many requests.
    """
    canary_requests = max(stratum.canary_requests, stratum.canary_bad)
    stable_requests = max(stratum.stable_requests, stratum.stable_bad)
    bad = stratum.canary_bad + stratum.stable_bad
    if not bad:
        return seen
    requests = canary_requests + stable_requests
    share = canary_requests / requests
    return Comparison(
        canary_bad=seen.canary_bad + stratum.canary_bad,
        stable_bad=seen.stable_bad + stratum.stable_bad,
        sums=tuple(
            total + bad * math.log1p(share * (point - 1.0))
            for total, point in zip(seen.sums, points, strict=True)
        ),
        canary_weighed=seen.canary_weighed + stratum.canary_bad * stable_requests / requests,
        stable_weighed=seen.stable_weighed + stratum.stable_bad * canary_requests / requests,
    )


def merge(one: Comparison, other: Comparison) -> Comparison:
    """What is known from both, which must have seen different strata."""
    return Comparison(
        canary_bad=one.canary_bad + other.canary_bad,
        stable_bad=one.stable_bad + other.stable_bad,
        sums=tuple(a + b for a, b in zip(one.sums, other.sums, strict=True)),
        canary_weighed=one.canary_weighed + other.canary_weighed,
        stable_weighed=one.stable_weighed + other.stable_weighed,
    )


def gain(seen: Comparison, points: Sequence[float], at: int, null: int) -> float:
    """G(points[at]) - G(points[null]): how much better one ratio explains what was seen than another."""
    grown = seen.canary_bad * math.log(points[at] / points[null])
    return grown - (seen.sums[at] - seen.sums[null])
