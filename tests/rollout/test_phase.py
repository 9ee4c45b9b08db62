"""Phase and message, and steps in words."""

from typing import Any

import pytest

from agent.api.decode import read
from agent.api.rollout import Rollout, Step
from agent.rollout import phase
from agent.rollout.phase import Phase
from agent.rollout.steps import describe


def condition(reason: str, type_: str = "Progressing") -> dict[str, Any]:
    return {"type": type_, "status": "False", "reason": reason, "message": "why"}


PAUSE = {"reason": "CanaryPauseStep", "startTime": "2024-05-01T10:00:00Z"}
DONE = {
    "replicas": 2,
    "updatedReplicas": 2,
    "availableReplicas": 2,
    "stableRS": "a",
    "currentPodHash": "a",
    "blueGreen": {"activeSelector": "a"},
}


def computed(strategy: dict[str, Any], status: dict[str, Any], **spec: Any) -> Phase:
    manifest = {
        "spec": {"replicas": 2, "strategy": strategy, **spec},
        "status": {**DONE, **status},
    }
    rollout = read(Rollout, manifest)
    return phase.computed_phase(rollout.spec, rollout.status)


CANARY: dict[str, Any] = {"canary": {}}
ROUTED: dict[str, Any] = {"canary": {"trafficRouting": {}}}
BLUE_GREEN: dict[str, Any] = {"blueGreen": {}}


@pytest.mark.parametrize(
    ("got", "expected"),
    [
        pytest.param(computed(CANARY, {}), ("Healthy", ""), id="healthy"),
        pytest.param(computed(CANARY, {"conditions": [condition("RolloutAborted")]}, paused=True), ("Degraded", "RolloutAborted: why"), id="an abort beats a pause"),
        pytest.param(computed(CANARY, {"conditions": [condition("x", "InvalidSpec")]}), ("Degraded", "InvalidSpec: why"), id="invalid"),
        pytest.param(computed(CANARY, {"conditions": [condition("SomethingElse")]}), ("Healthy", ""), id="other reasons do not degrade"),
        pytest.param(computed(CANARY, {"pauseConditions": [PAUSE]}, paused=True), ("Paused", "manually paused"), id="a person's pause is named first"),
        pytest.param(computed(CANARY, {"pauseConditions": [PAUSE], "updatedReplicas": 0}), ("Paused", "CanaryPauseStep"), id="a pause beats missing pods"),
        pytest.param(computed(CANARY, {"restartedAt": "2024-05-01T10:00:00Z"}, restartAt="2024-05-01T12:00:00+02:00"), ("Healthy", ""), id="restarted, times are compared as times"),
        pytest.param(computed(CANARY, {}, restartAt="2024-05-01T12:00:00Z"), ("Progressing", "rollout is restarting"), id="restarting"),
        pytest.param(computed(CANARY, {"updatedReplicas": 1}), ("Progressing", "more replicas need to be updated"), id="pods to update"),
        pytest.param(computed(CANARY, {"availableReplicas": 1}), ("Progressing", "updated replicas are still becoming available"), id="pods to become available"),
        pytest.param(computed(CANARY, {"replicas": 3}), ("Progressing", "old replicas are pending termination"), id="old pods without a router"),
        pytest.param(computed(ROUTED, {"replicas": 3}), ("Healthy", ""), id="old pods behind a router"),
        pytest.param(computed(ROUTED, {"stableRS": "b"}), ("Progressing", "waiting for all steps to complete"), id="steps left"),
        pytest.param(computed(ROUTED, {"stableRS": "", "currentPodHash": ""}), ("Progressing", "waiting for all steps to complete"), id="nothing is stable yet"),
        pytest.param(computed(BLUE_GREEN, {"blueGreen": {}}), ("Progressing", "active service cutover pending"), id="blue-green before the switch"),
        pytest.param(computed(BLUE_GREEN, {"stableRS": "b"}), ("Progressing", "waiting for post-promotion verification to complete"), id="blue-green after the switch"),
        pytest.param(computed({"blueGreen": {"postPromotionAnalysis": {}}}, {"stableRS": "b"}), ("Progressing", "waiting for analysis to complete"), id="analysis has not begun"),
        pytest.param(computed({"blueGreen": {"postPromotionAnalysis": {}}}, {"stableRS": "b", "blueGreen": {"activeSelector": "a", "postPromotionAnalysisRunStatus": {"status": "Successful"}}}), ("Progressing", "waiting for post-promotion verification to complete"), id="analysis is over"),
        pytest.param(computed({}, {}), ("Healthy", ""), id="no strategy"),
    ],
)  # fmt: skip
def test_computed_phase(got: Phase, expected: tuple[str, str]) -> None:
    assert got == expected


STORED = {"phase": "Healthy", "message": ""}


@pytest.mark.parametrize(
    ("metadata", "status", "expected"),
    [
        pytest.param({"generation": 3}, {**STORED, "observedGeneration": "3"}, ("Healthy", ""), id="seen"),
        pytest.param({"generation": 3}, {**STORED, "observedGeneration": "2"}, ("Progressing", "waiting for rollout spec update to be observed"), id="not yet seen"),
        pytest.param({"generation": 3}, {**STORED, "observedGeneration": "4"}, ("Healthy", ""), id="a number from the future says nothing"),
        pytest.param({"generation": 3}, {**STORED, "observedGeneration": "8f7c"}, ("Healthy", ""), id="a hash says nothing"),
        pytest.param({}, {**STORED, "controllerPause": True}, ("Progressing", "waiting for rollout to unpause"), id="unpausing"),
        pytest.param({"annotations": {"rollout.argoproj.io/workload-generation": "7"}}, {**STORED, "workloadObservedGeneration": "6"}, ("Progressing", "waiting for rollout spec update to be observed for the reference workload"), id="the workload's generation is not yet seen"),
        pytest.param({"annotations": {"rollout.argoproj.io/workload-generation": "x"}}, {**STORED, "workloadObservedGeneration": "6"}, ("Healthy", ""), id="an unreadable one says nothing"),
    ],
)  # fmt: skip
def test_observed_phase(
    metadata: dict[str, Any], status: dict[str, Any], expected: tuple[str, str]
) -> None:
    rollout = read(Rollout, {"metadata": metadata, "status": status})
    assert phase.observed_phase(rollout) == expected


@pytest.mark.parametrize(
    ("step", "text"),
    [
        ({"setWeight": 35}, "setWeight: 35"),
        ({"pause": {}}, "pause"),
        ({"pause": {"duration": 0}}, "pause: 0"),
        ({"setCanaryScale": {"weight": 0, "replicas": 2}}, "setCanaryScale{weight: 0}"),
        ({"setCanaryScale": {"replicas": 2}}, "setCanaryScale{replicas: 2}"),
        ({"setCanaryScale": {}}, "invalid"),
        ({"setCanaryScale": {}, "plugin": {"name": "p"}}, "plugin: p"),
        ({"plugin": {}}, "plugin: "),
        ({"setMirrorRoute": {"name": "m"}}, "setMirrorRoute: m"),
        ({"setWeight": 5, "pause": {}}, "setWeight: 5"),
    ],
)
def test_step_text(step: dict[str, Any], text: str) -> None:
    assert describe(read(Step, step)) == text
