"""The sequential judge as a provider: `provider.plugin["serinus/sequential"]` (agent.analysis.sequential).

Each look reads the raw samples of both arms' counters since the last one, so that every scrape counts once,
whenever one looks. The measurement runs until the evidence is in; what is known stays with the metric's result.
"""

import math
from asyncio import TaskGroup
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, Protocol

import structlog
from msgspec.structs import replace

from agent.analysis.missing import KIND
from agent.analysis.providers import sequential_queries as queries
from agent.analysis.providers.port import Asked, failed
from agent.analysis.sequential import verdict
from agent.analysis.sequential.dispersion import dispersion
from agent.analysis.sequential.grid import grid, scrape_interval
from agent.analysis.sequential.ladder import ladder
from agent.analysis.sequential.look import Found, looked, next_look
from agent.analysis.sequential.settings import Settings, interval_of, seconds_of, settings_of
from agent.analysis.sequential.state import State, decode, encode
from agent.analysis.sequential.strata import ArmSamples, look_up, without_edge
from agent.analysis.verdict import limit_of
from agent.api.analysis import Measurement, Metric
from agent.api.names import JUDGE_STATE, SEQUENTIAL
from agent.api.times import format_time
from agent.errors import Refused, Unavailable

log = structlog.get_logger(__name__)

FIRST_SECONDS: Final = 300.0
"""How far the first look sees back, for the scrape interval."""
MOST_SECONDS: Final = 3600.0
"""How long the judge may have been away; what was counted before is not."""
NOTE: Final = "note"
WARNINGS: Final = "warnings"


class Answers(Protocol):
    """What of Prometheus the judge needs: `agent.analysis.providers.prometheus.Prometheus.raw`."""

    async def raw(
        self, settings: Mapping[str, Any], form: Mapping[str, str], now: datetime
    ) -> dict[str, Any]:
        """The body of a successful answer. Raises Refused, Unavailable."""
        ...


class Look(NamedTuple):
    """What one look saw."""

    canary: ArmSamples
    stable: ArmSamples
    warnings: str


