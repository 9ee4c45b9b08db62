"""What an event may carry of a verdict: the worst first, numbers of the judge, and never too much."""

import msgspec
import pytest
from msgspec.structs import replace

from agent.api.analysis import (
    AnalysisRun,
    AnalysisRunSpec,
    AnalysisRunStatus,
    Measurement,
    Metric,
    MetricResult,
)
from agent.api.names import JUDGE_STATE, QUERY
from agent.rollout.evidence import EVIDENCE_BYTES, evidence, verdict_words


def run_of(*results: MetricResult) -> AnalysisRun:
    return AnalysisRun(status=AnalysisRunStatus(phase="Failed", metric_results=list(results)))


def test_the_numbers_of_the_judge_are_numbers() -> None:
    said = {"ratio": "4.1", "alpha": "0.01", "note": "was away for 3 s", "canaryRequests": "341"}
    judged = MetricResult(
        name="errors",
        phase="Failed",
        failed=1,
        measurements=[Measurement(phase="Failed", value="{}", message="words", metadata=said)],
        metadata={JUDGE_STATE: "{}"},
    )
    found = evidence(run_of(judged))["metrics"]["errors"]
    assert found["sequential"] == {"ratio": 4.1, "alpha": 0.01, "canaryRequests": 341.0}
    assert found["message"] == "words"


def test_metadata_of_other_metrics_stays_where_it_is() -> None:
    plain = MetricResult(
        name="m", measurements=[Measurement(phase="Failed", metadata={"Query": "1"})]
    )
    assert "sequential" not in evidence(run_of(plain))["metrics"]["m"]


def test_what_failed_comes_first_and_nothing_grows_beyond_the_bound() -> None:
    long = [Measurement(phase="Successful", value="9" * 500, message="m" * 900)] * 3
    fine = [MetricResult(name=f"fine-{n}", phase="Successful", measurements=long) for n in range(9)]
    bad = MetricResult(name="bad", phase="Failed", measurements=long)
    dry = MetricResult(name="dry", phase="Failed", dry_run=True, measurements=long)
    found = evidence(run_of(*fine, dry, bad))
    assert next(iter(found["metrics"])) == "bad"
    assert "dry" not in found["metrics"]
    assert found["more"] == 11 - len(found["metrics"])
    assert len(msgspec.json.encode(found)) <= EVIDENCE_BYTES


def judged(value: str = "[0.42]", message: str = "", failure_condition: str = "") -> AnalysisRun:
    """A run of one metric that failed."""
    metric = Metric(
        name="m",
        success_condition="result[0] >= 0.95",
        failure_limit=1,
        failure_condition=failure_condition,
    )
    measured = Measurement(
        phase="Failed", value=value, message=message, metadata={QUERY: "sum(rate(x[1m]))"}
    )
    result = MetricResult(name="m", phase="Failed", failed=2, measurements=[measured])
    return AnalysisRun(
        spec=AnalysisRunSpec(metrics=[metric]),
        status=AnalysisRunStatus(phase="Failed", metric_results=[result]),
    )


def test_a_failed_metric_tells_its_limits_its_condition_and_what_was_asked() -> None:
    found = evidence(judged())["metrics"]["m"]
    assert found["values"] == ["[0.42]"]
    assert (found["failed"], found["limits"]["failureLimit"]) == (2, 1)
    assert found["limits"]["consecutiveErrorLimit"] == 4
    assert found["successCondition"] == "result[0] >= 0.95"
    assert found["asked"] == "sum(rate(x[1m]))"
    assert "failureCondition" not in found


def test_a_metric_that_was_fine_costs_no_room_for_what_it_was_asked() -> None:
    run = judged()
    result = (run.status.metric_results or [])[0]
    fine = replace(
        run, status=AnalysisRunStatus(metric_results=[replace(result, phase="Successful")])
    )
    assert not {"limits", "asked", "successCondition"} & set(evidence(fine)["metrics"]["m"])


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (judged(), " (value [0.42]; successCondition result[0] >= 0.95)"),
        (judged(value="9" * 500), f" (value {'9' * 100}; successCondition result[0] >= 0.95)"),
        (judged(value=""), " (successCondition result[0] >= 0.95)"),
        (judged(message="away"), ""),
        (judged(failure_condition="x"), " (value [0.42]; successCondition result[0] >= 0.95; failureCondition x)"),
        (AnalysisRun(), ""),
    ],
    ids=["both", "long", "no value", "it says it itself", "two conditions", "nothing"],
)  # fmt: skip
def test_the_words_of_a_verdict(run: AnalysisRun, words: str) -> None:
    assert verdict_words(run) == words


def test_a_dry_run_decides_nothing_and_is_not_named() -> None:
    run = judged()
    result = (run.status.metric_results or [])[0]
    dry = replace(result, dry_run=True)
    fine = MetricResult(name="fine", phase="Successful", measurements=result.measurements)
    both = replace(run, status=AnalysisRunStatus(metric_results=[dry, fine]))
    assert verdict_words(both) == ""
