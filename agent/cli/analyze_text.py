"""What `serinus analyze` says about a run: its metrics, each measurement, the verdict. PURE."""

from typing import Any, Final, NamedTuple

import msgspec

from agent.analysis.missing import KIND
from agent.analysis.providers.registry import name_of
from agent.analysis.verdict import (
    DEFAULT_CONSECUTIVE_ERROR_LIMIT,
    effective_count,
    is_judged,
    last_measurement,
    limit_of,
)
from agent.api.analysis import AnalysisRun, Measurement, Metric, MetricResult

EXIT: Final = {"Successful": 0, "Failed": 1, "Inconclusive": 3, "Error": 4}
"""Exit codes by the phase of the run; 2 is the shell's for a wrong use."""
COLOURS: Final = {
    "Successful": "green",
    "Failed": "red",
    "Error": "magenta",
    "Inconclusive": "yellow",
    "Running": "cyan",
    "Pending": "dim",
}


class Made(NamedTuple):
    """A measurement that is new, with the counters after it."""

    result: MetricResult
    measurement: Measurement


class Told:
    """Remembers what was seen of a run, to tell what is new."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Any, ...]] = {}

    def new(self, run: AnalysisRun) -> list[Made]:
        """The measurements since the last call; of one in flight, each look."""
        found = []
        for result in run.status.metric_results or ():
            last = last_measurement(result)
            if last is None:
                continue
            mark = (result.count, result.error, last)
            if self._known.get(result.name) != mark:
                self._known[result.name] = mark
                found.append(Made(result, last))
        return found


def heading(metric: Metric) -> list[str]:
    """How a metric is measured and judged."""
    count = effective_count(metric)
    if is_judged(metric):
        looks = limit_of(metric.count)
        times = f"up to {looks} looks" if looks else "looks until the evidence is in"
    elif count is None:
        times = "without an end"
    else:
        times = "once" if count == 1 else f"{count} times"
    every = f"every {metric.interval}, " if metric.interval and count != 1 else ""
    lines = [f"{metric.name}: {name_of(metric)}, {every}{times}"]
    for label, text in (
        ("query", asked(metric)),
        ("successCondition", metric.success_condition),
        ("failureCondition", metric.failure_condition),
    ):
        if text:
            lines.append(f"  {label}: {text}")
    return lines


def asked(metric: Metric) -> str:
    """What the provider is asked, on one line."""
    provider = metric.provider or {}
    settings = provider.get("prometheus") or provider.get("web") or {}
    text = settings.get("query") or settings.get("url") if isinstance(settings, dict) else ""
    return " ".join(str(text or "").split())


def verdict_of(metric: Metric, measurement: Measurement) -> str:
    """Why the measurement has its phase."""
    if measurement.message:
        return measurement.message
    success, failure = metric.success_condition, metric.failure_condition
    match measurement.phase:
        case "Successful" if success:
            return f"{success} holds"
        case "Successful" if failure:
            return f"{failure} does not hold"
        case "Successful":
            return "there is no condition"
        case "Failed" if failure and success:
            return f"{failure} holds"
        case "Failed":
            return f"{success} does not hold" if success else f"{failure} holds"
        case "Inconclusive":
            return f"neither {success} nor {failure} holds"
    return ""


def counters(metric: Metric, result: MetricResult) -> str:
    """Counters against their limits."""
    if is_judged(metric):
        return ""
    failures = limit_of(metric.failure_limit)
    errors = limit_of(metric.consecutive_error_limit, default=DEFAULT_CONSECUTIVE_ERROR_LIMIT)
    count, streak = effective_count(metric), limit_of(metric.consecutive_success_limit)
    parts = [
        f"{result.count}{'' if count is None else f' of {count}'} measured",
        f"{result.failed} failed (limit {'off' if failures < 0 else failures})",
    ]
    if result.inconclusive or limit_of(metric.inconclusive_limit):
        limit = limit_of(metric.inconclusive_limit)
        parts.append(f"{result.inconclusive} inconclusive (limit {limit})")
    if result.error:
        parts.append(f"{result.consecutive_error} errors in a row (limit {errors})")
    if streak > 0:
        parts.append(f"{result.consecutive_success} successes in a row ({streak} end it)")
    return ", ".join(parts)


def line(metric: Metric, made: Made) -> str:
    """A measurement on one line."""
    measurement = made.measurement
    at = (measurement.finished_at or measurement.started_at or "")[11:19]
    missing = (measurement.metadata or {}).get(KIND, "")
    parts = [
        f"{at} {metric.name} {measurement.phase}",
        "" if is_judged(metric) else measurement.value,
        verdict_of(metric, measurement),
        f"missing: {missing}" if missing else "",
        evidence(measurement),
        counters(metric, made.result),
    ]
    return "  ".join(" ".join(part.split()) for part in parts if part)


def evidence(measurement: Measurement) -> str:
    """The sequential judge's numbers in words; "" for other providers."""
    known = measurement.metadata or {}
    if "evidence" not in known:
        return ""
    parts = [f"e-value {known['evidence']} against the canary"]
    if "safeEvidence" in known:
        parts.append(f"{known['safeEvidence']} for it")
    if "ratio" in known:
        least = known.get("ratioAtLeast")
        parts.append(f"ratio {known['ratio']}" + (f" (at least {least})" if least else ""))
    arms = [
        f"{arm} {known[f'{arm}Bad']} bad of {known[f'{arm}Requests']}"
        for arm in ("canary", "stable")
    ]
    return ", ".join([*parts, *arms])


def measurement_json(metric: Metric, made: Made) -> str:
    """A measurement for programs."""
    result, measurement = made.result, made.measurement
    body = {
        "type": "measurement",
        "metric": metric.name,
        **msgspec.to_builtins(measurement),
        "verdict": verdict_of(metric, measurement),
        "counters": _numbers(result),
    }
    return msgspec.json.encode(body).decode()


def verdict_json(run: AnalysisRun) -> str:
    """The verdict for programs."""
    body = {
        "type": "verdict",
        "phase": run.status.phase,
        "message": run.status.message,
        "metrics": [
            {
                "name": result.name,
                "phase": result.phase,
                "message": result.message,
                "dryRun": result.dry_run,
                "counters": _numbers(result),
            }
            for result in run.status.metric_results or ()
        ],
    }
    return msgspec.json.encode(body).decode()


def verdict_line(run: AnalysisRun) -> str:
    """The verdict for people."""
    phase = run.status.phase or "Pending"
    return f"{phase}: {run.status.message}" if run.status.message else phase


def _numbers(result: MetricResult) -> dict[str, int]:
    return {
        "count": result.count,
        "successful": result.successful,
        "failed": result.failed,
        "inconclusive": result.inconclusive,
        "error": result.error,
        "consecutiveError": result.consecutive_error,
        "consecutiveSuccess": result.consecutive_success,
    }
