"""AnalysisRuns that are kept and those that go; and what a verdict's numbers reach."""

from datetime import timedelta
from typing import Any

import pytest

from agent.api import names
from agent.api.meta import Object, Ref
from agent.rollout.types import Policy
from handlers.telegram.render import alarm
from tests.rollout import given
from tests.rollout.given import START
from tests.rollout.world import World

STEPS: list[dict[str, Any]] = [{"setWeight": 20}, {"analysis": given.ANALYSIS}, {"pause": {}}]


def measured(**limits: int) -> World:
    world = given.updating(STEPS, spec={"analysis": limits}, policy=Policy(drain_seconds=0))
    assert given.why(world) == "waits for its analysis"
    return world


def tried(world: World, phase: str) -> None:
    """One more run that ends so, and a retry."""
    world.analysis(phase)
    world.settle()
    given.retry(world)
    world.settle()
    world.after(1)


def kept(world: World) -> list[str]:
    runs = sorted(world.of("AnalysisRun"), key=lambda run: run["metadata"]["name"])
    return [str((run.get("status") or {}).get("phase")) for run in runs]


@pytest.mark.parametrize(("limits", "left"), [({}, 5), ({"unsuccessfulRunHistoryLimit": 2}, 2)])
def test_so_many_unsuccessful_runs_are_kept_and_the_newest_of_them(
    limits: dict[str, int], left: int
) -> None:
    world = measured(**limits)
    for _ in range(8):
        tried(world, "Failed")
    assert sum(phase == "Failed" for phase in kept(world)) == left
    runs = world.of("AnalysisRun")
    began = sorted(run["metadata"]["creationTimestamp"] for run in runs)
    assert began[0] == (START + timedelta(seconds=7 - left)).isoformat()
    current = world.status["canary"]["currentStepAnalysisRunStatus"]["name"]
    assert current in [run["metadata"]["name"] for run in runs]


def test_the_run_that_the_status_names_stays_whatever_the_limits() -> None:
    world = measured(successfulRunHistoryLimit=0, unsuccessfulRunHistoryLimit=0)
    world.analysis("Successful")
    world.settle()
    assert given.reasons(world) == [names.PAUSE_STEP]
    world.after(60)
    name = (world.status["canary"].get("currentStepAnalysisRunStatus") or {}).get("name")
    present = [run["metadata"]["name"] for run in world.of("AnalysisRun")]
    assert present == ([name] if name else [])


def test_runs_of_a_revision_that_is_gone_go_with_it() -> None:
    world = measured()
    world.analysis("Successful")
    world.settle()
    (run,) = world.of("AnalysisRun")
    gone = {names.POD_TEMPLATE_HASH: "gone"}
    put(world, with_labels(run, "left-over", gone))
    world.settle()
    assert "left-over" not in [item["metadata"]["name"] for item in world.of("AnalysisRun")]


def put(world: World, run: Object) -> None:
    world.objects[Ref("AnalysisRun", "default", run["metadata"]["name"])] = run


def with_labels(run: Object, name: str, labels: dict[str, str]) -> Object:
    meta = {**run["metadata"], "name": name, "labels": {**run["metadata"]["labels"], **labels}}
    return {**run, "metadata": meta, "status": {"phase": "Successful"}}


def test_the_numbers_of_a_failed_verdict_reach_message_event_and_chat() -> None:
    world = measured()
    world.analysis(
        "Failed", 'Metric "success-rate" assessed Failed due to failed (2) > failureLimit (1)'
    )
    (run,) = world.of("AnalysisRun")
    query = "sum(rate(good[1m])) / sum(rate(all[1m]))"
    measurement = {"phase": "Failed", "value": "[0.42]", "metadata": {names.QUERY: query}}
    metric = {"name": "success-rate", "successCondition": "result[0] >= 0.95", "failureLimit": 1}
    result = {"name": "success-rate", "phase": "Failed", "failed": 2, "measurements": [measurement]}
    put(
        world,
        {
            **run,
            "spec": {**run["spec"], "metrics": [{**metric, "provider": {"prometheus": {}}}]},
            "status": {**run["status"], "metricResults": [result]},
        },
    )
    world.settle()
    said = "failed (2) > failureLimit (1) (value [0.42]; successCondition result[0] >= 0.95)"
    assert said in world.status["message"]
    told = next(
        item
        for decision in world.decisions
        for item in decision.announce
        if item.transition == "aborted"
    )
    assert told.data.cause is not None
    found = (told.data.cause.evidence or {})["metrics"]["success-rate"]
    assert found["values"] == ["[0.42]"]
    assert (found["asked"], found["limits"]["failureLimit"]) == (query, 1)
    chat = alarm(told.data)
    assert said.replace(">", "&gt;") in chat
    assert query in chat
    assert "[0.42]" in chat
