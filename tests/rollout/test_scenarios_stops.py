"""What stops an update: aborts, retries, ways back, other revisions, deadlines, pods that are gone."""

from datetime import timedelta
from typing import Any

import pytest

from agent.api import names
from agent.api.times import format_time
from tests.rollout import given
from tests.rollout.world import World


def _exposed(**arguments: Any) -> World:
    """v2 has a fifth of the traffic and waits for a person."""
    world = given.updating([{"setWeight": 20}, {"pause": {}}, {"setWeight": 60}], **arguments)
    assert world.weight == 20
    return world


def test_an_abort_takes_the_traffic_back_at_once_and_the_pods_after_a_while() -> None:
    world = _exposed()
    given.abort(world)
    world.settle()
    assert world.weight == 0
    assert world.status["phase"] == "Degraded"
    assert world.status["message"] == "RolloutAborted: Rollout aborted update to revision 2"
    assert (world.status["currentStepIndex"], given.reasons(world)) == (0, [])
    assert world.announced()[-3:] == ["aborted", "weight", "rolledback"]
    assert given.service(world, "canary") == "v1"
    world.after(29)
    assert world.pods() == {"v1": 10, "v2": 2}
    world.after(3)
    assert world.pods() == {"v1": 10}
    assert "person" in given.why(world)


@pytest.mark.parametrize(
    ("delay", "seconds", "kept"),
    [(5, 5, True), (5, 7, False), (0, 3600, True)],
    ids=["within the delay", "after the delay", "0 keeps them for ever"],
)
def test_the_abort_delay_of_the_pods(delay: int, seconds: int, kept: bool) -> None:
    world = _exposed(canary={"abortScaleDownDelaySeconds": delay})
    given.abort(world)
    world.settle()
    world.after(seconds)
    assert ("v2" in world.pods()) is kept


def test_an_abort_written_by_somebody_else_keeps_his_message_and_is_not_announced_again() -> None:
    world = _exposed()
    message = "Rollout aborted update to revision 2: alert HighErrors"
    aborted = {
        "type": "Progressing",
        "status": "False",
        "reason": "RolloutAborted",
        "message": message,
        "lastUpdateTime": format_time(world.now),
        "lastTransitionTime": format_time(world.now),
    }
    others = [c for c in world.status["conditions"] if c["type"] != "Progressing"]
    world.patch({"status": {"abort": True, "conditions": [*others, aborted]}})
    world.settle()
    world.after(100)
    assert given.condition(world, "Progressing")["message"] == message
    assert world.status["message"] == f"RolloutAborted: {message}"
    assert "aborted" not in world.announced()
    assert world.announced().count("rolledback") == 1


def test_a_retry_starts_over_and_is_announced_as_a_start() -> None:
    world = _exposed()
    given.abort(world)
    world.settle()
    given.retry(world)
    world.settle()
    assert (world.weight, world.status["currentStepIndex"]) == (20, 1)
    assert world.announced().count("started") == 2
    assert world.announced().count("aborted") == 1


def test_back_to_stable_in_the_middle_skips_the_steps() -> None:
    world = _exposed()
    world.set_image("v1")
    world.settle()
    assert world.weight == 0
    assert world.status["phase"] == "Healthy"
    assert world.status["currentStepIndex"] == 3
    assert given.service(world, "canary") == "v1"
    world.after(40)
    assert world.pods() == {"v1": 10}
    assert world.announced().count("started") == 1


def test_another_revision_in_the_middle_starts_over_with_weight_0() -> None:
    world = _exposed()
    world.unhealthy.add("v3")
    world.set_image("v3")
    world.settle()
    assert (world.weight, world.status["currentStepIndex"]) == (0, 0)
    world.unhealthy.clear()
    world.settle()
    assert (world.weight, world.status["currentStepIndex"]) == (20, 1)
    assert given.service(world, "canary") == "v3"
    world.after(100)
    assert world.pods() == {"v1": 10, "v3": 2}
    assert world.announced().count("started") == 2


def test_other_steps_start_over() -> None:
    world = _exposed()
    world.edit(
        lambda spec: spec["strategy"]["canary"].update(steps=[{"setWeight": 5}, {"pause": {}}])
    )
    world.settle()
    assert (world.weight, world.status["currentStepIndex"]) == (5, 1)


@pytest.mark.parametrize(
    ("delay", "seconds"), [(None, 30), (7, 7), (0, 0)], ids=["30 s unless said", "7 s", "none"]
)
def test_the_version_before_keeps_its_pods_for_the_scale_down_delay(
    delay: int | None, seconds: int
) -> None:
    canary = {} if delay is None else {"scaleDownDelaySeconds": delay}
    world = given.updating([{"setWeight": 20}], canary=canary)
    assert world.status["phase"] == "Healthy"
    if seconds:
        world.after(seconds - 1)
        assert world.pods() == {"v1": 10, "v2": 10}
        world.after(2)
    assert world.pods() == {"v2": 10}


