"""A few simulated cells with fixed seeds: a statistic that is not what it should be fails here."""

import pytest

from tests.sequential.rollouts import Scene, better_than, play, wilson, worse_than


@pytest.mark.parametrize(
    ("scene", "r0"),
    [
        (Scene(rate=10, bad=0.01, ratio=1.0), 1.0),
        (Scene(rate=100, bad=0.005, ratio=1.5), 1.5),
    ],
    ids=["equal arms at low traffic", "at the tolerated ratio"],
)
def test_a_canary_within_the_tolerance_fails_at_most_as_often_as_alpha_says(
    scene: Scene, r0: float
) -> None:
    outcome = play(scene, worse_than(r0), 0.05, runs=400, seed=1)
    low, high = wilson(len(outcome.decided), outcome.runs)
    assert high <= 0.05
    # And it is a test: one that never fails anybody would pass the line above.
    assert low > 0


@pytest.mark.parametrize(("ratio", "seconds", "requests"), [(10, 25, 262), (25, 10, 99)])
def test_a_bad_canary_is_seen_as_soon_as_the_method_can(
    ratio: float, seconds: float, requests: float
) -> None:
    scene = Scene(rate=100, bad=0.002, ratio=ratio, weights=(0.1,), minutes=10, drifts=False)
    outcome = play(scene, worse_than(1.0), 0.01, runs=200, seed=1)
    assert outcome.share == 1.0
    assert outcome.quantile(0.5, 0) <= seconds + 5
    assert outcome.quantile(0.5, 1) <= requests + 50


def test_going_on_early_is_wrong_at_most_as_often_as_beta_says() -> None:
    scene = Scene(rate=100, bad=0.002, ratio=3.0, weights=(0.5,), minutes=10, drifts=False)
    outcome = play(scene, better_than(3.0), 0.05, runs=400, seed=1)
    assert wilson(len(outcome.decided), outcome.runs)[1] <= 0.05


def test_bursts_are_answered_by_the_dispersion() -> None:
    scene = Scene(rate=100, bad=0.01, ratio=1.0, bursts=3.0, minutes=10)
    plain = play(scene, worse_than(1.5), 0.01, runs=60, seed=1)
    corrected = play(scene, worse_than(1.5), 0.01, runs=60, seed=1, dispersion=5.0)
    assert plain.share > 0.05
    assert corrected.share <= 0.02
