"""analysis-timelines: a whole AnalysisRun over time, with a provider that answers from a script."""

from datetime import datetime, timedelta
from typing import Any, Final

from msgspec.structs import replace

from agent.analysis import arguments
from agent.analysis.run import assess, is_terminating, record
from agent.analysis.schedule import due
from agent.analysis.verdict import COMPLETED
from agent.api.analysis import AnalysisRun, Measurement, MetricResult
from agent.api.decode import read, write
from agent.api.times import format_time, parse_time
from agent.errors import Refused
from tests.conformance.compare import value_differences
from tests.conformance.compat import COMPAT

_COUNTERS: Final = (
    "count",
    "successful",
    "failed",
    "inconclusive",
    "error",
    "consecutiveError",
    "consecutiveSuccess",
)
_MAX_MOMENTS: Final = 50


def run(given: dict[str, Any], expect: dict[str, Any]) -> list[str]:
    timeline = _Timeline(given)
    limit = given.get("maxMoments", _MAX_MOMENTS)
    moments: list[dict[str, Any]] = []
    at = timeline.start
    while len(moments) < limit:
        moments.append(timeline.settled(at))
        following = timeline.following(at)
        if following is None:
            break
        at = following
    return value_differences(expect["moments"], moments, path="moments")


class _Timeline:
    def __init__(self, given: dict[str, Any]) -> None:
        self.start = parse_time(given["start"])
        self._script = {name: list(answers) for name, answers in given["outcomes"].items()}
        self._secrets = given.get("secrets") or {}
        ends = given.get("terminateAt")
        self._ends_at = parse_time(ends) if ends else None
        self._run = read(AnalysisRun, {"spec": given["spec"]})

    def settled(self, now: datetime) -> dict[str, Any]:
        """Passes until nothing changes while the clock stands still; the run as it is then."""
        if self._ends_at is not None and now >= self._ends_at:
            self._run = replace(self._run, spec=replace(self._run.spec, terminate=True))
        while self._run.status.phase not in COMPLETED:
            before = self._run.status
            self._pass(now)
            if self._run.status == before:
                break
        return self._shown(now)

    def following(self, now: datetime) -> datetime | None:
        """The next moment: a second after the next wake-up, or the termination if it is earlier."""
        if self._run.status.phase in COMPLETED:
            return None
        wake = due(self._resolved(), now).next_wake
        times = [wake + timedelta(seconds=1)] if wake else []
        if self._ends_at is not None and self._ends_at > now:
            times.append(self._ends_at)
        return min(times, default=None)

    def _pass(self, now: datetime) -> None:
        try:
            resolved = self._resolved()
        except Refused as error:
            message = f"Unable to resolve metric arguments: {error.detail}"
            status = replace(self._run.status, phase="Error", message=message)
        else:
            status = assess(resolved, now, compat=COMPAT.get())
            if status.phase not in COMPLETED:
                started = replace(resolved, status=status)
                status = assess(self._measured(started, now), now, compat=COMPAT.get())
        self._run = replace(self._run, status=status)

    def _resolved(self) -> AnalysisRun:
        spec = self._run.spec
        values = arguments.values_of(spec.args or ())
        for arg in spec.args or ():
            source = arg.value_from.secret_key_ref if arg.value_from else None
            if source is not None:
                if source.name not in self._secrets:
                    raise Refused(f'secrets "{source.name}" not found')
                values[arg.name] = self._secrets[source.name][source.key]
        metrics = [arguments.substitute_metric(metric, values) for metric in spec.metrics or ()]
        return replace(self._run, spec=replace(spec, metrics=metrics))

    def _measured(self, run: AnalysisRun, now: datetime) -> AnalysisRun:
        plan = due(run, now)
        spec = run.spec
        limits = arguments.retention_limits(spec.metrics or (), spec.measurement_retention or ())
        results = {result.name: result for result in run.status.metric_results or ()}
        for name in (*plan.measure, *plan.resume):
            ended = name in plan.resume and is_terminating(run)
            answer = {"phase": "Successful"} if ended else self._answer(name)
            made = replace(read(Measurement, answer), started_at=format_time(now))
            if made.phase in COMPLETED:
                made = replace(made, finished_at=format_time(now))
            old = results.get(name) or MetricResult(name=name)
            results[name] = record(old, made, limit=limits.get(name, 0))
        return replace(run, status=replace(run.status, metric_results=list(results.values())))

    def _answer(self, name: str) -> dict[str, Any]:
        script = self._script[name]
        answer: dict[str, Any] = script.pop(0) if len(script) > 1 else script[0]
        return answer

    def _shown(self, now: datetime) -> dict[str, Any]:
        status = write(self._run.status)
        shown: dict[str, Any] = {"at": format_time(now), "metrics": {}}
        for field in ("phase", "message", "completedAt"):
            if status.get(field):
                shown[field] = status[field]
        for result in status.get("metricResults") or ():
            fields = ("phase", "message", "dryRun", *_COUNTERS)
            metric = {field: result[field] for field in fields if result.get(field)}
            metric["measurements"] = len(result.get("measurements") or ())
            shown["metrics"][result["name"]] = metric
        if self._run.status.phase not in COMPLETED:
            wake = due(self._resolved(), now).next_wake
            if wake is not None:
                shown["nextWake"] = format_time(wake)
        return shown
