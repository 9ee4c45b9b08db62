"""metric-validation: metrics to acceptance or the first problem."""

from typing import Any

from agent.analysis.validation import validate_metrics
from agent.api.analysis import Metric
from agent.api.decode import read
from agent.errors import Refused
from tests.conformance.compare import differences


def run(given: dict[str, Any], expect: dict[str, Any]) -> list[str]:
    got: dict[str, Any] = {"valid": True}
    try:
        validate_metrics([read(Metric, metric) for metric in given["metrics"]])
    except Refused as error:
        got = {"error": error.detail}
    return differences(expect, got)
