"""The analysis driver: AnalysisRuns are measured outside the rollouts' lanes.

Everything is on the object: what was measured, what is in flight, what comes next. A pass over a run
assesses it, measures what is due, and writes both by compare-and-swap; after a crash the next pass finds
what is missing. One run's trouble stays its own.
"""

import asyncio
import base64
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Final

import msgspec
import structlog

from agent.analysis import arguments
from agent.analysis.missing import Policy
from agent.analysis.providers.port import Asked, failed
from agent.analysis.providers.port import Provider as MetricProvider
from agent.analysis.providers.registry import name_of, provider_of
from agent.analysis.run import assess, record, state_of
from agent.analysis.schedule import due
from agent.analysis.verdict import Compat
from agent.api.analysis import (
    AnalysisRun,
    AnalysisRunStatus,
    Argument,
    Measurement,
    MetricResult,
)
from agent.api.decode import read, write
from agent.api.meta import Key, Object, Ref
from agent.api.names import JUDGE_STATE, ROLLOUT_TYPE
from agent.api.times import format_time
from agent.clock import Clock
from agent.cluster.port import KINDS, Cluster
from agent.engine.lane import Epoch, Lanes
from agent.engine.observe import Objects
from agent.engine.timers import Timers
from agent.engine.wishes import Wishes, wishes
from agent.errors import Conflict, NotFound, Refused, Retry, SerinusError

log = structlog.get_logger(__name__)

PARALLEL: Final = 64
MEASURE_SECONDS: Final = 60.0
"""Deadline above the providers' own, for a provider that forgets its."""
RETRY_SECONDS: Final = 1.0
MOMENT: Final = timedelta(milliseconds=1)
SWAPS: Final = 5
DONE: Final = frozenset({"Successful", "Failed", "Error", "Inconclusive"})
_RUN: Final = KINDS["AnalysisRun"]


