"""The analysis driver: AnalysisRuns are measured outside the rollouts' lanes.

Everything is on the object: what was measured, what is in flight, what comes next. A pass over a run
assesses it, measures what is due, and writes both by compare-and-swap; after a crash the next pass finds
what is missing. One run's trouble stays its own.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec
import structlog

from agent.analysis import arguments
from agent.analysis.missing import Policy
from agent.analysis.providers.job import run_of as job_run
from agent.analysis.providers.port import Asked
from agent.analysis.providers.port import Provider as MetricProvider
from agent.analysis.run import assess, is_terminating, record, state_of
from agent.analysis.schedule import due, expires_at, in_flight
from agent.analysis.verdict import Compat
from agent.api.analysis import AnalysisRun, AnalysisRunStatus, Measurement, Metric, MetricResult
from agent.api.decode import read, write
from agent.api.meta import Key, Object, Ref
from agent.api.names import JUDGE_STATE, ROLLOUT_TYPE
from agent.api.times import format_time
from agent.clock import Clock
from agent.cluster.port import KINDS, Cluster
from agent.engine import run_arguments
from agent.engine.lane import Epoch, Lanes
from agent.engine.measuring import Measurer
from agent.engine.observe import Objects
from agent.engine.records import Recorder
from agent.engine.timers import Timers
from agent.engine.wishes import Wishes, wishes
from agent.errors import Conflict, NotFound, Refused, Retry, SerinusError
from agent.rollout.records import run_went_on

log = structlog.get_logger(__name__)

PARALLEL: Final = 4096
"""Runs that may be measured at the same time: most only wait for an answer, and one slow server must not keep
the runs of others from theirs."""
RETRY_SECONDS: Final = 1.0
NUDGE: Final = "nudge"
"""Cause of a wake by something that a measurement in flight waits for."""
MOMENT: Final = timedelta(milliseconds=1)
SWAPS: Final = 5
FLUSH_SECONDS: Final = 1.0
"""What core Events get at the end."""
DONE: Final = frozenset({"Successful", "Failed", "Error", "Inconclusive"})
_RUN: Final = KINDS["AnalysisRun"]


class AnalysisDriver:
    """Drives every unfinished AnalysisRun that the cache shows.

    Args:
        objects: the cache; its owner calls `changed`.
        counted: called with provider and phase of every measurement.
        recorded: called with "ok", "failed" or "dropped" for every core Event.
        owns: which rollouts this process drives; their runs are measured here, and so are the runs of
            nobody whose own name falls to us.
    """

    def __init__(
        self,
        cluster: Cluster,
        objects: Objects,
        clock: Clock,
        providers: Mapping[str, MetricProvider],
        *,
        compat: Compat = "safe",
        missing: Policy = "error",
        counted: Callable[[str, str], None] = lambda _provider, _phase: None,
        recorded: Callable[[str], None] = lambda _result: None,
        owns: Callable[[Key], bool] = lambda _rollout: True,
    ) -> None:
        self._owns = owns
        self._cluster = cluster
        self._objects = objects
        self._clock = clock
        self._wishes_by_default = Wishes(compat, "", missing)
        self._measurer = Measurer(providers, clock, counted)
        self._recorder = Recorder(cluster, clock, counted=recorded)
        self._lanes = Lanes(self._pass, parallel=PARALLEL)
        self._timers = Timers(self._wake, clock)
        self._since = clock.now()

    def changed(self, ref: Ref, old: Object | None, new: Object | None) -> None:
        """The cache shows a change."""
        if ref.kind == "AnalysisRun" and new is not None:
            self._wake(Key(ref.namespace, ref.name), "changed")
        elif ref.kind == "Job" and (run := job_run(new or old or {})) is not None:
            self._wake(run, NUDGE)

    async def run(self) -> None:
        """Drives runs until `stop`."""
        self.wake_all()
        async with asyncio.TaskGroup() as group:
            timers = group.create_task(self._timers.run(), name="analysis timers")
            recorder = group.create_task(self._recorder.run(), name="analysis events")
            await self._lanes.run()
            await self._recorder.flush(FLUSH_SECONDS)
            for task in (timers, recorder):
                task.cancel()

    async def stop(self, seconds: float) -> None:
        """Finish what is under way, within a deadline; `run` returns then."""
        await self._lanes.drain(seconds)

    def wake_all(self) -> None:
        """Look at every run: at the start, and when rollouts were gained or lost."""
        self._since = self._clock.now()
        for run in self._objects.list("AnalysisRun"):
            self._wake(Key.of(run), "start")

    def _wake(self, key: Key, cause: str) -> None:
        self._lanes.wake(key, cause)

    async def _pass(self, key: Key, epoch: Epoch, causes: tuple[str, ...]) -> float | None:
        del epoch
        found = self._objects.get(Ref("AnalysisRun", *key))
        if (
            found is None
            or "deletionTimestamp" in found["metadata"]
            or (_phase(found) in DONE and not (found.get("spec") or {}).get("ttlStrategy"))
            or not self._owns(_rollout_of(found))
        ):
            self._timers.set(key, None)
            return None
        with structlog.contextvars.bound_contextvars(analysis_run=str(key)):
            try:
                run = read(AnalysisRun, found)
                if run.status.phase in DONE:
                    return await self._expire(key, run)
                return await self._drive(key, run, early=NUDGE in causes)
            except Conflict:
                return 0.0
            except NotFound:
                return None
            except Refused as error:
                await self._end(key, f"invalid AnalysisRun: {error}")
                return None
            except SerinusError as error:
                log.warning("analysis.retry", error=str(error), seconds=RETRY_SECONDS)
                return RETRY_SECONDS
            except Exception:
                log.exception("analysis.bug")
                await self._end(key, "internal error; see the log")
                return None

    async def _drive(self, key: Key, run: AnalysisRun, *, early: bool) -> float | None:
        """Assess, measure what is due, store; how soon to look again, None when woken."""
        now = self._clock.now()
        wanted = self._wishes(run)
        try:
            metrics = run_arguments.without_secrets(run)
            policies = {name: wanted.policy(name) for name in metrics}
        except Refused as error:
            await self._end(key, f"Unable to resolve metric arguments: {error.detail}")
            return None
        resolved = _resolved(run, metrics)
        if is_terminating(run) and (ending := metrics.keys() & in_flight(run).keys()):
            # Like Argo: what is in flight ends first, and counts.
            asked = self._asked(resolved, metrics, ending, now, wanted, policies)
            await self._record(key, run, await self._measurer.end(asked), resolved)
            return 0.0
        status = assess(resolved, now, compat=wanted.compat)
        resolved = msgspec.structs.replace(resolved, status=status)
        todo = due(resolved, now, early=early, since=self._since)
        names = () if status.phase in DONE else (*todo.measure, *todo.resume)
        secrets: tuple[str, ...] = ()
        if names:
            try:
                metrics, secrets = await run_arguments.with_secrets(
                    self._cluster, run, wanted.compat
                )
            except Refused as error:
                await self._end(key, f"Unable to resolve metric arguments: {error.detail}")
                return None
            except Retry as error:
                await self._store(run, msgspec.structs.replace(status, message=str(error)))
                return error.after_seconds
        # Measured against the run as it was started: what the status says must be stored first.
        stored = await self._store(run, status)
        if status.phase in DONE:
            log.info("analysis.finished", phase=status.phase, message=status.message)
            return None
        if not names:
            # Due is what lies strictly before now: a moment later there is something to do.
            wake = todo.next_wake
            self._timers.set(key, wake + MOMENT if wake is not None else None)
            return None
        asked = self._asked(resolved, metrics, names, now, wanted, policies, secrets)
        measured = await self._measurer.measure(asked)
        if not self._owns(_rollout_of(self._objects.get(Ref("AnalysisRun", *key)) or {})):
            return None  # its new owner measures, too
        await self._record(key, stored, measured, resolved)
        return 0.0

    async def _expire(self, key: Key, run: AnalysisRun) -> float | None:
        """Delete a completed run whose time to live is over, or wait for that."""
        at = expires_at(run)
        if at is None or at >= self._clock.now():
            self._timers.set(key, at + MOMENT if at is not None else None)
            return None
        log.info("analysis.expired", phase=run.status.phase)
        await self._cluster.delete(_RUN, key.namespace, key.name, uid=run.metadata.uid)
        self._objects.observe_delete(Ref("AnalysisRun", *key))
        return None

    def _asked(
        self,
        run: AnalysisRun,
        metrics: Mapping[str, Metric],
        names: Iterable[str],
        now: datetime,
        wanted: Wishes,
        policies: Mapping[str, Policy],
        secrets: tuple[str, ...] = (),
    ) -> dict[str, Asked]:
        """What to measure, by metric, in the order of the spec."""
        results = {result.name: result for result in run.status.metric_results or ()}
        earlier, wanted_names = in_flight(run), frozenset(names)
        return {
            name: Asked(
                metric=metric,
                now=now,
                compat=wanted.compat,
                missing=policies[name],
                secrets=secrets,
                run=run.metadata,
                number=_made(results.get(name)) + 1,
                earlier=earlier.get(name),
                state=state_of(results.get(name)),
                background=run.metadata.label(ROLLOUT_TYPE) == "Background",
            )
            for name, metric in metrics.items()
            if name in wanted_names
        }

    def _wishes(self, run: AnalysisRun) -> Wishes:
        """What annotations of the run, else of the Rollout that owns it, want; else the settings."""
        found = [run.metadata.annotations or {}]
        for owner in run.metadata.owner_references or ():
            if owner.kind == "Rollout":
                rollout = self._objects.get(Ref("Rollout", run.metadata.namespace, owner.name))
                found.append(((rollout or {}).get("metadata") or {}).get("annotations") or {})
        return wishes(found, self._wishes_by_default)

    async def _record(
        self, key: Key, run: AnalysisRun, measured: Mapping[str, Measurement], resolved: AnalysisRun
    ) -> None:
        """Store the measurements; on a conflict onto what is there now, for they cannot be made again.

        A judge's look can, and what it remembers builds upon what it was given: it is dropped when another
        look was stored meanwhile.
        """
        given = {r.name: state_of(r) for r in resolved.status.metric_results or ()}
        limits = arguments.retention_limits(
            resolved.spec.metrics or (), resolved.spec.measurement_retention or ()
        )
        for _ in range(SWAPS):
            before = {r.name: r for r in run.status.metric_results or ()}
            results = dict(before)
            for name, measurement in measured.items():
                result = results.get(name) or MetricResult(name=name)
                is_look = JUDGE_STATE in (measurement.metadata or {})
                if is_look and state_of(result) != given.get(name, ""):
                    continue
                results[name] = record(result, measurement, limit=limits.get(name, 0))
            ordered = [results[m.name] for m in resolved.spec.metrics or () if m.name in results]
            status = msgspec.structs.replace(run.status, metric_results=ordered)
            whole = msgspec.structs.replace(run, spec=resolved.spec, status=status)
            try:
                await self._store(
                    run, assess(whole, self._clock.now(), compat=self._wishes(run).compat)
                )
            except Conflict:
                run = read(AnalysisRun, await self._cluster.get(_RUN, key.namespace, key.name))
                continue
            for metric in resolved.spec.metrics or ():
                if metric.name in measured:
                    for gone in _dropped(before.get(metric.name), results.get(metric.name)):
                        await self._measurer.forget(metric, run.metadata, gone)
            return
        raise Conflict(f"AnalysisRun {key}: others kept writing it")

    async def _store(self, run: AnalysisRun, status: AnalysisRunStatus) -> AnalysisRun:
        """Write a status by compare-and-swap, unless it is there already; the run as it is then."""
        if status == run.status:
            return run
        body = {
            "metadata": {"resourceVersion": run.metadata.resource_version},
            # What is at its default is left out, and what is left out of a merge patch stays.
            "status": {"metricResults": None, "message": None, **write(status)},
        }
        if status.metric_results is None:
            del body["status"]["metricResults"]
        meta = run.metadata
        answer = await self._cluster.merge_patch(_RUN, meta.namespace, meta.name, body, status=True)
        self._objects.observe_write(answer)
        self._recorder.record(answer, run_went_on(run.status, status))
        return read(AnalysisRun, answer)

    async def _end(self, key: Key, message: str) -> None:
        """The run cannot be carried out: phase Error, once and for all."""
        found = self._objects.get(Ref("AnalysisRun", *key))
        if found is None:
            return
        status = {**(found.get("status") or {}), "phase": "Error", "message": message}
        status["completedAt"] = format_time(self._clock.now())
        body = {
            "metadata": {"resourceVersion": found["metadata"]["resourceVersion"]},
            "status": status,
        }
        log.warning("analysis.refused", message=message)
        try:
            answer = await self._cluster.merge_patch(
                _RUN, key.namespace, key.name, body, status=True
            )
        except SerinusError as error:
            log.warning("analysis.retry", error=str(error), seconds=RETRY_SECONDS)
            self._timers.set(key, self._clock.now())
            return
        self._objects.observe_write(answer)
        ended = AnalysisRunStatus(phase="Error")
        self._recorder.record(answer, run_went_on(AnalysisRunStatus(), ended))


def _resolved(run: AnalysisRun, metrics: Mapping[str, Metric]) -> AnalysisRun:
    spec = msgspec.structs.replace(run.spec, metrics=list(metrics.values()))
    return msgspec.structs.replace(run, spec=spec)


def _made(result: MetricResult | None) -> int:
    """How many measurements of a metric are finished."""
    return result.count + result.error if result else 0


def _dropped(before: MetricResult | None, after: MetricResult | None) -> Sequence[Measurement]:
    """The measurements that were kept before, and are no longer."""
    if before is None or after is None:
        return ()
    old, new = before.measurements or [], after.measurements or []
    added = 0 if old and old[-1].phase not in DONE else 1
    return old[: max(0, len(old) + added - len(new))]


def _phase(run: Object) -> str:
    return str((run.get("status") or {}).get("phase") or "")


def _rollout_of(run: Object) -> Key:
    """The rollout that controls the run; the run's own key when none does."""
    meta = run.get("metadata") or {}
    for reference in meta.get("ownerReferences") or ():
        if reference.get("kind") == "Rollout":
            return Key(meta.get("namespace") or "default", str(reference.get("name", "")))
    return Key.of(run)
