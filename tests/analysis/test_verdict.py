"""Verdicts of metrics and runs: limits, where `safe` differs from Argo, counters."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.analysis.run import assess, record
from agent.analysis.validation import validate_metrics
from agent.analysis.verdict import COMPLETED, Compat, assess_metric, effective_count, limit_of
from agent.api.analysis import (
    AnalysisRun,
    AnalysisRunSpec,
    AnalysisRunStatus,
    DryRun,
    Measurement,
    Metric,
    MetricResult,
)
from agent.errors import Refused

NOW = datetime(2024, 5, 1, 10, 0, 0, tzinfo=UTC)
PROVIDER = {"web": {"url": "http://metrics"}}
FAILED = [Measurement(phase="Failed")]


def metric(name: str = "errors", **fields: Any) -> Metric:
    return Metric(name=name, provider=PROVIDER, **fields)


def run_of(*pairs: tuple[Metric, MetricResult | None], **spec: Any) -> AnalysisRun:
    return AnalysisRun(
        spec=AnalysisRunSpec(metrics=[m for m, _ in pairs], **spec),
        status=AnalysisRunStatus(
            phase="Running",
            started_at="2024-05-01T09:00:00Z",
            metric_results=[result for _, result in pairs if result is not None],
        ),
    )


@pytest.mark.parametrize(
    ("value", "number"),
    [(None, 0), (3, 3), ("3", 3), ("-1", -1), ("abc", 0), ("", 0), ("1.5", 0), ("٣", 0)],
)
def test_a_limit_is_a_number_or_counts_as_zero(value: int | str | None, number: int) -> None:
    assert limit_of(value) == number


@pytest.mark.parametrize(
    ("asked", "count"),
    [
        pytest.param(metric(), 1, id="once"),
        pytest.param(metric(interval="1m"), None, id="for ever with an interval"),
        pytest.param(metric(interval="1m", count="5"), 5, id="as often as it says"),
        pytest.param(metric(interval="1m", count=0), None, id="zero says nothing"),
    ],
)
def test_a_metric_ends_after_its_count(asked: Metric, count: int | None) -> None:
    assert effective_count(asked) == count


SAFE_DIFFERS = [
    pytest.param(
        metric(interval="1m"),
        MetricResult(name="errors", measurements=FAILED, count=2, failed=1, inconclusive=1),
        ("Inconclusive", "inconclusive (1) > inconclusiveLimit (0)"),
        ("Failed", "failed (1) > failureLimit (0)"),
        id="a proven failure is not turned into a pause by answers that say nothing",
    ),
    pytest.param(
        metric(interval="1m", count=3, consecutive_success_limit=2, failure_limit=-1),
        MetricResult(name="errors", measurements=FAILED, count=3, failed=2, consecutive_success=0),
        ("Failed", ""),
        ("Failed", "consecutiveSuccesses (0) < consecutiveSuccessLimit (2)"),
        id="a missed streak has a reason",
    ),
]


@pytest.mark.parametrize(("asked", "result", "argo", "safe"), SAFE_DIFFERS)
def test_safe_differs_from_argo_in_these_verdicts(
    asked: Metric, result: MetricResult, argo: tuple[str, str], safe: tuple[str, str]
) -> None:
    assert assess_metric(asked, result, terminating=False, compat="argo") == argo
    assert assess_metric(asked, result, terminating=False, compat="safe") == safe


def test_safe_counts_a_missed_streak_as_the_failure_it_is() -> None:
    asked = metric(interval="1m", count=3, consecutive_success_limit=2, failure_limit=-1)
    result = MetricResult(name="errors", measurements=FAILED, count=3, failed=2)
    argo = assess(run_of((asked, result)), NOW, compat="argo")
    safe = assess(run_of((asked, result)), NOW, compat="safe")
    assert (argo.phase, argo.message, argo.run_summary.successful) == ("Failed", "", 1)
    assert (safe.phase, safe.run_summary.successful, safe.run_summary.failed) == ("Failed", 0, 1)
    assert safe.message == (
        'Metric "errors" assessed Failed due to consecutiveSuccesses (0) <'
        " consecutiveSuccessLimit (2)"
    )


@pytest.mark.parametrize(
    ("compat", "completed_at"), [("argo", None), ("safe", "2024-05-01T10:00:00Z")]
)
def test_safe_says_when_an_invalid_run_ended_so_that_its_time_to_live_counts(
    compat: Compat, completed_at: str | None
) -> None:
    status = assess(run_of((metric(interval="1d"), None)), NOW, compat=compat)
    assert (status.phase, status.completed_at) == ("Error", completed_at)
    assert status.message == (
        "Analysis spec invalid: metrics[0]: invalid interval string:"
        ' time: unknown unit "d" in duration "1d"'
    )


def test_the_first_assessment_starts_the_run() -> None:
    status = assess(AnalysisRun(spec=AnalysisRunSpec(metrics=[metric()])), NOW, compat="safe")
    assert (status.phase, status.started_at) == ("Running", "2024-05-01T10:00:00Z")


def test_a_metric_that_was_never_measured_keeps_the_run_running() -> None:
    done = MetricResult(name="a", phase="Successful", count=1, successful=1)
    status = assess(run_of((metric("a"), done), (metric("b"), None)), NOW, compat="safe")
    assert (status.phase, status.completed_at) == ("Running", None)


def test_a_completed_run_stays_as_it_is() -> None:
    run = AnalysisRun(status=AnalysisRunStatus(phase="Failed", message="by hand"))
    assert assess(run, NOW, compat="safe") is run.status


def test_a_dry_metric_fails_without_consequence() -> None:
    dry = MetricResult(name="a", measurements=FAILED, count=1, failed=1)
    run = run_of((metric("a"), dry), dry_run=[DryRun(metric_name="a")])
    status = assess(run, NOW, compat="safe")
    assert status.phase == "Successful"
    assert status.dry_run_summary is not None
    assert status.dry_run_summary.failed == 1
    assert (status.metric_results or [])[0].dry_run


def test_an_answer_replaces_the_measurement_in_flight_and_keeps_its_start() -> None:
    waiting = Measurement(phase="Running", started_at="2024-05-01T10:00:00Z")
    result = record(MetricResult(name="a"), waiting)
    assert (result.phase, result.count) == ("Running", 0)
    answer = Measurement(phase="Failed", started_at="2024-05-01T10:00:09Z", value="1")
    done = record(result, answer)
    assert [(m.phase, m.started_at, m.value) for m in done.measurements or ()] == [
        ("Failed", "2024-05-01T10:00:00Z", "1")
    ]
    assert (done.count, done.failed) == (1, 1)


@given(
    phases=st.lists(st.sampled_from([*COMPLETED, "Running"]), max_size=30),
    limit=st.integers(-1, 15),
)
def test_counters_never_depend_on_what_is_kept(phases: list[str], limit: int) -> None:
    result = MetricResult(name="a")
    for phase in phases:
        result = record(result, Measurement(phase=phase), limit=limit)
    ended = [phase for phase in phases if phase in COMPLETED]
    counters = (result.successful, result.failed, result.inconclusive, result.error)
    assert sum(counters) == len(ended)
    assert result.count == len(ended) - result.error
    assert len(result.measurements or ()) <= (limit if limit > 0 else 10)
    assert not (result.consecutive_error and result.consecutive_success)


@given(
    counts=st.lists(st.integers(0, 6), min_size=5, max_size=5),
    limits=st.lists(st.integers(-1, 5), min_size=4, max_size=4),
    last=st.sampled_from(COMPLETED),
    terminating=st.booleans(),
)
def test_safe_never_hides_a_broken_failure_limit(
    counts: list[int], limits: list[int], last: str, terminating: bool
) -> None:
    asked = metric(
        interval="1m",
        count=max(limits[0], 0),
        failure_limit=limits[1],
        inconclusive_limit=max(limits[2], 0),
        consecutive_success_limit=max(limits[3], 0),
    )
    result = MetricResult(
        name="errors",
        measurements=[Measurement(phase=last)],
        count=counts[0],
        failed=counts[1],
        inconclusive=counts[2],
        consecutive_error=counts[3],
        consecutive_success=counts[4],
    )
    phase, _ = assess_metric(asked, result, terminating=terminating, compat="safe")
    if 0 <= limits[1] < counts[1]:
        assert phase in ("Failed", "Error")


def test_no_metrics_are_refused() -> None:
    with pytest.raises(Refused, match="no metrics specified"):
        validate_metrics([])
