"""The cells: scenes with what is expected of the judge in them. Each prints its table, and gives what missed."""

from collections.abc import Callable
from typing import Final

from tests.sequential.rollouts import (
    Outcome,
    Scene,
    better_than,
    play,
    wilson,
    worse_than,
)

ALPHAS: Final = (0.05, 0.01)
DETECTION: Final = {
    # ratio: (median seconds at r0 1, median canary requests at r0 1, median seconds at r0 1.5)
    2: (890, 8864, None),
    3: (250, 2484, 645),
    5: (85, 824, 140),
    10: (25, 262, 35),
    25: (10, 99, 10),
    100: (5, 50, 5),
}
"""What the method is known to need: 100 requests a second, 10 % canary, 0.2 % bad, alpha 0.01."""
SLACK: Final = 1.1
ENOUGH: Final = 4000
"""Runs from which on the upper bound of a rate is gated; fewer can only refute."""


def null(runs: int, seed: int) -> list[str]:
    """No worse than tolerated: the upper bound of the false-rollback rate is to be at most alpha."""
    print(f"false rollbacks: rate [95 % interval]; gate: {_gate(runs)} <= alpha")
    missed = []
    for rate in (10, 100, 1000):
        for bad in (0.001, 0.005, 0.01):
            for r0, ratio in ((1.0, 1.0), (1.5, 1.5), (1.5, 1.0)):
                for alpha in ALPHAS:
                    scene = Scene(rate=rate, bad=bad, ratio=ratio)
                    outcome = play(scene, worse_than(r0), alpha, runs=runs, seed=seed)
                    told, good = _told(outcome, alpha)
                    cell = f"{rate:4d} rps {bad:5.1%} r0={r0:g} r={ratio:g} alpha={alpha:g}"
                    print(f"  {cell}: {told}", flush=True)
                    if not good:
                        missed.append(cell)
    return missed


def detection(runs: int, seed: int) -> list[str]:
    """Worse: as soon as the method is known to see it, with a tenth of slack for chance."""
    print(
        "detection (100 rps, canary 10 %, 0.2 % bad, alpha 0.01, 30 min): gate: the known medians"
    )
    missed = []
    for r0 in (1.0, 1.5):
        for ratio, (seconds, requests, seconds_at_15) in DETECTION.items():
            scene = Scene(
                rate=100, bad=0.002, ratio=ratio, weights=(0.1,), minutes=30, drifts=False
            )
            outcome = play(scene, worse_than(r0), 0.01, runs=max(100, runs // 10), seed=seed)
            median = [outcome.quantile(0.5, column) for column in range(3)]
            known = seconds if r0 == 1 else seconds_at_15
            good = known is None or median[0] <= known * SLACK + 5
            if r0 == 1:
                good = good and median[1] <= requests * SLACK + 50
            print(
                f"  r0={r0:g} r={ratio:3d}: {outcome.share:6.1%} found, median {median[0]:.0f} s,"
                f" {median[1]:.0f} canary requests, {median[2]:.0f} of them bad;"
                f" P90 {outcome.quantile(0.9, 0):.0f} s, {outcome.quantile(0.9, 1):.0f} requests"
                f" (known: {known} s){'' if good else '  MISSED'}",
                flush=True,
            )
            if not good:
                missed.append(f"detection r0={r0:g} r={ratio}")
    return missed


def bursts(runs: int, seed: int) -> list[str]:
    """Bad requests in bursts break the test's assumption. Reported, with and without the correction."""
    print("bursts of geometric size, mean 3 (dispersion 5), equal arms, alpha 0.01: no gate")
    for r0 in (1.0, 1.5):
        for dispersion in (1.0, 5.0):
            scene = Scene(rate=100, bad=0.01, ratio=1.0, bursts=3.0)
            outcome = play(
                scene,
                worse_than(r0),
                0.01,
                runs=max(100, runs // 4),
                seed=seed,
                dispersion=dispersion,
            )
            told, _ = _told(outcome, 1.0)
            print(f"  r0={r0:g} dispersion {dispersion:g}: {told}", flush=True)
    return []


def safe(runs: int, seed: int) -> list[str]:
    """Going on early: how soon a healthy canary may, and how often one at the tolerance does (gate: beta)."""
    print(f"safe to advance (tolerance 3, 0.2 % bad); gate: {_gate(runs)} <= beta 0.05")
    missed = []
    for rate, share in ((100, 0.1), (100, 0.5), (1000, 0.1)):
        for ratio in (1.0, 3.0):
            scene = Scene(rate=rate, bad=0.002, ratio=ratio, weights=(share,), drifts=False)
            number = runs if ratio == 3 else max(100, runs // 10)
            outcome = play(scene, better_than(3.0), 0.05, runs=number, seed=seed)
            if ratio == 1:
                print(
                    f"  {rate} rps, {share:.0%}: healthy goes on after {outcome.quantile(0.5, 0):.0f} s (median)"
                )
                continue
            told, good = _told(outcome, 0.05)
            print(f"  {rate} rps, {share:.0%}: 3 times as bad goes on: {told}", flush=True)
            if not good:
                missed.append(f"safe {rate} rps {share:.0%}")
    return missed


def _gate(runs: int) -> str:
    return "upper end" if runs >= ENOUGH else "lower end (too few runs for the upper)"


def _told(outcome: Outcome, limit: float) -> tuple[str, bool]:
    """A rate with its interval, and whether it keeps the limit."""
    low, high = wilson(len(outcome.decided), outcome.runs)
    good = (high if outcome.runs >= ENOUGH else low) <= limit
    return f"{outcome.share:.2%} [{low:.2%}, {high:.2%}]{'' if good else '  MISSED'}", good


CELLS: Final[dict[str, Callable[[int, int], list[str]]]] = {
    "null": null,
    "detection": detection,
    "bursts": bursts,
    "safe": safe,
}
