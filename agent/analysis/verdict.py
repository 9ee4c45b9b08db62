"""What the counters of one metric mean: its phase, and the limit that decided. PURE.

Rules: Argo's `assessMetricStatus`. Where `safe` differs from `argo` is said beside the rule.
"""

from typing import Final, Literal

from agent.api.analysis import IntOrString, Measurement, Metric, MetricResult
from agent.api.names import SEQUENTIAL

Compat = Literal["safe", "argo"]

COMPLETED: Final = ("Successful", "Failed", "Error", "Inconclusive")
BAD: Final = ("Failed", "Error", "Inconclusive")
DEFAULT_CONSECUTIVE_ERROR_LIMIT: Final = 4


def limit_of(value: IntOrString | None, *, default: int = 0) -> int:
    """A limit as a number. Text that is none counts as 0, as in Argo; None gives the default."""
    if value is None:
        return default
    if isinstance(value, int):
        return value
    digits = value[1:] if value[:1] in ("+", "-") else value
    return int(value) if digits.isascii() and digits.isdigit() else 0


def effective_count(metric: Metric) -> int | None:
    """Measurements (errors do not count) after which the metric is complete; None: no end.

    Without a count a metric is measured once, or for ever when it has an interval. The sequential judge
    comes to one verdict; its count is of looks.
    """
    if is_judged(metric):
        return 1
    count = limit_of(metric.count)
    if count:
        return count
    return None if metric.interval else 1


def is_judged(metric: Metric) -> bool:
    """Whether the metric is the sequential judge's."""
    plugin = (metric.provider or {}).get("plugin")
    return isinstance(plugin, dict) and plugin.get(SEQUENTIAL) is not None


def is_endless(metric: Metric) -> bool:
    """Whether it may go on being measured for ever."""
    if is_judged(metric):
        return not limit_of(metric.count)
    return effective_count(metric) is None


def last_measurement(result: MetricResult) -> Measurement | None:
    return result.measurements[-1] if result.measurements else None


def assess_metric(
    metric: Metric, result: MetricResult, *, terminating: bool, compat: Compat
) -> tuple[str, str]:
    """Phase of the metric and, when a limit decided it, the reason (else "").

    `terminating`: the whole run ends, so a metric that has broken no limit is Successful.
    """
    phase = _phase(metric, result, terminating=terminating, compat=compat)
    return phase, reason_for(metric, result, phase, compat=compat)


def _phase(metric: Metric, result: MetricResult, *, terminating: bool, compat: Compat) -> str:
    if result.phase in COMPLETED:
        return result.phase
    last = last_measurement(result)
    if last is None:
        return "Successful" if terminating else "Pending"
    if last.phase not in COMPLETED:
        return "Running"
    broken, _ = broken_limit(metric, result, compat=compat)
    if broken:
        return broken
    streak = limit_of(metric.consecutive_success_limit)
    if 0 < streak <= result.consecutive_success:
        return "Successful"
    count = effective_count(metric)
    if count is not None and result.count >= count:
        return _phase_at_count(metric)
    return "Successful" if terminating else "Running"


def _phase_at_count(metric: Metric) -> str:
    """Phase of a metric that used up its count and broke no limit, nor reached its streak."""
    if limit_of(metric.consecutive_success_limit) <= 0:
        return "Successful"
    return "Inconclusive" if limit_of(metric.failure_limit) >= 0 else "Failed"


def broken_limit(metric: Metric, result: MetricResult, *, compat: Compat) -> tuple[str, str]:
    """The limit that the counters exceed, as phase and reason; ("", "") when none.

    Of several, `argo` takes Error, then Inconclusive, then Failed. `safe` lets failures come before
    inconclusive answers: otherwise enough answers that say nothing turn a proven failure into a pause,
    and the bad revision keeps its traffic.
    """
    failures = limit_of(metric.failure_limit)
    inconclusive = limit_of(metric.inconclusive_limit)
    errors = limit_of(metric.consecutive_error_limit, default=DEFAULT_CONSECUTIVE_ERROR_LIMIT)
    found = {}
    if 0 <= failures < result.failed:
        found["Failed"] = f"failed ({result.failed}) > failureLimit ({failures})"
    if result.inconclusive > inconclusive:
        found["Inconclusive"] = (
            f"inconclusive ({result.inconclusive}) > inconclusiveLimit ({inconclusive})"
        )
    if result.consecutive_error > errors:
        found["Error"] = (
            f"consecutiveErrors ({result.consecutive_error}) > consecutiveErrorLimit ({errors})"
        )
    order = ("Error", "Failed", "Inconclusive")
    if compat == "argo":
        order = ("Error", "Inconclusive", "Failed")
    for phase in order:
        if phase in found:
            return phase, found[phase]
    return "", ""


def reason_for(metric: Metric, result: MetricResult, phase: str, *, compat: Compat) -> str:
    """Why the metric has this phase; "" when no limit explains it.

    A streak that was not reached in time has no words in Argo; `safe` gives it some.
    """
    if phase not in BAD:
        return ""
    broken, reason = broken_limit(metric, result, compat=compat)
    if broken == phase:
        return reason
    streak = limit_of(metric.consecutive_success_limit)
    if compat == "safe" and streak > 0 and result.consecutive_success < streak:
        return (
            f"consecutiveSuccesses ({result.consecutive_success})"
            f" < consecutiveSuccessLimit ({streak})"
        )
    return ""
