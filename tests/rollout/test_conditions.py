"""Conditions and what they record."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agent.api.decode import read
from agent.api.rollout import Condition, Rollout, RolloutStatus
from agent.api.times import format_time
from agent.rollout import conditions

NOW = datetime(2024, 5, 1, 10, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)


def made(type_: str, status: bool, reason: str, at: datetime, message: str = "") -> Condition:
    return conditions.make(type_, status, reason, message, at)


def test_a_condition_carries_its_time_twice() -> None:
    condition = made("Available", True, "R", NOW, "m")
    assert condition == Condition(
        type="Available",
        status="True",
        reason="R",
        message="m",
        last_update_time="2024-05-01T10:00:00Z",
        last_transition_time="2024-05-01T10:00:00Z",
    )


def test_the_same_status_and_reason_changes_nothing_not_even_the_message() -> None:
    before = [made("Paused", True, "R", NOW, "old"), made("Available", True, "R", NOW)]
    assert conditions.put(before, made("Paused", True, "R", LATER, "new")) == before


def test_a_new_reason_keeps_the_time_of_transition() -> None:
    before = [made("Paused", True, "R", NOW), made("Available", True, "R", NOW)]
    after = conditions.put(before, made("Paused", True, "S", LATER))
    assert [item.type for item in after] == ["Available", "Paused"]
    assert after[1].last_update_time == format_time(LATER)
    assert after[1].last_transition_time == format_time(NOW)


def test_a_new_status_is_a_transition() -> None:
    after = conditions.put([made("Paused", True, "R", NOW)], made("Paused", False, "R", LATER))
    assert after == [made("Paused", False, "R", LATER)]


def test_the_given_list_stays_as_it_was() -> None:
    before = [made("Paused", True, "R", NOW)]
    conditions.put(before, made("Paused", False, "R", LATER))
    conditions.remove(before, "Paused")
    assert before == [made("Paused", True, "R", NOW)]


def test_without_conditions() -> None:
    assert conditions.find(None, "Paused") is None
    assert conditions.remove(None, "Paused") == []
    assert conditions.put(None, made("Paused", True, "R", NOW)) == [made("Paused", True, "R", NOW)]


CANARY: dict[str, Any] = {"canary": {"steps": [{"setWeight": 5}]}}
BLUE_GREEN: dict[str, Any] = {"blueGreen": {"previewService": "p"}}
OLD = {"replicas": 4, "updatedReplicas": 2, "readyReplicas": 3, "availableReplicas": 3, "currentStepIndex": 0}  # fmt: skip


@pytest.mark.parametrize(
    ("strategy", "change", "progressing"),
    [
        pytest.param(CANARY, {}, False, id="nothing moved"),
        pytest.param(CANARY, {"updatedReplicas": 3}, True, id="an updated pod more"),
        pytest.param(CANARY, {"updatedReplicas": 1, "replicas": 3}, True, id="an updated pod fewer"),
        pytest.param(CANARY, {"replicas": 3}, True, id="an old pod went"),
        pytest.param(CANARY, {"replicas": 5}, False, id="an old pod came"),
        pytest.param(CANARY, {"readyReplicas": 4}, True, id="ready"),
        pytest.param(CANARY, {"availableReplicas": 2, "readyReplicas": 2}, False, id="readiness lost"),
        pytest.param(CANARY, {"currentStepIndex": 1}, True, id="a step"),
        pytest.param(CANARY, {"currentStepHash": "x"}, True, id="other steps"),
        pytest.param(CANARY, {"stableRS": "x"}, True, id="promoted"),
        pytest.param(CANARY, {"blueGreen": {"activeSelector": "x"}}, False, id="a canary has no active selector"),
        pytest.param(BLUE_GREEN, {"blueGreen": {"previewSelector": "x"}}, True, id="the preview was switched"),
        pytest.param(BLUE_GREEN, {"currentStepIndex": 1}, False, id="blue-green has no steps"),
    ],
)  # fmt: skip
def test_is_progressing(
    strategy: dict[str, Any], change: dict[str, Any], progressing: bool
) -> None:
    rollout = read(Rollout, {"spec": {"strategy": strategy}, "status": OLD})
    new = read(RolloutStatus, {**OLD, **change})
    assert conditions.is_progressing(rollout, new) is progressing


GOOD = {
    "replicas": 3,
    "updatedReplicas": 3,
    "availableReplicas": 3,
    "stableRS": "a",
    "currentPodHash": "a",
    "currentStepIndex": 1,
    "observedGeneration": "4",
    "blueGreen": {"activeSelector": "a", "previewSelector": "a"},
}


@pytest.mark.parametrize(
    ("strategy", "change", "healthy"),
    [
        pytest.param(CANARY, {}, True, id="all done"),
        pytest.param(CANARY, {"currentStepIndex": 0}, False, id="a step is left"),
        pytest.param(CANARY, {"stableRS": "b"}, False, id="not promoted"),
        pytest.param(CANARY, {"replicas": 4}, False, id="an old pod is left"),
        pytest.param(CANARY, {"availableReplicas": 2}, False, id="a pod is missing"),
        pytest.param(CANARY, {"observedGeneration": "3"}, False, id="a newer spec"),
        pytest.param(BLUE_GREEN, {"replicas": 6}, True, id="blue-green keeps old pods for a while"),
        pytest.param(BLUE_GREEN, {"blueGreen": {"activeSelector": "a"}}, False, id="the preview points elsewhere"),
        pytest.param({}, {}, True, id="no strategy asks for no more"),
    ],
)  # fmt: skip
def test_is_healthy(strategy: dict[str, Any], change: dict[str, Any], healthy: bool) -> None:
    status = {**GOOD, **change}
    manifest = {
        "metadata": {"generation": 4},
        "spec": {"replicas": 3, "strategy": strategy},
        "status": status,
    }
    rollout = read(Rollout, manifest)
    assert conditions.is_healthy(rollout, rollout.status) is healthy


@pytest.mark.parametrize(
    ("reason", "age_seconds", "late"),
    [
        pytest.param("ReplicaSetUpdated", 60, False, id="exactly the deadline"),
        pytest.param("ReplicaSetUpdated", 61, True, id="past the deadline"),
        pytest.param("RolloutAborted", 9999, False, id="aborted"),
        pytest.param("RolloutPaused", 9999, False, id="paused"),
        pytest.param("ProgressDeadlineExceeded", 0, True, id="known to be late"),
    ],
)
def test_is_timed_out(reason: str, age_seconds: int, late: bool) -> None:
    rollout = read(Rollout, {"spec": {"progressDeadlineSeconds": 60}})
    since = made("Progressing", True, reason, NOW - timedelta(seconds=age_seconds))
    assert conditions.is_timed_out(rollout, RolloutStatus(conditions=[since]), NOW) is late


def test_without_a_time_there_is_nothing_to_measure_from() -> None:
    status = RolloutStatus(conditions=[Condition(type="Progressing", reason="x")])
    assert not conditions.is_timed_out(Rollout(), status, NOW)
    assert not conditions.is_timed_out(Rollout(), RolloutStatus(), NOW)