@pytest.mark.parametrize("aborts", [True, False], ids=["it aborts", "it only tells"])
def test_the_progress_deadline(aborts: bool) -> None:
    world = given.stable(spec={"progressDeadlineSeconds": 60, "progressDeadlineAbort": aborts})
    world.unhealthy.add("v2")
    world.set_image("v2")
    world.settle()
    world.after(59)
    assert world.status["phase"] == "Progressing"
    world.after(3)
    world.after(600)
    assert world.status["phase"] == "Degraded"
    assert world.status.get("abort", False) is aborts
    assert world.announced().count("aborted" if aborts else "degraded") == 1
    assert "timed out progressing" in world.status["message"]
    assert given.why(world)


def test_a_canary_that_loses_all_its_pods_loses_its_traffic() -> None:
    world = _exposed()
    world.unhealthy.add("v2")
    world.settle()
    assert world.weight == 0
    assert world.status.get("abort", False) is False
    world.unhealthy.clear()
    world.settle()
    assert world.weight == 20


def _refer(world: World, name: str) -> Any:
    """Take an object out of the world."""
    ref = next(ref for ref in world.objects if ref.name == name)
    return ref, world.objects.pop(ref)


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("checks", "spec.strategy.canary.steps[1].analysis.templates"),
        ("stable", "spec.strategy.canary.stableService"),
        ("canary", "spec.strategy.canary.canaryService"),
    ],
    ids=["an analysis template", "the stable service", "the canary service"],
)
def test_what_is_missing_is_named_with_its_field_and_mended_by_a_person(
    name: str, field: str
) -> None:
    world = given.stable([{"setWeight": 20}, {"analysis": given.ANALYSIS}, {"pause": {}}])
    ref, obj = _refer(world, name)
    world.set_image("v2")
    world.settle()
    assert field in given.condition(world, names.INVALID_SPEC)["message"]
    assert world.status["phase"] == "Degraded"
    assert field in given.why(world)
    world.settle()
    world.after(100)
    assert world.announced() == ["invalid"]
    assert world.weight == 0
    world.objects[ref] = obj
    world.settle()
    assert given.condition(world, names.INVALID_SPEC) == {}
    assert (world.weight, world.status["phase"]) == (20, "Progressing")


def test_an_abort_works_although_a_service_is_missing() -> None:
    world = _exposed()
    _refer(world, "stable")
    given.abort(world)
    world.settle()
    assert world.weight == 0


@pytest.mark.parametrize(
    "step",
    ["experiment", "plugin"],
)
def test_a_step_type_that_is_not_driven_is_refused_by_name(step: str) -> None:
    members = {
        "experiment": {"templates": [{"name": "a", "specRef": "stable"}]},
        "plugin": {"name": "a/b"},
    }
    world = given.stable()
    world.edit(
        lambda spec: spec["strategy"]["canary"].update(
            steps=[{"setWeight": 5}, {step: members[step]}]
        )
    )
    world.set_image("v2")
    world.settle()
    assert f"steps[1].{step}: " in given.why(world)
    assert world.pods() == {"v1": 10}


def test_fields_of_the_status_that_nobody_here_knows_survive() -> None:
    world = _exposed()
    mine = {"controllerOfSomebodyElse": {"deep": [1, {"x": None}]}}
    world.patch({"status": {**mine, "canary": {"foreign": 7}}})
    given.promote(world)
    world.settle()
    assert world.status["phase"] == "Healthy"
    assert world.status["controllerOfSomebodyElse"]["deep"][0] == 1
    assert world.status["canary"]["foreign"] == 7


def test_time_that_is_not_a_time_holds_nothing_for_ever() -> None:
    world = given.updating([{"setWeight": 20}, {"pause": {"duration": 60}}])
    broken = [{"reason": names.PAUSE_STEP, "startTime": "yesterday"}]
    world.patch({"status": {"pauseConditions": broken}})
    world.settle()
    world.now += timedelta(seconds=1)
    world.settle()
    assert world.status["phase"] == "Healthy"


def test_an_abort_that_a_tool_stored_without_its_time_gets_one() -> None:
    """Argo's tools set status.abort alone; weights of others are told from our own by the time of the abort."""
    world = given.updating()
    given.abort(world)
    assert not world.status.get("abortedAt")
    at = world.now
    world.settle()
    world.after(60)
    assert world.status["abortedAt"] == at.strftime("%Y-%m-%dT%H:%M:%SZ")
