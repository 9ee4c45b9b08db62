"""run-verdict: results of metrics to the phase, message and summaries of their run."""

from typing import Any

from agent.analysis.run import assess
from agent.api.analysis import AnalysisRun
from agent.api.decode import read, write
from agent.api.times import parse_time
from tests.conformance.compare import differences
from tests.conformance.compat import COMPAT

_COUNTERS = ("count", "successful", "failed", "inconclusive", "error")


def run(given: dict[str, Any], expect: dict[str, Any]) -> list[str]:
    status = write(
        assess(read(AnalysisRun, given["run"]), parse_time(given["now"]), compat=COMPAT.get())
    )
    shown = ("phase", "message", "dryRun")
    results = {
        result["name"]: {field: result[field] for field in shown if result.get(field)}
        for result in status.get("metricResults") or ()
    }
    got = {
        "phase": status["phase"],
        "message": status.get("message") or "",
        "metricResults": results,
        "runSummary": _counts(status.get("runSummary")),
        "dryRunSummary": _counts(status.get("dryRunSummary")),
    }
    return differences(expect, got)


def _counts(summary: dict[str, int] | None) -> dict[str, int]:
    return {name: summary[name] for name in _COUNTERS if summary and summary.get(name)}
