"""What the judge says, and the numbers it gives with it. PURE."""

import math
from typing import Final

from agent.analysis.sequential import evidence
from agent.analysis.sequential.ladder import ladder
from agent.analysis.sequential.likelihood import Comparison
from agent.analysis.sequential.settings import Settings
from agent.analysis.sequential.state import State

_LARGEST_LOG: Final = math.log(1e9)


def what_fails(settings: Settings, at: int) -> str:
    """`fails`, or for latency `is slower than 250`."""
    return f"is slower than {settings.slower_than[at]:g}" if settings.slower_than else "fails"


def comparison_words(state: State, settings: Settings, at: int) -> str:
    """`canary fails 4.1× as often as stable, at least 1.8× with 99 % certainty, after 341 requests`."""
    seen = state.comparisons[at]
    verb = what_fails(settings, at)
    after = f"after {_count(state.canary_requests)} requests"
    if seen.ratio is None:
        words = (
            f"canary {verb} in {_count(seen.canary_bad)} of {_count(state.canary_requests)} requests,"
            f" stable in {_count(seen.stable_bad)} of {_count(state.stable_requests)}"
        )
    else:
        words = f"canary {verb} {_times(seen.ratio)} as often as stable"
    least = bound(state, settings, seen)
    if least is not None:
        words += f", at least {_times(least)} with {_percent(1 - settings.alpha)} certainty"
    return words if seen.ratio is None else f"{words}, {after}"


def bound(state: State, settings: Settings, seen: Comparison) -> float | None:
    """Lower end of the confidence sequence of the ratio; None when nothing is known."""
    rungs = ladder(settings.r0, settings.tolerance)
    return evidence.at_least(seen, rungs, settings.alpha, state.dispersion)


def guard_words(state: State, settings: Settings) -> str:
    """`canary fails in 9 % of 341 requests, more than 5 %`."""
    rate = settings.guard.rate if settings.guard else 0.0
    bad = state.comparisons[0].canary_bad / state.canary_requests if state.canary_requests else 0.0
    return (
        f"canary {what_fails(settings, 0)} in {_percent(bad)} of {_count(state.canary_requests)} requests,"
        f" more than {_percent(rate)} with {_percent(1 - settings.alpha)} certainty"
    )


def odds(log_evidence: float) -> str:
    """Evidence as odds, `1:240`; below 1:1 there is none."""
    return "none" if log_evidence <= 0 else f"1:{number(size(log_evidence))}"


def size(log_evidence: float) -> float:
    """Evidence as a number, which is cut where more would tell nobody more."""
    return math.exp(min(log_evidence, _LARGEST_LOG))


def number(value: float) -> str:
    """Four digits, without an exponent where people read it."""
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value:.0f}"


def _times(ratio: float) -> str:
    return f"{ratio:.1f}×" if ratio < 100 else f"{ratio:.0f}×"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _count(value: float) -> str:
    return f"{value:.0f}"
