"""What is said about a run."""

import json
from typing import Any

import pytest

from agent.api.analysis import AnalysisRun, AnalysisRunStatus, Measurement, Metric, MetricResult
from agent.cli.analyze_text import (
    EXIT,
    Made,
    Told,
    counters,
    heading,
    line,
    measurement_json,
    verdict_json,
    verdict_line,
    verdict_of,
)

METRIC = Metric(
    name="rate",
    interval="30s",
    count=5,
    failure_limit=1,
    success_condition="result[0] >= 0.95",
    provider={"prometheus": {"query": "sum(\n  rate(x[2m])\n)"}},
)


def measured(phase: str = "Successful", **more: Any) -> Measurement:
    return Measurement(phase=phase, value="[0.97]", finished_at="2026-05-01T10:00:05Z", **more)


def run_with(*results: MetricResult, phase: str = "Running", message: str = "") -> AnalysisRun:
    status = AnalysisRunStatus(phase=phase, message=message, metric_results=list(results))
    return AnalysisRun(status=status)


def test_a_heading_says_how_often_what_is_asked() -> None:
    assert heading(METRIC) == [
        "rate: prometheus, every 30s, 5 times",
        "  query: sum( rate(x[2m]) )",
        "  successCondition: result[0] >= 0.95",
    ]
    assert heading(Metric(name="m", provider={"web": {"url": "http://x"}})) == [
        "m: web, once",
        "  query: http://x",
    ]
    judge: dict[str, Any] = {"plugin": {"serinus/sequential": {}}}
    assert heading(Metric(name="j", provider=judge)) == [
        "j: serinus/sequential, looks until the evidence is in"
    ]
    endless = Metric(name="e", interval="5s", provider={"web": {}})
    assert heading(endless) == ["e: web, every 5s, without an end"]


@pytest.mark.parametrize(
    ("phase", "success", "failure", "message", "words"),
    [
        ("Successful", "s", "", "", "s holds"),
        ("Successful", "", "f", "", "f does not hold"),
        ("Successful", "", "", "", "there is no condition"),
        ("Failed", "s", "", "", "s does not hold"),
        ("Failed", "", "f", "", "f holds"),
        ("Failed", "s", "f", "", "f holds"),
        ("Inconclusive", "s", "f", "", "neither s nor f holds"),
        ("Error", "s", "", "no data", "no data"),
        ("Running", "s", "", "", ""),
    ],
)
def test_a_verdict_says_which_condition_decided(
    phase: str, success: str, failure: str, message: str, words: str
) -> None:
    metric = Metric(name="m", success_condition=success, failure_condition=failure)
    assert verdict_of(metric, measured(phase, message=message)) == words


def test_counters_stand_against_their_limits() -> None:
    result = MetricResult(
        name="rate", count=3, failed=1, inconclusive=1, error=2, consecutive_error=2
    )
    assert counters(METRIC, result) == (
        "3 of 5 measured, 1 failed (limit 1), 1 inconclusive (limit 0), 2 errors in a row (limit 4)"
    )
    streak = Metric(name="m", interval="1s", failure_limit=-1, consecutive_success_limit=4)
    assert counters(streak, MetricResult(count=3, consecutive_success=2)) == (
        "3 measured, 0 failed (limit off), 2 successes in a row (4 end it)"
    )


def test_a_line_has_it_all() -> None:
    made = Made(
        MetricResult(name="rate", count=1), measured(metadata={"missingData": "stale sample"})
    )
    assert line(METRIC, made) == (
        "10:00:05 rate Successful  [0.97]  result[0] >= 0.95 holds  missing: stale sample"
        "  1 of 5 measured, 0 failed (limit 1)"
    )


def test_the_judge_speaks_of_its_evidence() -> None:
    numbers = {
        "evidence": "240", "ratio": "4.1", "ratioAtLeast": "1.8", "canaryRequests": "341",
        "canaryBad": "31", "stableRequests": "3000", "stableBad": "66", "safeEvidence": "1",
    }  # fmt: skip
    metric = Metric(name="judge", provider={"plugin": {"serinus/sequential": {}}})
    made = Made(MetricResult(name="judge"), measured("Running", metadata=numbers))
    assert line(metric, made) == (
        "10:00:05 judge Running  e-value 240 against the canary, 1 for it, ratio 4.1 (at least 1.8),"
        " canary 31 bad of 341, stable 66 bad of 3000"
    )


def test_only_what_is_new_is_told() -> None:
    told = Told()
    first = MetricResult(name="rate", count=1, measurements=[measured()])
    assert [made.result for made in told.new(run_with(first))] == [first]
    assert told.new(run_with(first, message="another")) == []
    second = MetricResult(name="rate", count=2, measurements=[measured(), measured()])
    assert [made.result for made in told.new(run_with(second))] == [second]
    assert told.new(run_with(MetricResult(name="fresh"))) == []


def test_json_is_for_programs() -> None:
    result = MetricResult(name="rate", phase="Failed", count=2, failed=2, message="m")
    said = json.loads(measurement_json(METRIC, Made(result, measured("Failed"))))
    assert (said["type"], said["phase"], said["value"]) == ("measurement", "Failed", "[0.97]")
    assert said["counters"]["failed"] == 2
    said = json.loads(verdict_json(run_with(result, phase="Failed", message="too many")))
    assert (said["type"], said["phase"], said["message"]) == ("verdict", "Failed", "too many")
    assert said["metrics"][0]["counters"]["count"] == 2


def test_the_verdict_is_one_line() -> None:
    assert verdict_line(run_with(phase="Failed", message="too many")) == "Failed: too many"
    assert verdict_line(run_with(phase="Successful")) == "Successful"
    assert EXIT == {"Successful": 0, "Failed": 1, "Inconclusive": 3, "Error": 4}
