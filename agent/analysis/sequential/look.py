"""One look: what was counted since the last one, and what that comes to. PURE."""

from typing import Final, NamedTuple

from msgspec.structs import replace

from agent.analysis.missing import Policy
from agent.analysis.sequential import verdict
from agent.analysis.sequential.settings import Settings, seconds_of
from agent.analysis.sequential.state import State
from agent.analysis.sequential.strata import ArmSamples, strata

LEAST_STALE_SECONDS: Final = 60.0
WAITS_FOR_SCRAPES: Final = "waits for stable to be scraped twice, to know how often that is"


class Found(NamedTuple):
    """Attributes:
    phase: of the measurement: Running while nothing is decided.
    missing: what kind of data was missing, "" when none was.
    """

    state: State
    phase: str
    message: str
    missing: str = ""


class Lack(NamedTuple):
    """An arm without data; for a while that is a wait, and no trouble yet."""

    kind: str
    text: str
    waits: bool


def looked(
    state: State,
    settings: Settings,
    canary: ArmSamples,
    stable: ArmSamples,
    *,
    now: float,
    most_looks: int,
    policy: Policy,
    ends_early: bool,
    warnings: str = "",
) -> Found:
    """What a look comes to. `now` is in Unix seconds; `most_looks` is 0 when there is no end.

    Evidence comes first: what was counted counts even if an arm has vanished since. Then what is missing,
    which is never success. An answer with warnings may be a part of the truth and is not counted; the next
    one without them holds its samples, too. Raises Refused when the counters cannot be what the settings say.
    """
    state = replace(
        state,
        seen_canary=state.seen_canary or canary.newest is not None,
        seen_stable=state.seen_stable or stable.newest is not None,
    )
    decided: verdict.Decided = ""
    if state.grid is not None and not warnings:
        until = state.grid.last_edge(now - seconds_of(settings.watermark))
        new = strata(canary, stable, state.grid, since=state.since, until=until)
        state, decided = verdict.grow(state, settings, new, ends_early=ends_early)
        if not decided:
            state = replace(state, since=max(state.since, until))
    told = verdict.sentence(state, settings, decided)
    if decided == "worse":
        return Found(state, "Failed", told)
    lack = (
        _doubted(warnings)
        or _lack(state, settings, "canary", canary, now)
        or _lack(state, settings, "stable", stable, now)
    )
    if lack is not None and not lack.waits and policy == "error":
        return Found(state, "Error", lack.text, lack.kind)
    state = replace(state, looks=state.looks + 1)
    missing = ""
    if lack is not None:
        told, missing = lack.text, "" if lack.waits else lack.kind
        if policy == "inconclusive" and not lack.waits:
            return Found(state, "Inconclusive", f"{told}; by policy: {policy}", missing)
    elif decided == "safe":
        return Found(state, "Successful", told)
    elif state.grid is None:
        told = WAITS_FOR_SCRAPES
    if 0 < most_looks <= state.looks:
        phase = "Inconclusive" if lack else verdict.phase_at_end(state, settings)
        return Found(state, phase, f"{told}; no evidence in {most_looks} looks", missing)
    return Found(state, "Running", told, missing)


def next_look(state: State, settings: Settings, now: float, *, interval_seconds: float) -> float:
    """When to look again: an interval later, but when a stratum has just ended."""
    if state.grid is None:
        return now + interval_seconds
    watermark = seconds_of(settings.watermark)
    at = state.grid.last_edge(now + interval_seconds - watermark) + watermark
    if at > now:
        return at
    return state.grid.last_edge(now - watermark) + state.grid.width + watermark


def _doubted(warnings: str) -> Lack | None:
    return Lack("query warning", f"Prometheus warns: {warnings}", False) if warnings else None


def _lack(state: State, settings: Settings, name: str, arm: ArmSamples, now: float) -> Lack | None:
    """What an arm lacks: every series, or samples that are not too old."""
    what = settings.canary if name == "canary" else settings.stable
    selector = what.buckets or what.requests
    if arm.newest is None:
        seen = state.seen_canary if name == "canary" else state.seen_stable
        if not seen:
            waits = now - state.first < seconds_of(settings.grace)
            text = f"waits for requests of {name}: nothing matches {selector} yet"
            if not waits:
                text = f"no data of {name}: nothing matched {selector} within {settings.grace}"
            return Lack("no data", text, waits)
        return Lack("no data", f"no data of {name} any more: nothing matches {selector}", False)
    width = state.grid.width if state.grid else 0.0
    limit = max(LEAST_STALE_SECONDS, 3 * width)
    if settings.stale_after:
        limit = seconds_of(settings.stale_after)
    age = now - arm.newest
    if age <= limit:
        return None
    text = f"no data of {name} for {age:.0f} s: no series of {selector} is live any more"
    return Lack("stale sample", text, False)
