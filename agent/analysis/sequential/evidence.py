"""E-processes: how much what was seen speaks against a hypothesis. PURE.

All functions give natural logarithms. Reject at log(1/alpha), whenever it is reached: the chance to ever
reject a true hypothesis is at most alpha. Why: given a stratum's requests the expected factor is at most
exp(p_s·[n_c·R·(a-1) + n_s·(b-1)]) for the true ratio R, and the bracket is 0 at R = r0 and below 0 on the
hypothesis' side, for Poisson and Bernoulli arms whose rate p_s may change with every stratum; so the product
is a supermartingale, means of such products are, and Ville's inequality bounds them.

Dispersion: bad requests that come in bursts of mean-square over mean size phi carry the information of 1/phi
as many, so logarithms are divided by it. That is an approximation, not a theorem.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Final

from agent.analysis.sequential.ladder import ALTERNATIVES, Ladder, Test
from agent.analysis.sequential.likelihood import Comparison, gain

_NEAREST: Final = 1.25
_SPAN: Final = 80.0


def worse(seen: Comparison, ladder: Ladder, dispersion: float = 1.0) -> float:
    """Evidence against "the canary fails at most r0 times as often as stable"."""
    return _evidence(seen, ladder, ladder.worse, dispersion)


def safe(seen: Comparison, ladder: Ladder, dispersion: float = 1.0) -> float:
    """Evidence against "the canary fails at least `tolerance` times as often as stable"."""
    if ladder.safe is None:
        return -math.inf
    return _evidence(seen, ladder, ladder.safe, dispersion)


def at_least(
    seen: Comparison, ladder: Ladder, alpha: float, dispersion: float = 1.0
) -> float | None:
    """Lower end of the confidence sequence of the ratio, None when not even the lowest rung is refuted.

    It lies above the true ratio, at any time whatsoever, with a chance of at most alpha. Read from below, so
    that the first rung at or above the true ratio must be refuted wrongly for that.
    """
    found = None
    limit = math.log(1.0 / alpha)
    for test in ladder.bounds:
        if _evidence(seen, ladder, test, dispersion) < limit:
            break
        found = ladder.points[test.null]
    return found


def above_rate(requests: float, bad: float, rate: float, dispersion: float = 1.0) -> float:
    """Evidence against "at most `rate` of the canary's requests are bad": the absolute guard.

    L = k·log(p/p0) - n·(p - p0), averaged over rates p above p0. It needs totals only.
    """
    factors = [_NEAREST * _SPAN ** (j / (ALTERNATIVES - 1)) for j in range(ALTERNATIVES)]
    logs = [bad * math.log(f) - requests * rate * (f - 1.0) for f in factors]
    return mean([value / dispersion for value in logs])


def mean(logs: Sequence[float]) -> float:
    """Logarithm of the mean of exp(logs). A mean of e-processes is one, however they depend on each other."""
    return _log_sum(logs) - math.log(len(logs))


def _evidence(seen: Comparison, ladder: Ladder, test: Test, dispersion: float) -> float:
    """Alternatives beyond the ladder's end count as 0, which only makes the test more careful."""
    gains = (gain(seen, ladder.points, at, test.null) / dispersion for at in test.alternatives)
    return _log_sum(gains) - math.log(ALTERNATIVES)


def _log_sum(logs: Iterable[float]) -> float:
    values = list(logs)
    top = max(values)
    return top + math.log(sum(math.exp(value - top) for value in values))
