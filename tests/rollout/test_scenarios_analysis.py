"""Analyses of a step and in the background: what their verdicts do."""

from collections.abc import Sequence
from typing import Any

import pytest

from agent.api import names
from tests.rollout import given
from tests.rollout.world import World

STEPS: Sequence[dict[str, Any]] = (
    {"setWeight": 20},
    {"analysis": given.ANALYSIS},
    {"setWeight": 60},
    {"pause": {}},
)


def _measured() -> World:
    world = given.updating(STEPS)
    assert (world.weight, world.status["currentStepIndex"]) == (20, 1)
    assert given.why(world) == "waits for its analysis"
    return world


def _runs(world: World, kind: str = "Step") -> list[str]:
    """Names of the runs of a kind."""
    runs = [run["metadata"] for run in world.of("AnalysisRun")]
    return [meta["name"] for meta in runs if meta["labels"][names.ROLLOUT_TYPE] == kind]


def test_a_successful_run_lets_the_rollout_go_on() -> None:
    world = _measured()
    world.analysis("Successful")
    world.settle()
    assert (world.weight, world.status["currentStepIndex"]) == (60, 3)
    assert world.announced().count("analysis") == 1
    assert len(_runs(world)) == 1


@pytest.mark.parametrize("phase", ["Failed", "Error"])
def test_a_run_that_fails_aborts_with_its_message(phase: str) -> None:
    world = _measured()
    world.analysis(phase, "too many errors")
    world.settle()
    world.after(100)
    assert world.weight == 0
    assert world.status["phase"] == "Degraded"
    assert "Step-based analysis phase error/failed: too many errors" in world.status["message"]
    assert world.announced()[-4:] == ["analysis", "aborted", "weight", "rolledback"]


def _said(world: World) -> list[str]:
    """The reasons of core Events about analyses, in order."""
    records = [record for decision in world.decisions for record in decision.records]
    return [one.reason for one in records if one.reason.startswith("AnalysisRun")]


@pytest.mark.parametrize("phase", ["Successful", "Failed", "Inconclusive"])
def test_core_events_tell_each_phase_of_its_run_once(phase: str) -> None:
    world = _measured()
    assert _said(world) == ["AnalysisRunRunning"]
    world.analysis(phase)
    world.settle()
    world.after(100)
    assert _said(world) == ["AnalysisRunRunning", f"AnalysisRun{phase}"]


def test_a_failed_run_does_not_count_after_a_retry() -> None:
    world = _measured()
    world.analysis("Failed")
    world.settle()
    given.retry(world)
    world.settle()
    assert (world.weight, world.status["currentStepIndex"]) == (20, 1)
    assert len(_runs(world)) == 2
    world.analysis("Successful")
    world.settle()
    assert world.weight == 60


def test_an_inconclusive_run_pauses_until_a_person_decides() -> None:
    world = _measured()
    world.analysis("Inconclusive")
    world.settle()
    world.after(10_000)
    assert given.reasons(world) == [names.PAUSE_INCONCLUSIVE_ANALYSIS]
    assert world.weight == 20
    assert "person" in given.why(world)
    assert world.announced()[-2:] == ["analysis", "paused"]


def test_a_person_who_ends_the_pause_of_an_inconclusive_run_gets_another_run() -> None:
    world = _measured()
    world.analysis("Inconclusive")
    world.settle()
    world.patch({"status": {"pauseConditions": None}})
    world.settle()
    assert (world.weight, world.status["currentStepIndex"]) == (20, 1)
    assert len(_runs(world)) == 2
    assert world.announced().count("resumed") == 1
    world.analysis("Successful")
    world.settle()
    assert world.weight == 60


def test_a_person_who_promotes_over_an_inconclusive_run_skips_its_step_and_no_other() -> None:
    world = _measured()
    world.analysis("Inconclusive")
    world.settle()
    given.promote(world)
    world.settle()
    assert (world.weight, world.status["currentStepIndex"]) == (60, 3)
    assert given.reasons(world) == [names.PAUSE_STEP]
    assert world.announced().count("resumed") == 1
    assert len(_runs(world)) == 1


def test_an_abort_ends_the_runs() -> None:
    world = _measured()
    given.abort(world)
    world.settle()
    assert [run["spec"].get("terminate") for run in world.of("AnalysisRun")] == [True]


def test_another_revision_ends_the_runs_of_the_one_before() -> None:
    world = _measured()
    world.set_image("v3")
    world.settle()
    first, second = world.of("AnalysisRun")
    assert (first["spec"].get("terminate"), second["spec"].get("terminate")) == (True, None)


BACKGROUND = {"analysis": {**given.ANALYSIS, "startingStep": 2}}


def test_a_background_run_begins_at_its_step_and_ends_with_the_steps() -> None:
    world = given.updating(canary=BACKGROUND)
    assert _runs(world, "Background") == []
    given.promote(world)
    world.settle()
    assert len(_runs(world, "Background")) == 1
    world.after(60)
    assert world.of("AnalysisRun")[0]["spec"].get("terminate") is None
    world.after(2)
    assert world.status["phase"] == "Healthy"
    assert world.of("AnalysisRun")[0]["spec"]["terminate"] is True
    assert "aborted" not in world.announced()


@pytest.mark.parametrize("phase", ["Failed", "Error"])
def test_a_background_run_that_fails_aborts_even_during_a_pause(phase: str) -> None:
    world = given.updating(canary={"analysis": given.ANALYSIS})
    assert given.reasons(world) == [names.PAUSE_STEP]
    world.analysis(phase)
    world.settle()
    assert (world.weight, world.status["phase"]) == (0, "Degraded")
    assert "Background analysis phase error/failed" in world.status["message"]


def test_a_background_run_that_was_successful_is_not_run_again() -> None:
    world = given.updating(canary={"analysis": given.ANALYSIS})
    world.analysis("Successful")
    world.settle()
    given.promote(world)
    world.settle()
    assert len(_runs(world, "Background")) == 1
    assert world.weight == 50


def test_promote_full_ends_the_runs_and_asks_no_verdict() -> None:
    world = _measured()
    given.promote_full(world)
    world.settle()
    assert world.status["phase"] == "Healthy"
    assert world.of("AnalysisRun")[0]["spec"]["terminate"] is True
