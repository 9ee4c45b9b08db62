"""I5, crash part: a death at any named point changes neither the weights nor what is announced."""

from collections import Counter
from functools import cache

import pytest

from agent.engine.crash_points import CRASH_POINTS
from tests.simulation.scenario import Result, aborted, straight
from tests.simulation.virtual import run

SEED = 11
ON_THE_WAY_UP = (
    "after-fence", "after-pods-up", "after-selectors", "before-raise", "after-raise", "after-routes-up",
    "after-pods-down", "relay-before-publish", "relay-after-publish", "relay-after-removal",
)  # fmt: skip
IN_AN_ABORT = (
    "abort-before-intent", "abort-after-intent", "abort-after-route", "abort-after-record",
    "relay-before-publish", "relay-after-publish",
)  # fmt: skip


@cache
def undisturbed(kind: str) -> Result:
    """The run in which nothing dies."""
    return run(straight(SEED) if kind == "straight" else aborted(SEED))


def same(disturbed: Result, kind: str) -> None:
    """The same weights in the same order, the same facts announced, each under one id."""
    calm = undisturbed(kind)
    assert calm.violations == []
    assert disturbed.violations == []
    assert disturbed.crashes > 0, "the point was not reached"
    assert disturbed.weights == calm.weights
    assert Counter(disturbed.announced) == Counter(calm.announced)


def names(result: Result) -> list[str]:
    return [str(said[0]) for said in result.announced]


def test_every_point_is_known() -> None:
    assert {*ON_THE_WAY_UP, *IN_AN_ABORT} <= set(CRASH_POINTS)


@pytest.mark.parametrize("time", [1, 2, 4])
@pytest.mark.parametrize("point", ON_THE_WAY_UP)
def test_i5_a_death_on_the_way_up(point: str, time: int) -> None:
    disturbed = run(straight(SEED, crash_at=[(point, time)]))
    if disturbed.crashes or time == 1:
        same(disturbed, "straight")
    else:
        assert disturbed == undisturbed("straight"), "a point that is not reached changes nothing"


@pytest.mark.parametrize("point", IN_AN_ABORT)
def test_a_death_in_an_abort(point: str) -> None:
    disturbed = run(aborted(SEED, crash_at=[(point, 1)]))
    calm = undisturbed("aborted")
    assert disturbed.violations == []
    assert disturbed.crashes == 1
    assert disturbed.weights == calm.weights
    # Whoever ends the rollback knows less of the cause than the process that died, so only what happened counts.
    assert Counter(names(disturbed)) == Counter(names(calm))


@pytest.mark.parametrize("point", ["after-fence", "after-raise", "relay-after-publish"])
def test_one_death_after_the_other(point: str) -> None:
    same(run(straight(SEED, crash_at=[(point, 1)] * 4)), "straight")
