"""Holds, freezes and routers that refuse: what keeps a rollout where it is."""

from collections.abc import Sequence
from typing import Any

import pytest

from agent.api import names
from agent.api.rollout import Rollout
from agent.rollout.decide import decide
from agent.rollout.types import Policy
from agent.traffic.types import Desired, FieldError, RouteObjects, RoutePlan
from tests.rollout import given
from tests.rollout.world import ROUTERS, RecordingRouter, World

STEPS: Sequence[dict[str, Any]] = (
    {"setWeight": 20},
    {"pause": {"duration": 60}},
    {"setWeight": 60},
    {"pause": {}},
)


def _held() -> World:
    world = given.updating(STEPS)
    given.hold(world)
    world.settle()
    return world


def test_a_hold_is_a_pause_with_a_reason_and_nothing_is_raised() -> None:
    world = _held()
    assert names.PAUSE_HOLD in given.reasons(world)
    assert "held by HighErrors" in given.why(world)
    world.after(1000)
    assert (world.weight, world.status["currentStepIndex"]) == (20, 1)
    assert world.announced().count("held") == 1


def test_a_released_rollout_goes_on() -> None:
    world = _held()
    world.after(100)
    given.release(world)
    world.settle()
    assert world.announced().count("released") == 1
    assert (world.weight, world.status["currentStepIndex"]) == (60, 3)


def test_a_person_who_promotes_over_a_hold_is_on_record() -> None:
    world = _held()
    world.after(100)
    given.promote(world)
    world.settle()
    assert names.HOLDS not in world.rollout["metadata"]["annotations"]
    assert world.announced().count("released") == 1
    assert (world.weight, given.reasons(world)) == (60, [names.PAUSE_STEP])


@pytest.mark.parametrize(
    "first",
    [{"setWeight": 20}, {"analysis": given.ANALYSIS}],
    ids=["a weight", "an analysis"],
)
def test_promoting_over_a_hold_does_not_end_the_next_pause(first: dict[str, object]) -> None:
    world = given.stable([first, {"pause": {}}, {"setWeight": 60}, {"pause": {}}])
    given.hold(world)
    world.set_image("v2")
    world.settle()
    assert given.reasons(world) == [names.PAUSE_HOLD]
    assert world.weight == 0
    given.promote(world)
    world.settle()
    world.analysis("Successful")
    world.settle()
    assert (world.status["currentStepIndex"], given.reasons(world)) == (1, [names.PAUSE_STEP])
    assert world.announced().count("released") == 1


def test_promote_over_a_hold_and_an_inconclusive_run_ends_both() -> None:
    world = given.updating([{"analysis": given.ANALYSIS}, {"setWeight": 20}, {"pause": {}}])
    world.analysis("Inconclusive")
    world.settle()
    given.hold(world)
    world.settle()
    world.patch({"status": {"pauseConditions": None}})
    world.settle()
    assert given.reasons(world) == []
    assert names.HOLDS not in world.rollout["metadata"]["annotations"]


@pytest.mark.parametrize("what", ["promote full", "retry", "another revision"])
def test_a_hold_stands_against_every_raise(what: str) -> None:
    world = given.updating(STEPS)
    if what == "retry":
        given.abort(world)
        world.settle()
    before = world.weight
    given.hold(world)
    if what == "promote full":
        given.promote_full(world)
    elif what == "retry":
        given.retry(world)
    else:
        world.set_image("v3")
    world.settle()
    world.after(1000)
    assert world.weight <= before
    assert world.status["stableRS"] != world.status["currentPodHash"]
    assert "held by" in given.why(world)
    given.release(world)
    world.settle()
    world.after(100)
    assert world.weight == 60 or world.status["phase"] == "Healthy"


def test_an_abort_works_while_held() -> None:
    world = _held()
    given.abort(world)
    world.settle()
    assert (world.weight, given.reasons(world)) == (0, [])
    assert world.announced().count("aborted") == 1
    assert "released" not in world.announced()


def test_a_hold_that_lasts_too_long_becomes_a_wait_for_a_person_once() -> None:
    world = _held()
    world.after(1799)
    assert names.PAUSE_HOLD_TIMED_OUT not in given.reasons(world)
    world.after(2)
    world.after(5000)
    assert names.PAUSE_HOLD_TIMED_OUT in given.reasons(world)
    assert world.announced().count("held") == 2
    assert "waits for a person" in given.why(world)
    given.release(world)
    world.settle()
    world.after(100)
    assert world.weight == 20, "the alert's end is no decision of a person"
    given.promote(world)
    world.settle()
    assert (world.weight, given.reasons(world)) == (60, [names.PAUSE_STEP])
    assert world.announced().count("resumed") == 1


