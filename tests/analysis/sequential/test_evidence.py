"""The test statistic: golden vectors, exact expectations under the null, order, merging, bounds."""

import math
import random
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.analysis.sequential import evidence
from agent.analysis.sequential.dispersion import dispersion
from agent.analysis.sequential.ladder import Ladder, ladder
from agent.analysis.sequential.likelihood import Comparison, Stratum, add, empty, merge

SCRAPES = [(50, 0, 450, 1), (50, 2, 450, 1), (50, 3, 450, 0), (100, 4, 400, 1)]


def seen(rungs: Ladder, strata: Sequence[tuple[float, float, float, float]]) -> Comparison:
    found = empty(rungs.points)
    for stratum in strata:
        found = add(found, rungs.points, Stratum(*stratum))
    return found


@pytest.mark.parametrize(
    ("r0", "logs"),
    [
        (1.0, [-0.667278, 1.434587, 6.714529, 10.660011]),
        (1.5, [-0.783924, 0.794613, 5.062093, 7.841667]),
    ],
)
def test_golden_vectors(r0: float, logs: list[float]) -> None:
    rungs = ladder(r0, None)
    got = [evidence.worse(seen(rungs, SCRAPES[: n + 1]), rungs) for n in range(4)]
    assert got == pytest.approx(logs, abs=1e-6)
    assert [value >= math.log(100) for value in got] == [False, False, True, True]


def test_it_is_the_product_of_the_factors_that_the_method_gives() -> None:
    """L_r += k_c·log a_r + k_s·log b_r, written out."""
    r0 = 1.5
    grid = [r0 * 1.25 * 80 ** (j / 15) for j in range(16)]
    total = 0.0
    for r in grid:
        log = 0.0
        for n_c, k_c, n_s, k_s in SCRAPES:
            d0, d_r = n_c * r0 + n_s, n_c * r + n_s
            log += k_c * math.log(r / r0 * d0 / d_r) + k_s * math.log(d0 / d_r)
        total += math.exp(log) / 16
    rungs = ladder(r0, 3.0)
    assert evidence.worse(seen(rungs, SCRAPES), rungs) == pytest.approx(math.log(total), abs=1e-9)


def binomial(n: int, p: float) -> list[float]:
    return [math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]


def expected(
    log: Callable[[Comparison, Ladder], float],
    rungs: Ladder,
    counts: tuple[int, int],
    rates: tuple[float, float],
) -> float:
    """Expectation of the factor of one stratum, summed over every outcome."""
    (n_c, n_s), (p_c, p_s) = counts, rates
    return sum(
        pc * ps * math.exp(log(seen(rungs, [(n_c, k_c, n_s, k_s)]), rungs))
        for k_c, pc in enumerate(binomial(n_c, p_c))
        for k_s, ps in enumerate(binomial(n_s, p_s))
    )


requests = st.integers(1, 9)
rates = st.floats(0.001, 0.5)
tolerated = st.floats(0.2, 5.0)
within = st.floats(0.0, 1.0)


@settings(max_examples=60, deadline=None)
@given(requests, requests, rates, tolerated, within)
def test_no_stratum_is_expected_to_add_evidence_against_a_canary_within_the_tolerance(
    n_c: int, n_s: int, p_s: float, r0: float, part: float
) -> None:
    p_c = min(1.0, r0 * part * p_s)
    got = expected(evidence.worse, ladder(r0, None), (n_c, n_s), (p_c, p_s))
    assert got <= 1 + 1e-9


@settings(max_examples=60, deadline=None)
@given(requests, requests, rates, tolerated, st.floats(1.0, 4.0))
def test_no_stratum_is_expected_to_speak_for_a_canary_beyond_the_tolerance(
    n_c: int, n_s: int, p_s: float, tolerance: float, times: float
) -> None:
    p_c = tolerance * times * p_s
    if p_c <= 1:
        got = expected(evidence.safe, ladder(0.2, tolerance), (n_c, n_s), (p_c, p_s))
        assert got <= 1 + 1e-9


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.floats(0.001, 0.5), within)
def test_no_stratum_is_expected_to_speak_for_the_guard_below_its_rate(
    n: int, rate: float, part: float
) -> None:
    got = sum(
        chance * math.exp(evidence.above_rate(n, k, rate))
        for k, chance in enumerate(binomial(n, rate * part))
    )
    assert got <= 1 + 1e-9


@settings(max_examples=25, deadline=None)
@given(requests, requests, rates, st.integers(0, 32))
def test_every_rung_of_the_bound_is_a_test_of_its_own(
    n_c: int, n_s: int, p_s: float, rung: int
) -> None:
    rungs = ladder(1.0, None)
    test = rungs.bounds[rung]
    own = rungs._replace(worse=test)
    p_c = min(1.0, rungs.points[test.null] * p_s)
    assert expected(evidence.worse, own, (n_c, n_s), (p_c, p_s)) <= 1 + 1e-9


def test_the_expectation_is_not_met_by_a_canary_that_is_worse() -> None:
    """The bounds above would also hold for evidence that never grows."""
    assert expected(evidence.worse, ladder(1.0, None), (9, 9), (0.4, 0.1)) > 1.2
    assert expected(evidence.safe, ladder(1.0, 3.0), (9, 9), (0.1, 0.1)) > 1.2


