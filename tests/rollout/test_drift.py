"""Weights that somebody else wrote: told once, put down at once, raised again at most once a period."""

from datetime import timedelta

import pytest

from agent.rollout.types import Policy
from tests.rollout import given
from tests.rollout.world import ROUTE, World

PERIOD = Policy(drain_seconds=0, compat="argo", correction_seconds=30)


def paused_at_20(**options: object) -> World:
    world = given.updating([{"setWeight": 20}, {"pause": {}}], policy=PERIOD, **options)
    world.decisions.clear()
    return world


def somebody_sets(world: World, weight: int) -> None:
    world.objects[ROUTE] = {"weight": weight}
    world.settle()


def told(world: World) -> list[tuple[int, int]]:
    """Weights before and after of what was told of others' writes."""
    return [
        (item.data.weights.before, item.data.weights.after)
        for decision in world.decisions
        for item in decision.announce
        if item.transition == "drifted" and item.data.weights is not None
    ]


@pytest.mark.parametrize("state", ["healthy", "aborted", "paused"])
def test_a_raise_by_somebody_else_is_told_once_and_put_down_at_once(state: str) -> None:
    world = given.stable(policy=PERIOD) if state == "healthy" else paused_at_20()
    if state == "aborted":
        given.abort(world)
        world.settle()
    ours = 20 if state == "paused" else 0
    for _ in range(3):
        world.decisions.clear()
        world.objects[ROUTE] = {"weight": 70}
        assert [write.canary_weight for write in world.one_pass().writes] == [ours]
        world.settle()
        assert world.weight == ours
        assert told(world) == [(ours, 70)]
        assert world.announced() == ["drifted"], "it is no step of the rollout's own"


def test_a_lowering_by_somebody_else_is_told_and_mended_once_a_period() -> None:
    world = paused_at_20()
    somebody_sets(world, 5)
    assert world.weight == 20, "the first time at once"
    assert told(world) == [(20, 5)]
    for _ in range(5):
        somebody_sets(world, 5)
        assert world.weight == 5
        assert given.why(world).startswith("somebody else lowered the canary: it is raised again")
        world.after(2)
    assert world.weight == 5
    world.after(30)
    assert world.weight == 20
    assert told(world) == [(20, 5), (20, 5)]
    somebody_sets(world, 5)
    assert world.weight == 5
    world.after(31)
    assert world.weight == 20


def test_a_writer_who_undoes_every_raise_at_once_gets_no_storm_of_them() -> None:
    """A Git agent that heals itself puts the weight back before the step was read back."""
    world = given.stable([{"setWeight": 20}, {"pause": {}}], policy=PERIOD)
    world.set_image("v2")
    raises = 0
    for _ in range(600):
        world.pods_follow()
        before = world.weight
        world.one_pass()
        raises += world.weight > before
        world.objects[ROUTE] = {"weight": 0}
        world.now += timedelta(seconds=0.1)
    assert raises == 3, "one, its correction, and one for the second period of the minute"


def test_what_we_lowered_ourselves_rises_without_waiting() -> None:
    world = paused_at_20()
    somebody_sets(world, 5)
    world.unhealthy.add("v2")
    world.settle()
    assert world.weight == 0
    world.unhealthy.clear()
    world.settle()
    assert world.weight == 20


def test_a_retry_rises_without_waiting() -> None:
    world = paused_at_20()
    somebody_sets(world, 5)
    given.abort(world)
    world.settle()
    given.retry(world)
    world.settle()
    assert world.weight == 20


def test_a_higher_weight_is_no_correction() -> None:
    world = given.updating(
        [{"setWeight": 20}, {"pause": {}}, {"setWeight": 60}, {"pause": {}}], policy=PERIOD
    )
    somebody_sets(world, 5)
    somebody_sets(world, 5)
    assert world.weight == 5
    given.promote(world)
    world.settle()
    assert world.weight == 60


def test_nothing_is_told_of_our_own_weights() -> None:
    world = given.updating(policy=PERIOD)
    given.promote(world)
    world.settle()
    world.after(100)
    assert world.status["phase"] == "Healthy"
    assert told(world) == []


def test_a_note_that_nobody_can_read_holds_nothing_up() -> None:
    world = paused_at_20()
    given.annotate(world, "serinus.dev/raised", "nonsense")
    somebody_sets(world, 5)
    assert world.weight == 20
