"""The numbers behind a verdict: for the event, the message of the Rollout, and the chat. PURE."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from agent.analysis.run import state_of
from agent.analysis.verdict import (
    BAD,
    DEFAULT_CONSECUTIVE_ERROR_LIMIT,
    is_judged,
    last_measurement,
    limit_of,
)
from agent.api.analysis import AnalysisRun, Metric, MetricResult
from agent.api.names import QUERY, WEB_REQUEST

EVIDENCE_BYTES: Final = 1900
"""Of the 2 KiB that an event's cause may carry."""
_BADNESS: Final = {"Inconclusive": 1, "Error": 2, "Failed": 3}
_VALUE: Final = 100
_CONDITION: Final = 200
_QUERY: Final = 300
_SENTENCE: Final = 400


def evidence(run: AnalysisRun) -> dict[str, Any]:
    """The numbers behind a run's verdict: per metric its phase, counters and last values; the worst metrics first.

    Of those that went bad also the limits, the conditions, and what was asked. At most EVIDENCE_BYTES of JSON;
    `more` says how many metrics did not fit.
    """
    results = _worst_first(run)
    metrics = {metric.name: metric for metric in run.spec.metrics or ()}
    found: dict[str, Any] = {"analysisRun": run.metadata.name, "phase": run.status.phase}
    shown: dict[str, Any] = {}
    for result in results:
        shown[result.name] = _metric_evidence(result, metrics.get(result.name))
        if len(msgspec.json.encode({**found, "more": 999, "metrics": shown})) > EVIDENCE_BYTES:
            del shown[result.name]
            found["more"] = len(results) - len(shown)
            break
    return {**found, "metrics": shown}


def verdict_words(run: AnalysisRun) -> str:
    """` (value …; successCondition …)` of the metric that decided, where its own message does not say it."""
    for result in _worst_first(run)[:1]:
        last = last_measurement(result)
        metric = next((m for m in run.spec.metrics or () if m.name == result.name), Metric())
        if result.phase in BAD and last is not None and not (last.message or state_of(result)):
            words = [f"{n} {text}" for n, text in (("value", last.value[:_VALUE]),) if text]
            words += [f"{name} {text}" for name, text in _conditions(metric).items()]
            return f" ({'; '.join(words)})" if words else ""
    return ""


def _worst_first(run: AnalysisRun) -> Sequence[MetricResult]:
    return sorted(
        run.status.metric_results or (), key=lambda r: (r.dry_run, -_BADNESS.get(r.phase, 0))
    )


def _metric_evidence(result: MetricResult, metric: Metric | None) -> dict[str, Any]:
    last = (result.measurements or [])[-3:]
    said = result.message or next((m.message for m in reversed(last) if m.message), "")
    found: dict[str, Any] = {
        "phase": result.phase,
        "successful": result.successful,
        "failed": result.failed,
        "inconclusive": result.inconclusive,
        "error": result.error,
        "values": [measurement.value[:_VALUE] for measurement in last],
        "message": said[:_SENTENCE],
    }
    if metric is not None and result.phase in BAD:
        if not is_judged(metric):
            found["limits"] = _limits(metric)
            found |= _conditions(metric)
        told = {**((last[-1].metadata if last else None) or {}), **(result.metadata or {})}
        asked = told.get(QUERY) or told.get(WEB_REQUEST)
        if asked:
            found["asked"] = asked[:_QUERY]
    if last and state_of(result):
        numbers = {n: _number(text) for n, text in (last[-1].metadata or {}).items()}
        found["sequential"] = {n: value for n, value in numbers.items() if value is not None}
    return found


def _conditions(metric: Metric) -> dict[str, str]:
    found = {
        "successCondition": metric.success_condition,
        "failureCondition": metric.failure_condition,
    }
    return {name: text[:_CONDITION] for name, text in found.items() if text}


def _limits(metric: Metric) -> dict[str, int]:
    return {
        "failureLimit": limit_of(metric.failure_limit),
        "inconclusiveLimit": limit_of(metric.inconclusive_limit),
        "consecutiveErrorLimit": limit_of(
            metric.consecutive_error_limit, default=DEFAULT_CONSECUTIVE_ERROR_LIMIT
        ),
    }


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
