"""Simulated rollouts: traffic, errors, incidents, a ladder of weights; judged by the shipped test, stratum by stratum."""

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from agent.analysis.sequential import evidence
from agent.analysis.sequential.ladder import Ladder, Test, ladder
from agent.analysis.sequential.likelihood import Comparison, Stratum, add, empty

LOOK_SECONDS: Final = 5.0
MINUTES: Final = 25
LADDER: Final = (0.05, 0.1, 0.2, 0.35, 0.5)
INCIDENT: Final = 6.0
"""How many times as often both arms fail during a joint incident of two minutes."""


@dataclass(frozen=True)
class Scene:
    """One kind of rollout.

    Attributes:
        rate: requests a second, both arms together.
        bad: chance of a bad request of stable.
        ratio: of the canary's chance to stable's.
        weights: the canary's shares, in equal parts of the time.
        bursts: mean size of geometric bursts of bad requests; 1 for independent ones.
        drifts: traffic is sinusoidal, and there is a joint incident.
    """

    rate: float
    bad: float
    ratio: float
    weights: Sequence[float] = LADDER
    minutes: float = MINUTES
    bursts: float = 1.0
    drifts: bool = True


@dataclass
class Outcome:
    """Where runs of a scene ended: seconds, canary requests and bad requests of users at the decision."""

    runs: int = 0
    decided: list[tuple[float, float, float]] = field(default_factory=list)

    @property
    def share(self) -> float:
        return len(self.decided) / self.runs

    def quantile(self, part: float, column: int) -> float:
        """Of all runs; those without a decision never decide."""
        values = sorted(row[column] for row in self.decided)
        at = math.ceil(part * self.runs) - 1
        return values[at] if at < len(values) else math.inf


def wilson(hits: int, runs: int, z: float = 1.959964) -> tuple[float, float]:
    """95 % interval of a chance."""
    share = hits / runs
    middle = (share + z * z / (2 * runs)) / (1 + z * z / runs)
    half = (
        z * math.sqrt(share * (1 - share) / runs + z * z / (4 * runs * runs)) / (1 + z * z / runs)
    )
    return max(0.0, middle - half), min(1.0, middle + half)


def thin(rungs: Ladder, test: Test) -> Ladder:
    """A ladder with the rungs of one test only: the same test, several times as fast."""
    points = tuple(rungs.points[at] for at in (test.null, *test.alternatives))
    own = Test(0, tuple(range(1, len(points))))
    return Ladder(points, own, (own,), own)


def worse_than(r0: float) -> Ladder:
    """The test of "at most r0 times as often"."""
    rungs = ladder(r0, None)
    return thin(rungs, rungs.worse)


def better_than(tolerance: float) -> Ladder:
    """The test of "at least so many times as often"; `worse` of this ladder is its safe-to-advance test."""
    rungs = ladder(1.0, tolerance)
    assert rungs.safe is not None
    return thin(rungs, rungs.safe)


def strata(scene: Scene, rng: random.Random) -> Iterator[Stratum]:
    """What each look of a run counts."""
    steps = round(scene.minutes * 60 / LOOK_SECONDS)
    incident = rng.uniform(0.1, 0.8) * steps
    phase = rng.uniform(0, 2 * math.pi)
    for step in range(steps):
        share = scene.weights[step * len(scene.weights) // steps]
        rate, bad = scene.rate, scene.bad
        if scene.drifts:
            rate *= 1 + 0.5 * math.sin(phase + 2 * math.pi * step / 120)
            if 0 <= step - incident < 120 / LOOK_SECONDS:
                bad *= INCIDENT
        canary = _count(rng, rate * share * LOOK_SECONDS)
        stable = _count(rng, rate * (1 - share) * LOOK_SECONDS)
        yield Stratum(
            canary,
            _bad(rng, canary, min(1.0, bad * scene.ratio), scene.bursts),
            stable,
            _bad(rng, stable, bad, scene.bursts),
        )


def judge(
    scene: Scene,
    rungs: Ladder,
    alpha: float,
    rng: random.Random,
    *,
    dispersion: float = 1.0,
    log_evidence: Callable[[Comparison, Ladder, float], float] = evidence.worse,
) -> tuple[float, float, float] | None:
    """Where a run is decided; None when it is not."""
    seen, limit = empty(rungs.points), math.log(1 / alpha)
    requests = 0.0
    for number, stratum in enumerate(strata(scene, rng), start=1):
        requests += stratum.canary_requests
        if not stratum.canary_bad + stratum.stable_bad:
            continue
        seen = add(seen, rungs.points, stratum)
        if log_evidence(seen, rungs, dispersion) >= limit:
            return number * LOOK_SECONDS, requests, seen.canary_bad
    return None


def play(
    scene: Scene, rungs: Ladder, alpha: float, *, runs: int, seed: int, dispersion: float = 1.0
) -> Outcome:
    """Many runs of a scene. The same seed plays the same runs."""
    outcome = Outcome(runs)
    for run in range(runs):
        rng = random.Random(f"{seed} {scene} {run}")
        found = judge(scene, rungs, alpha, rng, dispersion=dispersion)
        if found is not None:
            outcome.decided.append(found)
    return outcome


def _count(rng: random.Random, mean: float) -> float:
    """Poisson requests; large numbers by their normal limit, for evidence is given them, whatever they are."""
    if mean > 30:
        return float(max(0, round(rng.gauss(mean, math.sqrt(mean)))))
    return float(_poisson(rng, mean))


def _poisson(rng: random.Random, mean: float) -> int:
    limit, product, count = math.exp(-mean), rng.random(), 0
    while product > limit:
        product *= rng.random()
        count += 1
    return count


def _bad(rng: random.Random, requests: float, chance: float, bursts: float) -> float:
    """Exactly binomial, by the gaps between bad ones; or Poisson bursts of geometric size."""
    if bursts > 1:
        number = _poisson(rng, requests * chance / bursts)
        stop = math.log(1 - 1 / bursts)
        sizes = sum(1 + int(math.log(1 - rng.random()) / stop) for _ in range(number))
        return float(min(requests, sizes))
    if chance >= 1:
        return requests
    found, at, stop = 0, -1, math.log1p(-chance)
    while True:
        at += 1 + int(math.log(1 - rng.random()) / stop)
        if at >= requests:
            return float(found)
        found += 1
