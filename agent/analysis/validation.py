"""Whether the metrics of an analysis can be run at all. PURE.

Rules and words: Argo's utils/analysis/factory.go.
"""

from collections.abc import Sequence

from agent.analysis.verdict import DEFAULT_CONSECUTIVE_ERROR_LIMIT, limit_of
from agent.api.analysis import Metric
from agent.api.durations import parse_go_duration
from agent.errors import Refused


def validate_metrics(metrics: Sequence[Metric]) -> None:
    """Raises Refused with the first problem; its detail begins with `metrics[i]: `."""
    if not metrics:
        raise Refused("no metrics specified")
    names = []
    for index, metric in enumerate(metrics):
        problem = metric_problem(metric)
        if not problem and metric.name in names:
            problem = f"duplicate name '{metric.name}'"
        if problem:
            raise Refused(f"metrics[{index}]: {problem}")
        names.append(metric.name)


def metric_problem(metric: Metric) -> str:
    """What is wrong with one metric, "" when nothing is."""
    return (
        _duration_problem(metric)
        or _limit_problem(metric)
        or _count_problem(metric)
        or _provider_problem(metric)
    )


def _duration_problem(metric: Metric) -> str:
    for words, text in (
        ("invalid interval string", metric.interval),
        ("invalid startDelay string", metric.initial_delay),
    ):
        if text:
            try:
                parse_go_duration(text)
            except ValueError as error:
                return f"{words}: {error}"
    return ""


def _limit_problem(metric: Metric) -> str:
    failures = limit_of(metric.failure_limit)
    streak = limit_of(metric.consecutive_success_limit)
    errors = limit_of(metric.consecutive_error_limit, default=DEFAULT_CONSECUTIVE_ERROR_LIMIT)
    if streak < 0:
        return "consecutiveSuccessLimit must be >= 0"
    if failures < -1:
        return "failureLimit must be >= 0, or -1 to be disabled"
    if failures == -1 and streak == 0:
        return "failureLimit and consecutiveSuccessLimit cannot both be disabled"
    if limit_of(metric.inconclusive_limit) < 0:
        return "inconclusiveLimit must be >= 0"
    if errors < 0:
        return "consecutiveErrorLimit must be >= 0"
    return ""


def _count_problem(metric: Metric) -> str:
    count = limit_of(metric.count)
    failures = limit_of(metric.failure_limit)
    streak = limit_of(metric.consecutive_success_limit)
    if count <= 0:
        return ""
    if failures >= 0 and count < failures + streak:
        return (
            f"count ({count}) must be >= failureLimit + consecutiveSuccessLimit"
            f" ({failures} + {streak}) if both >= 0"
        )
    if count < streak:
        return "count must be >= consecutiveSuccessLimit"
    if count < limit_of(metric.inconclusive_limit):
        return "count must be >= inconclusiveLimit"
    if count > 1 and not metric.interval:
        return "interval must be specified when count > 1"
    return ""


def _provider_problem(metric: Metric) -> str:
    """Each plugin counts as a provider of its own."""
    found = 0
    for name, config in (metric.provider or {}).items():
        if config is not None:
            found += len(config) if name == "plugin" else 1
    if not found:
        return "no provider specified"
    return "multiple providers specified" if found > 1 else ""