strata = st.lists(
    st.tuples(st.integers(1, 500), st.integers(0, 20), st.integers(1, 500), st.integers(0, 20)),
    min_size=1,
    max_size=12,
)


@given(strata, st.randoms(use_true_random=False), st.integers(0, 12))
def test_order_does_not_matter_and_merging_is_concatenation(
    found: list[tuple[int, int, int, int]], rng: random.Random, cut: int
) -> None:
    rungs = ladder(1.5, 3.0)
    whole = seen(rungs, found)
    shuffled = list(found)
    rng.shuffle(shuffled)
    for other in (
        seen(rungs, shuffled),
        merge(seen(rungs, found[:cut]), seen(rungs, found[cut:])),
    ):
        assert other.sums == pytest.approx(whole.sums)
        assert evidence.worse(other, rungs) == pytest.approx(evidence.worse(whole, rungs))
        assert evidence.safe(other, rungs) == pytest.approx(evidence.safe(whole, rungs))


@pytest.mark.parametrize(
    "stratum", [(50, 0, 450, 0), (0, 0, 450, 3), (50, 9, 0, 0), (0, 0, 0, 0)],
    ids=["nothing bad", "no canary", "no stable", "no traffic"],
)  # fmt: skip
def test_what_cannot_be_compared_is_no_evidence(stratum: tuple[int, int, int, int]) -> None:
    rungs = ladder(1.5, 3.0)
    got = seen(rungs, [stratum])
    assert evidence.worse(got, rungs) == pytest.approx(0.0)
    assert evidence.safe(got, rungs) == pytest.approx(0.0)


def test_a_joint_incident_while_weights_change_is_no_evidence() -> None:
    """Simpson's paradox: the canary got most of its requests when everything failed."""
    incident = [(50, 0, 950, 1)] * 20 + [(500, 60, 500, 60)] * 20
    rungs = ladder(1.0, 3.0)
    got = seen(rungs, incident)
    pooled = (got.canary_bad / (20 * 550)) / (got.stable_bad / (20 * 1450))
    assert pooled > 2
    assert got.ratio == pytest.approx(1.0, abs=0.02)
    assert evidence.worse(got, rungs) < 0


def test_canary_errors_that_suffice_without_one_of_stable() -> None:
    """With 1, 5, 10, 20, 50 % of the traffic, at alpha 0.01."""
    for r0, wanted in ((1.0, [2, 3, 3, 4, 8]), (1.5, [2, 3, 3, 5, 11])):
        rungs = ladder(r0, None)
        needed = []
        for share in (1, 5, 10, 20, 50):
            found, errors = empty(rungs.points), 0
            while evidence.worse(found, rungs) < math.log(100):
                errors += 1
                found = add(found, rungs.points, Stratum(share, 1, 100 - share, 0))
            needed.append(errors)
        assert needed == wanted


@given(strata)
def test_the_bound_says_no_more_than_the_decision(found: list[tuple[int, int, int, int]]) -> None:
    rungs = ladder(1.5, 3.0)
    got = seen(rungs, found)
    least = evidence.at_least(got, rungs, 0.01)
    crossed = evidence.worse(got, rungs) >= math.log(100)
    refuted = least is not None and least >= 1.5 * (1 - 1e-9)
    assert not refuted or crossed


def test_the_bound_comes_closer_with_more_requests() -> None:
    rungs = ladder(1.0, None)
    bounds = [
        evidence.at_least(seen(rungs, [(100, 4, 900, 9)] * n), rungs, 0.01) for n in (1, 20, 400)
    ]
    assert bounds[0] is None or bounds[0] < 1
    assert bounds[1] is not None
    assert bounds[2] is not None
    assert 1 < bounds[1] < bounds[2] < 4


def poisson(rng: random.Random, mean: float) -> int:
    limit, product, count = math.exp(-mean), rng.random(), 0
    while product > limit:
        product *= rng.random()
        count += 1
    return count


@pytest.mark.parametrize("wave", [1.0, 6.0], ids=["steady", "drifting"])
def test_bursts_are_measured_by_how_they_scatter(wave: float) -> None:
    """Geometric bursts of mean 3 have E[S²]/E[S] = 5, however the rate drifts."""
    rng = random.Random(7)

    def counts(*, bursts: bool) -> list[tuple[float, float]]:
        found = []
        for step in range(4000):
            number = poisson(rng, 1 + wave * (1 + math.sin(step / 300)))
            sizes = [1 + int(math.log(rng.random()) / math.log(2 / 3)) for _ in range(number)]
            found.append((1000.0, float(sum(sizes) if bursts else number)))
        return found

    assert dispersion(counts(bursts=True)) == pytest.approx(5.0, rel=0.15)
    assert dispersion(counts(bursts=False)) == pytest.approx(1.0, rel=0.1)


def test_too_little_says_nothing_about_bursts() -> None:
    assert dispersion([(100.0, 1.0)] * 10) is None
    assert dispersion([]) is None
    assert dispersion([(100.0, 3.0)] * 16) == 1.0
