"""What the measurements of an AnalysisRun mean for the whole run. PURE.

Rules and words: Argo's `assessRunStatus`. The run's spec must have its arguments substituted already.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from msgspec.structs import replace

from agent.analysis.arguments import dry_run_metrics, retention_limits, worst
from agent.analysis.missing import POLICY
from agent.analysis.validation import validate_metrics
from agent.analysis.verdict import (
    BAD,
    COMPLETED,
    Compat,
    assess_metric,
    broken_limit,
    last_measurement,
)
from agent.api.analysis import (
    AnalysisRun,
    AnalysisRunStatus,
    Measurement,
    Metric,
    MetricResult,
    RunSummary,
)
from agent.api.names import JUDGE_STATE, QUERY
from agent.api.times import format_time
from agent.errors import Refused

DEFAULT_RETENTION: Final = 10
_COUNTER: Final = {
    "Successful": "successful",
    "Failed": "failed",
    "Inconclusive": "inconclusive",
    "Error": "error",
}


def assess(run: AnalysisRun, now: datetime, *, compat: Compat) -> AnalysisRunStatus:
    """The run's status after what has been measured so far; the first call starts the run.

    A spec that cannot be carried out ends the run with phase Error. A completed run stays as it is.
    """
    status = run.status
    if status.phase in COMPLETED:
        return status
    metrics = run.spec.metrics or []
    try:
        validate_metrics(metrics)
        dry_run = dry_run_metrics(metrics, run.spec.dry_run or ())
        retention_limits(metrics, run.spec.measurement_retention or ())
    except Refused as error:
        # Argo leaves completedAt empty here, and with it the run's time to live.
        completed_at = format_time(now) if compat == "safe" else status.completed_at
        message = f"Analysis spec invalid: {error.detail}"
        return replace(status, phase="Error", message=message, completed_at=completed_at)
    results = _assessed(run, dry_run, compat)
    phase, message = _verdict(run, results, compat)
    return replace(
        status,
        phase=phase,
        message=message,
        metric_results=results,
        started_at=status.started_at or format_time(now),
        completed_at=format_time(now) if phase in COMPLETED else status.completed_at,
        run_summary=_summary([m for m in metrics if m.name not in dry_run], results, compat),
        dry_run_summary=_summary([m for m in metrics if m.name in dry_run], results, compat)
        if dry_run
        else None,
    )


def is_terminating(run: AnalysisRun) -> bool:
    """Whether nothing new is measured: somebody ended the run, or a metric that counts went bad."""
    return run.spec.terminate or any(
        result.phase in BAD and not result.dry_run for result in run.status.metric_results or ()
    )


def _assessed(run: AnalysisRun, dry_run: dict[str, bool], compat: Compat) -> list[MetricResult]:
    """The results with their phases and messages, in the order in which they stand in the status."""
    metrics = {metric.name: metric for metric in run.spec.metrics or ()}
    terminating = is_terminating(run)
    results = []
    for result in run.status.metric_results or ():
        metric = metrics.get(result.name)
        if metric is None:
            results.append(result)
            continue
        marked = replace(result, dry_run=dry_run.get(result.name, False))
        results.append(_with_phase(metric, marked, terminating, compat))
    return results


def _with_phase(
    metric: Metric, result: MetricResult, terminating: bool, compat: Compat
) -> MetricResult:
    phase, reason = assess_metric(metric, result, terminating=terminating, compat=compat)
    message = result.message
    if phase != result.phase:
        last = last_measurement(result)
        message = last.message if last else message
    if result.dry_run and reason:
        message = f"Metric assessed {phase} due to {reason}"
    return replace(result, phase=phase, message=message)


def _verdict(run: AnalysisRun, results: Sequence[MetricResult], compat: Compat) -> tuple[str, str]:
    """Phase and message of the run: the worst of its metrics, dry ones aside, once all are done."""
    found = {result.name: result for result in results}
    phase, message = "", "Run Terminated" if run.spec.terminate else ""
    all_done = True
    for metric in run.spec.metrics or ():
        result = found.get(metric.name)
        if result is None or result.phase not in COMPLETED:
            all_done = False
        elif result.dry_run:
            phase = phase or "Successful"
        elif not phase or worst(phase, result.phase) != phase:
            phase = result.phase
            message = _message(metric, result, compat) or message
    if is_terminating(run):
        return phase or "Successful", message
    if not all_done or not phase:
        return "Running", ""
    return phase, message


def _message(metric: Metric, result: MetricResult, compat: Compat) -> str:
    _, reason = assess_metric(metric, result, terminating=False, compat=compat)
    if not reason:
        return ""
    detail = f': "Error Message: {result.message}"' if result.message else ""
    return f'Metric "{metric.name}" assessed {result.phase} due to {reason}{detail}'


def _summary(
    metrics: Sequence[Metric], results: Sequence[MetricResult], compat: Compat
) -> RunSummary:
    """How many metrics ended in which phase.

    Argo takes every metric that broke no limit for a success, also one that missed its streak; `safe`
    counts the phase.
    """
    found = {result.name: result for result in results}
    counts = dict.fromkeys(_COUNTER.values(), 0)
    for metric in metrics:
        result = found.get(metric.name)
        if result is None or result.phase not in COMPLETED:
            continue
        phase = result.phase
        if compat == "argo":
            phase = broken_limit(metric, result, compat=compat)[0] or "Successful"
        counts[_COUNTER[phase]] += 1
    return RunSummary(count=len(metrics), **counts)


def record(result: MetricResult, measurement: Measurement, *, limit: int = 0) -> MetricResult:
    """The result with one more answer; it replaces the measurement in flight, if there is one.

    Counters move when a measurement is finished; errors are not counted in `count`, and nothing is when the
    policy for missing data says so. The newest `limit`
    measurements are kept, ten when the limit is not positive. What a judge remembers is taken out of the
    measurement and kept with the result, where no limit reaches it; Argo's clients look there for the query, too.
    """
    result, measurement, is_look = _remembered(_with_query(result, measurement), measurement)
    kept = list(result.measurements or ())
    if kept and kept[-1].phase not in COMPLETED:
        started = kept[-1].started_at or measurement.started_at
        kept[-1] = replace(measurement, started_at=started)
    else:
        kept.append(measurement)
    size = limit if limit > 0 else DEFAULT_RETENTION
    ignored = (measurement.metadata or {}).get(POLICY) == "ignore"
    counted = result if ignored else _counted(result, measurement.phase)
    if is_look and measurement.phase == "Running":
        # A judge that has looked and goes on has got an answer: errors before it are not consecutive.
        counted = replace(counted, consecutive_error=0)
    return replace(counted, phase=result.phase or "Running", measurements=kept[-size:])


def state_of(result: MetricResult | None) -> str:
    """What a judge remembers of a metric; "" when nothing."""
    return ((result.metadata if result else None) or {}).get(JUDGE_STATE, "")


def _remembered(
    result: MetricResult, measurement: Measurement
) -> tuple[MetricResult, Measurement, bool]:
    """Both with the judge's state in its place, and whether there was one."""
    metadata = dict(measurement.metadata or {})
    state = metadata.pop(JUDGE_STATE, None)
    if state is None:
        return result, measurement, False
    kept = {**(result.metadata or {}), JUDGE_STATE: state}
    return replace(result, metadata=kept), replace(measurement, metadata=metadata or None), True


def _with_query(result: MetricResult, measurement: Measurement) -> MetricResult:
    query = (measurement.metadata or {}).get(QUERY)
    if query is None or QUERY in (result.metadata or {}):
        return result
    return replace(result, metadata={**(result.metadata or {}), QUERY: query})


def _counted(result: MetricResult, phase: str) -> MetricResult:
    if phase == "Error":
        return replace(
            result,
            error=result.error + 1,
            consecutive_error=result.consecutive_error + 1,
            consecutive_success=0,
        )
    if phase not in COMPLETED:
        return result
    own = _COUNTER[phase]
    return replace(
        result,
        count=result.count + 1,
        consecutive_error=0,
        consecutive_success=result.consecutive_success + 1 if phase == "Successful" else 0,
        **{own: getattr(result, own) + 1},
    )