class AnalysisDriver:
    """Drives every unfinished AnalysisRun that the cache shows.

    Args:
        objects: the cache; its owner calls `changed`.
        counted: called with provider and phase of every measurement.
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
        owns: Callable[[Key], bool] = lambda _rollout: True,
    ) -> None:
        self._owns = owns
        self._cluster = cluster
        self._objects = objects
        self._clock = clock
        self._providers = providers
        self._wishes_by_default = Wishes(compat, "", missing)
        self._counted = counted
        self._places = asyncio.Semaphore(PARALLEL)
        self._lanes = Lanes(self._pass, parallel=PARALLEL)
        self._timers = Timers(self._wake, clock)

    def changed(self, ref: Ref, old: Object | None, new: Object | None) -> None:
        """The cache shows a change."""
        del old
        if ref.kind == "AnalysisRun" and new is not None:
            self._wake(Key(ref.namespace, ref.name), "changed")

    async def run(self) -> None:
        """Drives runs until `stop`."""
        self.wake_all()
        async with asyncio.TaskGroup() as group:
            timers = group.create_task(self._timers.run(), name="analysis timers")
            await self._lanes.run()
            timers.cancel()

    async def stop(self, seconds: float) -> None:
        """Finish what is under way, within a deadline; `run` returns then."""
        await self._lanes.drain(seconds)

    def wake_all(self) -> None:
        """Look at every run: at the start, and when rollouts were gained or lost."""
        for run in self._objects.list("AnalysisRun"):
            self._wake(Key.of(run), "start")

    def _wake(self, key: Key, cause: str) -> None:
        self._lanes.wake(key, cause)

    async def _pass(self, key: Key, epoch: Epoch, causes: tuple[str, ...]) -> float | None:
        del epoch, causes
        found = self._objects.get(Ref("AnalysisRun", *key))
        if (
            found is None
            or (found.get("status") or {}).get("phase") in DONE
            or not self._owns(_rollout_of(found))
        ):
            self._timers.set(key, None)
            return None
        with structlog.contextvars.bound_contextvars(analysis_run=str(key)):
            try:
                return await self._drive(key, read(AnalysisRun, found))
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

    async def _drive(self, key: Key, run: AnalysisRun) -> float | None:
        """Assess, measure what is due, store; whether to look again at once."""
        now = self._clock.now()
        try:
            values, secrets = await self._arguments(run)
            metrics = {
                m.name: arguments.substitute_metric(m, values) for m in run.spec.metrics or ()
            }
            resolved = msgspec.structs.replace(
                run, spec=msgspec.structs.replace(run.spec, metrics=list(metrics.values()))
            )
            wanted = self._wishes(run)
            policies = {name: wanted.policy(name) for name in metrics}
            status = assess(resolved, now, compat=wanted.compat)
        except Refused as error:
            await self._end(key, f"Unable to resolve metric arguments: {error.detail}")
            return None
        resolved = msgspec.structs.replace(resolved, status=status)
        plan = due(resolved, now)
        # Measured against the run as it was started: what the status says must be stored first.
        stored = run if status == run.status else await self._store(run, status)
        if status.phase in DONE:
            log.info("analysis.finished", phase=status.phase, message=status.message)
            self._timers.set(key, None)
            return None
        names = (*plan.measure, *plan.resume)
        if not names:
            # Due is what lies strictly before now: a moment later there is something to do.
            wake = plan.next_wake
            self._timers.set(key, wake + MOMENT if wake is not None else None)
            return None
        results = {result.name: result for result in status.metric_results or ()}
        background = run.metadata.label(ROLLOUT_TYPE) == "Background"
        async with asyncio.TaskGroup() as group:
            tasks = {
                name: group.create_task(
                    self._measure(
                        Asked(
                            metric=metrics[name],
                            now=self._clock.now(),
                            compat=wanted.compat,
                            missing=policies[name],
                            secrets=secrets,
                            state=state_of(results.get(name)),
                            background=background,
                        )
                    )
                )
                for name in names
            }
        measured = {name: task.result() for name, task in tasks.items()}
        if not self._owns(_rollout_of(self._objects.get(Ref("AnalysisRun", *key)) or {})):
            return None  # its new owner measures, too
        await self._record(key, stored, measured, resolved)
        return 0.0

    def _wishes(self, run: AnalysisRun) -> Wishes:
        """What annotations of the run, else of the Rollout that owns it, want; else the settings."""
        found = [run.metadata.annotations or {}]
        for owner in run.metadata.owner_references or ():
            if owner.kind == "Rollout":
                rollout = self._objects.get(Ref("Rollout", run.metadata.namespace, owner.name))
                found.append(((rollout or {}).get("metadata") or {}).get("annotations") or {})
        return wishes(found, self._wishes_by_default)

    async def _measure(self, asked: Asked) -> Measurement:
        name = name_of(asked.metric)
        try:
            provider = provider_of(asked.metric, self._providers)
            async with self._places, asyncio.timeout(MEASURE_SECONDS):
                made = await provider.measure(asked)
        except Refused as error:
            made = failed(error.detail)
        except TimeoutError:
            made = failed(f"provider {name} did not answer within {MEASURE_SECONDS:g} s")
        self._counted(name, made.phase)
        log.info(
            "analysis.measured",
            metric=asked.metric.name,
            phase=made.phase,
            value=made.value,
            message=made.message,
        )
        return _masked(_timed(made, asked.now, self._clock.now()), asked.secrets)

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
            results = {r.name: r for r in run.status.metric_results or ()}
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
            return
        raise Conflict(f"AnalysisRun {key}: others kept writing it")

    async def _store(self, run: AnalysisRun, status: AnalysisRunStatus) -> AnalysisRun:
        """Write a status by compare-and-swap; the run as it is then."""
        body = {
            "metadata": {"resourceVersion": run.metadata.resource_version},
            "status": {"metricResults": None, **write(status)},
        }
        if status.metric_results is None:
            del body["status"]["metricResults"]
        meta = run.metadata
        answer = await self._cluster.merge_patch(_RUN, meta.namespace, meta.name, body, status=True)
        self._objects.observe_write(answer)
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

    async def _arguments(self, run: AnalysisRun) -> tuple[dict[str, str | None], tuple[str, ...]]:
        """Values of the arguments, with secrets read anew, and the secrets among them.

        Raises Refused when a Secret has no such key; a missing Secret is tried again.
        """
        values: dict[str, str | None] = {}
        secrets: list[str] = []
        for arg in run.spec.args or ():
            values[arg.name] = arg.value
            source = arg.value_from.secret_key_ref if arg.value_from else None
            if source is not None:
                values[arg.name] = await self._secret(run, arg, source.name, source.key)
                secrets.append(values[arg.name] or "")
        return values, tuple(secret for secret in secrets if secret)

    async def _secret(self, run: AnalysisRun, arg: Argument, name: str, key: str) -> str:
        try:
            found = await self._cluster.get(KINDS["Secret"], run.metadata.namespace, name)
        except NotFound as error:
            raise Retry(
                f"argument {arg.name}: secret {name!r} is missing", after_seconds=RETRY_SECONDS
            ) from error
        data = (found.get("data") or {}).get(key)
        if data is None:
            raise Refused(f"key '{key}' does not exist in secret '{name}'")
        return base64.b64decode(data).decode(errors="replace")


def _timed(made: Measurement, started: datetime, finished: datetime) -> Measurement:
    ended = made.finished_at or (format_time(finished) if made.phase in DONE else None)
    return msgspec.structs.replace(made, started_at=format_time(started), finished_at=ended)


def _masked(made: Measurement, secrets: tuple[str, ...]) -> Measurement:
    """Without secrets: they are arguments like others, and end up in queries and messages."""
    if not secrets:
        return made

    def mask(text: str) -> str:
        for secret in secrets:
            text = text.replace(secret, "*****")
        return text

    # A judge's state is numbers, and a secret that looks like one must not change them.
    metadata = {
        name: value if name == JUDGE_STATE else mask(value)
        for name, value in (made.metadata or {}).items()
    } or None
    return msgspec.structs.replace(
        made, message=mask(made.message), value=mask(made.value), metadata=metadata
    )


def _rollout_of(run: Object) -> Key:
    """The rollout that controls the run; the run's own key when none does."""
    meta = run.get("metadata") or {}
    for reference in meta.get("ownerReferences") or ():
        if reference.get("kind") == "Rollout":
            return Key(meta.get("namespace") or "default", str(reference.get("name", "")))
    return Key.of(run)
