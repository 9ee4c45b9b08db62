"""What the judge decides, stratum by stratum. PURE."""

import math
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

import msgspec
from msgspec.structs import replace

from agent.analysis.sequential import evidence, words
from agent.analysis.sequential.ladder import ladder
from agent.analysis.sequential.likelihood import Stratum, add, empty
from agent.analysis.sequential.settings import Settings
from agent.analysis.sequential.state import State

Decided = Literal["worse", "safe", ""]
WAITS_FOR_TRAFFIC: Final = "waits for requests of canary"
WAITS_FOR_STABLE: Final = "waits for requests of stable to compare with"


class Counted(NamedTuple):
    """One stratum as it was counted.

    Attributes:
        end: Unix seconds.
        canary_requests, stable_requests: in it.
        bad: (canary, stable) for every comparison.
    """

    end: float
    canary_requests: float
    stable_requests: float
    bad: tuple[tuple[float, float], ...]


class Evidence(NamedTuple):
    """Natural logarithms.

    Attributes:
        worse: mean of all tests against "no worse than tolerated"; the one that decides.
        comparisons: each kind of bad request by itself.
        guard: the absolute guard; None without one.
        safe: the weakest of the safe-to-advance tests.
    """

    worse: float
    comparisons: tuple[float, ...]
    guard: float | None
    safe: float


def begin(settings: Settings, now: float) -> State:
    """The state before the first look; `now` is in Unix seconds."""
    points = ladder(settings.r0, settings.tolerance).points
    known = settings.dispersion
    return State(
        first=now,
        comparisons=(empty(points),) * settings.comparisons,
        dispersion=1.0 if known == "auto" else known,
    )


def weigh(state: State, settings: Settings) -> Evidence:
    """The evidence so far."""
    rungs = ladder(settings.r0, settings.tolerance)
    each = tuple(evidence.worse(c, rungs, state.dispersion) for c in state.comparisons)
    guard = None
    if settings.guard is not None:
        bad = state.comparisons[0].canary_bad
        guard = evidence.above_rate(
            state.canary_requests, bad, settings.guard.rate, state.dispersion
        )
    return Evidence(
        worse=evidence.mean([*each, *(() if guard is None else (guard,))]),
        comparisons=each,
        guard=guard,
        safe=min(evidence.safe(c, rungs, state.dispersion) for c in state.comparisons),
    )


def decide(state: State, settings: Settings) -> Decided:
    """Whether the evidence is in. Being worse comes before being safe."""
    found = weigh(state, settings)
    if found.worse >= math.log(1.0 / settings.alpha):
        return "worse"
    safe = settings.safe_to_advance
    if (
        safe is not None
        and found.safe >= math.log(1.0 / safe.beta)
        and state.canary_requests >= safe.min_requests
    ):
        return "safe"
    return ""


def grow(
    state: State, settings: Settings, strata: Sequence[Counted], *, ends_early: bool
) -> tuple[State, Decided]:
    """The state after these strata, in their order, up to the one that brings the decision.

    Strata that end at or before `state.since` were counted already, and change nothing.

    Args:
        ends_early: whether being safe ends the judge; if not it goes on watching.
    """
    points = ladder(settings.r0, settings.tolerance).points
    for stratum in sorted(strata):
        if stratum.end <= state.since:
            continue
        state = replace(
            state,
            since=stratum.end,
            canary_requests=state.canary_requests + stratum.canary_requests,
            stable_requests=state.stable_requests + stratum.stable_requests,
            comparisons=tuple(
                add(
                    seen,
                    points,
                    Stratum(stratum.canary_requests, bad, stratum.stable_requests, stable_bad),
                )
                for seen, (bad, stable_bad) in zip(state.comparisons, stratum.bad, strict=True)
            ),
        )
        decided = decide(state, settings)
        if decided == "worse" or (decided == "safe" and ends_early):
            return state, decided
    return state, ""


def phase_at_end(state: State, settings: Settings) -> str:
    """The verdict when the looks are used up. Where nothing could be compared there is no success."""
    compared = state.canary_requests > 0 and state.stable_requests > 0
    least = settings.safe_to_advance.min_requests if settings.safe_to_advance else 0.0
    if settings.at_end == "successful" and compared and state.canary_requests >= least:
        return "Successful"
    return "Inconclusive"


def sentence(state: State, settings: Settings, decided: Decided) -> str:
    """What is to be said about the evidence, for people."""
    if not state.canary_requests:
        return WAITS_FOR_TRAFFIC
    found = weigh(state, settings)
    strongest = max(range(len(found.comparisons)), key=found.comparisons.__getitem__)
    told = words.comparison_words(state, settings, strongest)
    if (
        found.guard is not None
        and found.guard > found.comparisons[strongest]
        and decided == "worse"
    ):
        told = words.guard_words(state, settings)
    if decided == "worse":
        return told
    if decided == "safe" and settings.safe_to_advance:
        safe = settings.safe_to_advance
        return (
            f"{told}; that it fails {safe.ratio:g}× as often is refuted"
            f" with {100 * (1 - safe.beta):.3g} % certainty"
        )
    if not state.stable_requests:
        return f"{told}; {WAITS_FOR_STABLE}"
    return (
        f"{told}; evidence that it fails more than {settings.r0:g}× as often:"
        f" {words.odds(found.worse)} (a verdict at 1:{1 / settings.alpha:.4g})"
    )


def numbers(state: State, settings: Settings) -> dict[str, str]:
    """The numbers behind the sentence, as texts: what a measurement's metadata can hold."""
    found = weigh(state, settings)
    at = max(range(len(found.comparisons)), key=found.comparisons.__getitem__)
    seen = state.comparisons[at]
    least = words.bound(state, settings, seen)
    told: dict[str, float | None] = {
        "ratio": seen.ratio,
        "ratioAtLeast": least,
        "evidence": words.size(found.worse),
        "r0": settings.r0,
        "alpha": settings.alpha,
        "canaryRequests": state.canary_requests,
        "canaryBad": seen.canary_bad,
        "stableRequests": state.stable_requests,
        "stableBad": seen.stable_bad,
        "slowerThan": settings.slower_than[at] if settings.slower_than else None,
        "guardEvidence": None if found.guard is None else words.size(found.guard),
        "guardRate": settings.guard.rate if settings.guard else None,
        "safeEvidence": words.size(found.safe) if settings.safe_to_advance else None,
        "dispersion": state.dispersion if state.dispersion != 1.0 else None,
    }
    return {name: words.number(value) for name, value in told.items() if value is not None}


def value_text(state: State, settings: Settings) -> str:
    """The measurement's value: what is worth a line in a chart, as JSON."""
    told = numbers(state, settings)
    kept = ("ratio", "ratioAtLeast", "evidence", "canaryRequests")
    return msgspec.json.encode({name: float(told[name]) for name in kept if name in told}).decode()
