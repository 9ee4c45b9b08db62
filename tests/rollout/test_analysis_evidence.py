"""What an event may carry of a verdict: the worst first, numbers of the judge, and never too much."""

import msgspec

from agent.api.analysis import AnalysisRun, AnalysisRunStatus, Measurement, MetricResult
from agent.api.names import JUDGE_STATE
from agent.rollout.analysis_runs import EVIDENCE_BYTES, evidence


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
