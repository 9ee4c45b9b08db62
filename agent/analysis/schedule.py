"""When the metrics of a run are measured, and when the run itself goes. PURE.

Rules: Argo's `generateMetricTasks`, `calculateNextReconcileTime` and `isAnalysisRunTtlExceeded`; the run's spec
has its arguments substituted already.
"""

import zlib
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from agent.analysis.run import is_terminating
from agent.analysis.verdict import COMPLETED, effective_count, last_measurement
from agent.api.analysis import AnalysisRun, Measurement, Metric, MetricResult
from agent.api.durations import parse_go_duration
from agent.api.times import parse_time

ERROR_RETRY: Final = timedelta(seconds=10)
"""Gap after an error, whatever the metric's interval, and for retries of a metric without interval."""

MOST_SPREAD: Final = timedelta(milliseconds=500)
"""Times are stored in whole seconds: what is put off by less, and ends in the second it was due in, moves nothing
after it."""


class Due(NamedTuple):
    """What there is to do for a run.

    Attributes:
        measure: metrics to measure for the first time or again, in the order of the spec.
        resume: metrics whose measurement in flight is to be asked again, or ended when the run terminates.
        next_wake: when the next of all becomes due, in the past when one is due already. A metric is due
            strictly after its time. None: nothing is waited for.
    """

    measure: tuple[str, ...]
    resume: tuple[str, ...]
    next_wake: datetime | None


def due(
    run: AnalysisRun, now: datetime, *, early: bool = False, since: datetime | None = None
) -> Due:
    """What is to be measured now and when to look again.

    Args:
        now: aware UTC.
        early: something happened that measurements in flight wait for, so they are asked before their time.
        since: when whoever measures took the run up. What is measured again is put off by the run's `spread`
            then, and what was due before counts as due at that time. None: nothing is put off, as in Argo.
    """
    found = {result.name: result for result in run.status.metric_results or ()}
    terminating = is_terminating(run)
    measure, resume, wakes = [], [], []
    for metric in run.spec.metrics or ():
        result = found.get(metric.name)
        if result is not None and result.phase in COMPLETED:
            continue
        last = last_measurement(result) if result else None
        if last is not None and (last.phase not in COMPLETED or last.finished_at is None):
            at = parse_time(last.resume_at) if last.resume_at else None
            if terminating or early or at is None or at <= now:
                resume.append(metric.name)
            if at is not None and not terminating:
                wakes.append(at)
            continue
        if terminating:
            continue
        if last is None and not metric.initial_delay:
            measure.append(metric.name)
            continue
        next_at = _first(metric, run, now) if last is None else _next(metric, result)
        if next_at is not None and since is not None and last is not None and last.finished_at:
            gap = next_at - parse_time(last.finished_at)
            next_at = _after(max(next_at, since), spread(run.metadata.uid, gap))
        if next_at is not None:
            wakes.append(next_at)
            if now > next_at and (last is not None or run.status.started_at):
                measure.append(metric.name)
    return Due(tuple(measure), tuple(resume), min(wakes, default=None))


def spread(uid: str, gap: timedelta) -> timedelta:
    """By how much a run's measurements are put off: always the same for a run, another one for each.

    Whole seconds let runs that were started or found within one fall due at the same moment for ever. Below a tenth of
    the gap, and half a second.
    """
    return min(gap / 10, MOST_SPREAD) * (zlib.crc32(uid.encode()) / 2**32)


def in_flight(run: AnalysisRun) -> dict[str, Measurement]:
    """The measurements that are under way, by the names of their metrics."""
    last = {r.name: last_measurement(r) for r in run.status.metric_results or ()}
    return {
        name: made
        for name, made in last.items()
        if made is not None and (made.phase not in COMPLETED or made.finished_at is None)
    }


def expires_at(run: AnalysisRun) -> datetime | None:
    """When a completed run is to be deleted; None: never.

    The time after success or failure wins over the one after completion; errors and inconclusive ends only
    know the latter.
    """
    ttl, status = run.spec.ttl_strategy, run.status
    if ttl is None or status.phase not in COMPLETED or status.completed_at is None:
        return None
    own = {"Successful": ttl.seconds_after_success, "Failed": ttl.seconds_after_failure}
    seconds = own.get(status.phase)
    seconds = ttl.seconds_after_completion if seconds is None else seconds
    try:
        return None if seconds is None else parse_time(status.completed_at) + timedelta(0, seconds)
    except (ValueError, OverflowError):
        return None


def _first(metric: Metric, run: AnalysisRun, now: datetime) -> datetime | None:
    """When a metric with an initial delay is first measured; the delay counts from the run's start."""
    delay = _duration(metric.initial_delay)
    if delay is None:
        return None
    return _after(parse_time(run.status.started_at) if run.status.started_at else now, delay)


def _next(metric: Metric, result: MetricResult | None) -> datetime | None:
    """When a metric is measured again, from the end of the last time; None: never, or in no known time."""
    last = last_measurement(result) if result else None
    if result is None or last is None or last.finished_at is None:
        return None
    count = effective_count(metric)
    if count is not None and result.count >= count:
        return None
    gap: timedelta | None = ERROR_RETRY
    if last.phase != "Error" and metric.interval:
        gap = _duration(metric.interval)
    return None if gap is None else _after(parse_time(last.finished_at), gap)


def _after(at: datetime, gap: timedelta) -> datetime | None:
    try:
        return at + gap
    except OverflowError:
        return None


def _duration(text: str | None) -> timedelta | None:
    try:
        return timedelta(microseconds=parse_go_duration(text or "0") / 1000)
    except (ValueError, OverflowError):
        return None
