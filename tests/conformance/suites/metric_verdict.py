"""metric-verdict: limits and counters to the phase of one metric."""

from typing import Any

from agent.analysis.verdict import assess_metric
from agent.api.analysis import Metric, MetricResult
from agent.api.decode import read
from tests.conformance.compare import differences
from tests.conformance.compat import COMPAT


def run(given: dict[str, Any], expect: dict[str, Any]) -> list[str]:
    phase, reason = assess_metric(
        read(Metric, given["metric"]),
        read(MetricResult, given["result"]),
        terminating=given["terminating"],
        compat=COMPAT.get(),
    )
    return differences(expect, {"phase": phase, "reason": reason})