class Sequential:
    """Provider `plugin["serinus/sequential"]`."""

    name = SEQUENTIAL

    def __init__(self, prometheus: Answers) -> None:
        self._prometheus = prometheus

    def check(self, metric: Metric) -> None:
        settings_of(metric)

    async def measure(self, asked: Asked) -> Measurement:
        """One look: count what is new, and say what it comes to."""
        try:
            settings = settings_of(asked.metric)
            state, note = _known(asked, settings)
            look = await self._look(asked, settings, state)
            if state.grid is None:
                state = await self._begun(asked, settings, state, look)
            found = looked(
                state,
                settings,
                look.canary,
                look.stable,
                now=asked.now.timestamp(),
                most_looks=limit_of(asked.metric.count),
                policy=asked.missing,
                ends_early=not asked.background,
                warnings=look.warnings,
            )
        except (Refused, Unavailable) as error:
            return failed(str(error))
        except (KeyError, TypeError, ValueError, IndexError) as error:
            return failed(f"the answer is not one of Prometheus' query API: {error!r}")
        return _measurement(asked, settings, found, note=note, warnings=look.warnings)

    async def _look(self, asked: Asked, settings: Settings, state: State) -> Look:
        """The samples since the last look. Raises Refused, Unavailable, and what an odd answer raises."""
        now = asked.now.timestamp()
        if state.grid is None:
            seconds, since = FIRST_SECONDS, now
        else:
            since = max(state.since, now - MOST_SECONDS)
            seconds = now - since + 2.5 * state.grid.width + seconds_of(settings.watermark)
        arms = [queries.asking(arm, settings) for arm in (settings.canary, settings.stable)]
        forms = [
            [queries.samples_form(s, at=now, seconds=seconds) for s in arm.selectors]
            for arm in arms
        ]
        bodies = await self._ask_all(settings, forms, asked.now)
        found = [
            queries.arm_samples(arm, [queries.rows(body) for body in answers])
            for arm, answers in zip(arms, bodies, strict=True)
        ]
        if state.grid is not None and any(look_up(arm, since) for arm in found):
            forms = [[queries.history_form(s, at=since) for s in arm.selectors] for arm in arms]
            history = await self._ask_all(settings, forms, asked.now)
            found = [
                queries.arm_samples(
                    arm, list(map(queries.rows, now_)), list(map(queries.rows, then))
                )
                for arm, now_, then in zip(arms, bodies, history, strict=True)
            ]
        for name, arm in zip(("canary", "stable"), found, strict=True):
            edge = without_edge(arm, settings.slower_than) if settings.slower_than else None
            if edge is not None:
                raise Refused(
                    f"the histogram has no bucket with le={edge:g}", field=f"{name}.buckets"
                )
        warnings = [
            body["warnings"] for answers in bodies for body in answers if body.get("warnings")
        ]
        return Look(found[0], found[1], str(warnings[0]) if warnings else "")

    async def _ask_all(
        self, settings: Settings, forms: Sequence[Sequence[Mapping[str, str]]], now: datetime
    ) -> list[list[dict[str, Any]]]:
        """The answers to all questions, asked at once."""
        try:
            async with TaskGroup() as group:
                tasks = [
                    [
                        group.create_task(self._prometheus.raw(settings.prometheus, form, now))
                        for form in arm
                    ]
                    for arm in forms
                ]
        except* (Refused, Unavailable) as errors:
            raise _first(errors) from None
        return [[task.result() for task in arm] for arm in tasks]

    async def _begun(self, asked: Asked, settings: Settings, state: State, look: Look) -> State:
        """The state with its grid, once scrapes have been seen; counting begins at its last edge."""
        series = (*look.canary.series, *look.stable.series)
        width = seconds_of(settings.stratum) if settings.stratum else scrape_interval(series)
        if width is None or look.stable.newest is None:
            return state
        made = grid(width, series)
        since = made.last_edge(asked.now.timestamp() - seconds_of(settings.watermark))
        known = state.dispersion
        if settings.dispersion == "auto":
            known = await self._dispersion(settings, max(width, 1.0), asked.now) or 1.0
        return replace(state, grid=made, since=since, dispersion=known)

    async def _dispersion(self, settings: Settings, step: float, now: datetime) -> float | None:
        """Of stable's bad requests in the time before the run, the most of all kinds; None when too few."""
        at = now.timestamp()
        selectors = queries.totals_selectors(settings)
        forms = [[queries.totals_form(selector, at=at, step=step) for selector in selectors]]
        (bodies,) = await self._ask_all(settings, forms, now)
        totals = [dict(found[0][1]) if (found := queries.rows(body)) else {} for body in bodies]
        good = bool(settings.slower_than)
        known = [
            dispersion(queries.counts(totals[0], part, part_is_good=good)) for part in totals[1:]
        ]
        return max((value for value in known if value is not None), default=None)


def _known(asked: Asked, settings: Settings) -> tuple[State, str]:
    """The state so far, and what is to be said about it."""
    now = asked.now.timestamp()
    if not asked.state:
        return verdict.begin(settings, now), ""
    points = len(ladder(settings.r0, settings.tolerance).points)
    try:
        state = decode(asked.state, comparisons=settings.comparisons, points=points)
    except Refused as error:
        log.warning("analysis.judge_began_anew", metric=asked.metric.name, reason=str(error))
        return verdict.begin(settings, now), f"began anew: {error}"
    away = now - state.since
    if state.grid is not None and away > MOST_SECONDS:
        return replace(state, since=now - MOST_SECONDS), f"was away for {away:.0f} s"
    return state, ""


def _measurement(
    asked: Asked, settings: Settings, found: Found, *, note: str, warnings: str
) -> Measurement:
    state = found.state
    metadata = {**verdict.numbers(state, settings), JUDGE_STATE: encode(state)}
    more = {NOTE: note, WARNINGS: warnings, KIND: found.missing}
    metadata |= {name: text for name, text in more.items() if text}
    resume = None
    if found.phase == "Running":
        at = next_look(
            state, settings, asked.now.timestamp(), interval_seconds=interval_of(asked.metric)
        )
        # Stored in whole seconds; a look before the stratum's end would find nothing.
        resume = format_time(datetime.fromtimestamp(math.ceil(at), tz=UTC))
    return Measurement(
        phase=found.phase,
        message=found.message,
        value=verdict.value_text(state, settings),
        metadata=metadata,
        resume_at=resume,
    )


def _first(errors: BaseExceptionGroup[Refused | Unavailable]) -> Refused | Unavailable:
    """One of the errors of questions that were asked at once."""
    inner = errors.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner
