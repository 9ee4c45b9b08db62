"""One measurement: by the provider that the metric names, within a deadline, without secrets, bounded.

Whatever a provider does, something comes of it that can be stored: an answer or an error with a reason.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import structlog
from msgspec.structs import replace

from agent.analysis.providers.port import Asked, Lasting, Provider, failed, masked
from agent.analysis.providers.registry import name_of, provider_of
from agent.analysis.verdict import COMPLETED
from agent.api.analysis import Measurement, Metric
from agent.api.meta import ObjectMeta
from agent.api.names import JUDGE_STATE
from agent.api.times import format_time, parse_time
from agent.clock import Clock
from agent.errors import Refused, SerinusError

log = structlog.get_logger(__name__)

MEASURE_SECONDS: Final = 60.0
"""Deadline above the providers' own, for a provider that forgets its; longer for a metric that asks for longer."""
MOST_SECONDS: Final = 600.0
SOONEST: Final = timedelta(seconds=1)
"""A measurement in flight is not asked again before."""
UNTOLD: Final = timedelta(seconds=10)
"""When one is asked again that does not say when."""
TERMINATED: Final = "Metric Terminated"
MAX_VALUE: Final = 4096
MAX_MESSAGE: Final = 2048
MAX_STATE: Final = 64 * 1024
MAX_METADATA: Final = 32


class Measurer:
    """Has metrics measured.

    Args:
        counted: called with provider and phase of every measurement.
    """

    def __init__(
        self,
        providers: Mapping[str, Provider],
        clock: Clock,
        counted: Callable[[str, str], None],
    ) -> None:
        self._providers = providers
        self._clock = clock
        self._counted = counted

    async def measure(self, asked: Mapping[str, Asked]) -> dict[str, Measurement]:
        """Measurements by metric, made at the same time."""
        return await self._all(asked, self._measure)

    async def end(self, asked: Mapping[str, Asked]) -> dict[str, Measurement]:
        """The ends of measurements in flight, for their run ends. Raises Unavailable."""
        return await self._all(asked, self._end)

    async def forget(self, metric: Metric, run: ObjectMeta, gone: Measurement) -> None:
        """Have what a measurement left cleared away, if its provider leaves anything."""
        provider = self._providers.get(name_of(metric))
        if not isinstance(provider, Lasting):
            return
        try:
            async with asyncio.timeout(MEASURE_SECONDS):
                await provider.forget(run, gone)
        except (SerinusError, TimeoutError) as error:
            # It goes with the run, at the latest.
            log.warning("analysis.not_forgotten", metric=metric.name, error=str(error))

    async def _all(
        self, asked: Mapping[str, Asked], make: Callable[[Asked], Awaitable[Measurement]]
    ) -> dict[str, Measurement]:
        try:
            async with asyncio.TaskGroup() as group:
                tasks = {
                    name: group.create_task(_awaited(make(one))) for name, one in asked.items()
                }
        except* SerinusError as errors:
            raise errors.exceptions[0] from None
        return {name: task.result() for name, task in tasks.items()}

    async def _measure(self, asked: Asked) -> Measurement:
        name = name_of(asked.metric)
        seconds = deadline_seconds(asked.metric)
        try:
            provider = provider_of(asked.metric, self._providers)
            async with asyncio.timeout(seconds):
                made = await provider.measure(asked)
        except Refused as error:
            made = failed(str(error))
        except TimeoutError:
            made = failed(f"provider {name} did not answer within {seconds:g} s")
        except Exception:
            log.exception("analysis.provider_bug", metric=asked.metric.name, provider=name)
            made = failed(f"provider {name} failed with an internal error; see the log")
        return self._told(asked, made)

    async def _end(self, asked: Asked) -> Measurement:
        earlier = asked.earlier or Measurement()
        made = replace(earlier, phase="Successful", resume_at=None)
        provider = self._providers.get(name_of(asked.metric))
        if isinstance(provider, Lasting):
            try:
                async with asyncio.timeout(MEASURE_SECONDS):
                    made = await provider.end(asked)
            except TimeoutError:
                made = replace(failed("could not be ended in time"), metadata=earlier.metadata)
        if made.phase in ("Successful", "Inconclusive"):
            made = replace(made, message=TERMINATED)
        return self._told(asked, made)

    def _told(self, asked: Asked, made: Any) -> Measurement:
        name, now = name_of(asked.metric), self._clock.now()
        told = _timed(bounded(_without(checked(name, made), asked.secrets)), asked.now, now)
        self._counted(name, told.phase)
        # What went well is on the run, and there may be hundreds a second.
        say = log.debug if told.phase in ("Successful", "Running") else log.info
        say(
            "analysis.measured",
            metric=asked.metric.name,
            phase=told.phase,
            value=told.value,
            message=told.message,
        )
        return told


async def _awaited(made: Awaitable[Measurement]) -> Measurement:
    return await made


def deadline_seconds(metric: Metric) -> float:
    """How long a measurement may take: somewhat longer than the metric asks for, within bounds."""
    config = (metric.provider or {}).get(name_of(metric))
    members = config if isinstance(config, Mapping) else {}
    own = members.get("timeout") or members.get("timeoutSeconds")
    seconds = own if isinstance(own, int | float) else 0
    return min(max(MEASURE_SECONDS, seconds + 5), MOST_SECONDS)


def checked(name: str, made: Any) -> Measurement:
    """What a provider gave, or an error when that is no measurement."""
    if not isinstance(made, Measurement):
        return failed(f"provider {name} answered {type(made).__name__}, not a measurement")
    if made.phase not in (*COMPLETED, "Running"):
        return failed(f"provider {name} answered the phase {str(made.phase)[:40]!r}")
    texts = (made.message, made.value, *(made.metadata or {}), *(made.metadata or {}).values())
    if not all(isinstance(text, str) for text in texts):
        return failed(f"provider {name} answered a message, value or metadata that is no text")
    try:
        if made.resume_at is not None:
            parse_time(made.resume_at)
    except (AttributeError, ValueError):
        return failed(f"provider {name} wants to be asked again at {str(made.resume_at)[:40]!r}")
    if len((made.metadata or {}).get(JUDGE_STATE, "")) > MAX_STATE:
        return failed(f"provider {name} wants to remember more than {MAX_STATE} characters")
    return made


def bounded(made: Measurement) -> Measurement:
    """Not longer than an AnalysisRun can keep a few of: texts are cut, and say how long they were."""
    metadata = {
        name[:MAX_VALUE]: value if name == JUDGE_STATE else _cut(value, MAX_VALUE)
        for name, value in list((made.metadata or {}).items())[:MAX_METADATA]
    }
    return replace(
        made,
        message=_cut(made.message, MAX_MESSAGE),
        value=_cut(made.value, MAX_VALUE),
        metadata=metadata or None,
    )


def _cut(text: str, size: int) -> str:
    return text if len(text) <= size else f"{text[:size]}… ({len(text)} characters)"


def _without(made: Measurement, secrets: tuple[str, ...]) -> Measurement:
    # A judge's state is numbers, and a secret that looks like one must not change them.
    metadata = {
        name: value if name == JUDGE_STATE else masked(value, secrets)
        for name, value in (made.metadata or {}).items()
    }
    return replace(
        made,
        message=masked(made.message, secrets),
        value=masked(made.value, secrets),
        metadata=metadata or None,
    )


def _timed(made: Measurement, started: datetime, now: datetime) -> Measurement:
    if made.phase in COMPLETED:
        ended = made.finished_at or format_time(now)
        return replace(made, started_at=format_time(started), finished_at=ended, resume_at=None)
    resume = parse_time(made.resume_at) if made.resume_at else now + UNTOLD
    if resume <= now:
        resume = now + SOONEST
    return replace(made, started_at=format_time(started), resume_at=format_time(resume))
