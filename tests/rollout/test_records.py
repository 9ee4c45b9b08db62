"""Core Events about analyses, and names of notification triggers."""

import pytest

from agent.api.analysis import AnalysisRun, AnalysisRunStatus, MetricResult
from agent.api.meta import ObjectMeta
from agent.rollout.records import notification_trigger, run_changed, run_went_on
from agent.rollout.types import Record


@pytest.mark.parametrize(
    ("reason", "trigger"),
    [
        ("RolloutCompleted", "on-rollout-completed"),
        ("RolloutStepCompleted", "on-rollout-step-completed"),
        ("TrafficWeightUpdated", "on-traffic-weight-updated"),
        ("Paused", "on-paused"),
        ("HTTPRouteNotFound", "on-http-route-not-found"),
        ("Step2Done", "on-step2-done"),
        ("already-kebab", "on-already-kebab"),
        ("", "on-"),
    ],
)
def test_notification_trigger(reason: str, trigger: str) -> None:
    assert notification_trigger(reason) == trigger


def _status(phase: str, **metrics: str) -> AnalysisRunStatus:
    results = [MetricResult(name=name, phase=of) for name, of in metrics.items()]
    return AnalysisRunStatus(phase=phase, metric_results=results or None)


@pytest.mark.parametrize(
    ("phase", "before", "kind"),
    [
        ("Pending", "", "Normal"),
        ("Running", "Pending", "Normal"),
        ("Successful", "Running", "Normal"),
        ("Inconclusive", "Running", "Normal"),
        ("Failed", "Running", "Warning"),
        ("Error", "Pending", "Warning"),
    ],
)
def test_a_rollout_says_how_its_analysis_goes_on(phase: str, before: str, kind: str) -> None:
    run = AnalysisRun(metadata=ObjectMeta(name="web-7-1"), status=AnalysisRunStatus(phase=phase))
    (record,) = run_changed("Step", run, before)
    assert (record.reason, record.type) == (f"AnalysisRun{phase}", kind)
    assert record.message == (
        f"Step Analysis Run 'web-7-1' Status New: '{phase}' Previous: '{before}'"
    )


@pytest.mark.parametrize(("phase", "before"), [("", "Pending"), ("Running", "Running")])
def test_a_rollout_says_nothing_when_its_analysis_stays(phase: str, before: str) -> None:
    run = AnalysisRun(status=AnalysisRunStatus(phase=phase))
    assert run_changed("Step", run, before) == ()


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        pytest.param(_status(""), _status("Running"), [], id="it starts"),
        pytest.param(_status("Running"), _status("Running", a="Running"), [], id="it goes on"),
        pytest.param(
            _status("Running", a="Running", b="Running"),
            _status("Running", a="Successful", b="Running"),
            [("MetricSuccessful", "Normal", "Metric 'a' Completed. Result: Successful")],
            id="one of two metrics ends",
        ),
        pytest.param(
            _status("Running", a="Successful"),
            _status("Failed", a="Successful", b="Failed"),
            [
                ("MetricFailed", "Warning", "Metric 'b' Completed. Result: Failed"),
                ("AnalysisRunFailed", "Warning", "Analysis Completed. Result: Failed"),
            ],
            id="metric and run end together",
        ),
        pytest.param(
            _status("Running", a="Inconclusive"),
            _status("Inconclusive", a="Inconclusive"),
            [("AnalysisRunInconclusive", "Normal", "Analysis Completed. Result: Inconclusive")],
            id="the run follows",
        ),
        pytest.param(
            _status(""),
            _status("Error"),
            [("AnalysisRunError", "Warning", "Analysis Completed. Result: Error")],
            id="it cannot be carried out",
        ),
        pytest.param(_status("Failed"), _status("Failed"), [], id="it was said"),
    ],
)
def test_a_run_says_what_has_ended(
    before: AnalysisRunStatus, after: AnalysisRunStatus, said: list[tuple[str, str, str]]
) -> None:
    found = run_went_on(before, after)
    assert [(one.reason, one.type, one.message) for one in found] == said
    assert all(isinstance(one, Record) for one in found)