def test_a_stable_rollout_is_not_held() -> None:
    world = given.stable(STEPS)
    given.hold(world)
    world.settle()
    assert (given.reasons(world), world.status["phase"]) == ([], "Healthy")
    assert names.HOLDS not in world.rollout["metadata"]["annotations"]


def test_an_annotation_that_somebody_broke_holds_nothing() -> None:
    world = given.updating(STEPS)
    given.annotate(world, names.HOLDS, "{not json")
    world.settle()
    world.after(100)
    assert world.weight == 60


def test_promoting_after_a_hold_that_timed_out_does_not_end_the_next_pause() -> None:
    world = given.stable([{"setWeight": 20}, {"pause": {}}, {"setWeight": 60}])
    given.hold(world)
    world.set_image("v2")
    world.settle()
    world.after(2000)
    given.release(world)
    world.settle()
    given.promote(world)
    world.settle()
    assert (world.weight, given.reasons(world)) == (20, [names.PAUSE_STEP])


# Freeze.


def test_frozen_nothing_is_raised_but_an_abort_works() -> None:
    world = given.updating(STEPS)
    world.policy = Policy(drain_seconds=0, frozen=True)
    world.settle()
    world.after(1000)
    assert (world.weight, world.status["currentStepIndex"]) == (20, 1)
    assert "frozen" in given.why(world)
    given.promote_full(world)
    world.settle()
    assert world.weight == 20
    given.abort(world)
    world.settle()
    assert world.weight == 0


def test_after_a_freeze_it_goes_on() -> None:
    world = given.stable(STEPS, policy=Policy(drain_seconds=0, frozen=True))
    world.set_image("v2")
    world.settle()
    assert world.weight == 0
    world.policy = Policy(drain_seconds=0)
    world.settle()
    assert world.weight == 20


def test_a_verdict_counts_although_a_promotion_waits_for_the_end_of_a_freeze() -> None:
    world = given.updating(STEPS, canary={"analysis": given.ANALYSIS})
    world.policy = Policy(drain_seconds=0, frozen=True)
    world.settle()
    given.promote(world)
    world.settle()
    world.analysis("Failed")
    world.settle()
    assert (world.weight, world.status["phase"]) == (0, "Degraded")


# Drain.


def test_names_and_pods_change_only_after_the_weight_was_read_back_for_the_drain_time() -> None:
    world = given.updating(STEPS, policy=Policy(drain_seconds=3))
    world.after(3)
    assert world.weight == 20
    given.abort(world)
    decisions = given.step_by_step(world, 8)
    writes = [[w for w in d.writes if w.ref.kind in ("Service", "Route")] for d in decisions]
    assert [[w.ref.kind for w in made] for made in writes][:1] == [["Route"]]
    moved = [
        index for index, made in enumerate(writes) if any(w.ref.kind == "Service" for w in made)
    ]
    assert moved == [4], "read back at 1, for 3 s"
    assert any("drain" in d.why for d in decisions) or all(d.why for d in decisions)


def test_a_promoted_version_loses_no_traffic_while_proxies_learn() -> None:
    world = given.updating([{"setWeight": 20}], policy=Policy(drain_seconds=3))
    seen: list[tuple[int, str]] = []
    for _ in range(30):
        seen.append((world.weight, given.service(world, "stable")))
        given.step_by_step(world, 1)
    first_named = next(index for index, item in enumerate(seen) if item[1] == "v2")
    assert [weight for weight, _ in seen[first_named - 3 : first_named]] == [100, 100, 100]
    assert seen[-1] == (0, "v2")


# Routers that refuse.


class _Refusing(RecordingRouter):
    """A router that cannot raise: a field of its object is missing."""

    def plan(self, rollout: Rollout, objects: RouteObjects, desired: Desired) -> RoutePlan:
        plan = super().plan(rollout, objects, desired)
        lowers = tuple(change for change in plan.changes if change.direction == "lower")
        refusal = FieldError("spec.http[0]", "has no route named canary")
        return RoutePlan(changes=lowers, refusal=refusal)


def test_a_router_that_refuses_is_an_invalid_spec_and_a_lower_goes_forward() -> None:
    world = given.updating(STEPS)
    world.unhealthy.add("v2")
    world.pods_follow()
    decision = decide(world.observe(), {**ROUTERS, "smi": _Refusing("smi")})
    assert [item.transition for item in decision.announce] == ["invalid"]
    assert "spec.http[0]" in decision.why
    assert [write.canary_weight for write in decision.writes] == [0]
    given.abort(world)
    decision = decide(world.observe(), {**ROUTERS, "smi": _Refusing("smi")})
    assert decision.status["abort"] is True
    assert "spec.http[0]" in decision.why
