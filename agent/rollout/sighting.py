"""What can be seen of a rollout that another engine drives: the part that transitions are told by. PURE.

A sighting is small, so that it can be kept: the last one that was told about is the high-water mark. Two
sightings and what follows from them: agent.rollout.sighted.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from agent.api import names
from agent.api.analysis import AnalysisRun
from agent.api.holds import decode_holds
from agent.api.meta import Struct
from agent.api.rollout import Rollout
from agent.api.times import parse_time
from agent.events.catalogue import Cause, RevisionInfo, RolloutEvent, Timings
from agent.rollout import conditions, defaults

DONE = ("Successful", "Failed", "Error", "Inconclusive")
MAX_RUNS = 64
"""Names of ended AnalysisRuns that one run of a rollout remembers."""
SPEC = "spec.paused"
UNHEEDED_SECONDS = 20.0
"""How long an abort may wait for the engine: Argo's takes 30 ms alone, and up to 19 s in a storm of aborts."""


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a Rollout with what belongs to it.

    Attributes:
        data: what every announcement about this version says.
        revisions: what is known of each revision, by pod-template hash.
        runs: the AnalysisRuns that the Rollout controls.
        cause, timings: why and when we asked for an abort of the current revision; None when we did not.
        now: when it is looked at; None when no time counts.
    """

    rollout: Rollout
    data: RolloutEvent
    revisions: Mapping[str, RevisionInfo] = {}
    runs: Sequence[AnalysisRun] = ()
    cause: Cause | None = None
    timings: Timings | None = None
    now: datetime | None = None


class Sighting(Struct):
    """One version of a Rollout, seen from outside.

    Attributes:
        version: its resourceVersion.
        revision: its revision's number, as text.
        attempt: how often this revision was retried.
        weights: how often the canary's weight changed in this attempt.
        pauses: what keeps it, `<reason>@<since>` each.
        runs: names of the AnalysisRuns of this revision that have ended.
        timed_out: since when the progress deadline is exceeded, "" when it is not.
        invalid: digest of what is wrong with the spec, "" when nothing is.
        holds: the alerts that hold it, `<fingerprint>@<startsAt>@<since>` each.
        unheeded: when an abort was decided that nobody has carried out in time, "" when there is none.
    """

    uid: str = ""
    version: str = ""
    revision: str = ""
    current: str = ""
    stable: str = ""
    step_hash: str = ""
    step_index: int = 0
    promote_full: bool = False
    weight: int = 0
    abort: bool = False
    started_at: str = ""
    pauses: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()
    timed_out: str = ""
    invalid: str = ""
    holds: tuple[str, ...] = ()
    attempt: int = 0
    weights: int = 0
    unheeded: str = ""

    @property
    def in_progress(self) -> bool:
        """Whether another version than the stable one is on its way."""
        return bool(self.stable) and self.current != self.stable


def sight(look: Look) -> Sighting:
    """The sighting of one version, without what only the ones before it can tell (attempt, weights)."""
    rollout = look.rollout
    status, metadata = rollout.status, rollout.metadata
    weights = status.canary.weights
    return Sighting(
        uid=metadata.uid,
        version=metadata.resource_version,
        revision=metadata.annotation(names.REVISION),
        current=status.current_pod_hash,
        stable=status.stable_rs,
        step_hash=status.current_step_hash,
        step_index=status.current_step_index or 0,
        promote_full=status.promote_full,
        weight=weights.canary.weight if weights is not None else 0,
        abort=status.abort,
        started_at=(status.duration.rollout_started_at if status.duration else "") or "",
        pauses=_pauses(rollout),
        runs=tuple(run.metadata.name for run in ended_runs(look)),
        timed_out=_timed_out(rollout),
        invalid=_invalid(rollout),
        holds=_holds(rollout),
        unheeded=_unheeded(look),
    )


def waits_for_abort(rollout: Rollout) -> bool:
    """Whether an abort is asked for that the engine has not carried out.

    It notes when it aborted, and takes the weight off; with dynamicStableScale bit by bit, as the stable pods
    come, so there its note is enough.
    """
    status = rollout.status
    if not status.abort or not status.stable_rs or status.current_pod_hash == status.stable_rs:
        return False
    weights = status.canary.weights
    is_off = weights is None or weights.canary.weight == 0
    goes_down = (
        rollout.spec.strategy.canary is not None
        and defaults.canary_of(rollout).dynamic_stable_scale
    )
    return not status.aborted_at or not (is_off or goes_down)


def late_at(decided_at: str) -> datetime | None:
    """When an abort that was decided then is unheeded; None for a text that is no time."""
    try:
        return parse_time(decided_at) + timedelta(seconds=UNHEEDED_SECONDS)
    except (ValueError, OverflowError):
        return None


def _unheeded(look: Look) -> str:
    decided_at = (look.timings.decided_at if look.timings else None) or ""
    late = late_at(decided_at)
    if late is None or look.now is None or look.now < late or not waits_for_abort(look.rollout):
        return ""
    return decided_at


def ended_runs(look: Look) -> tuple[AnalysisRun, ...]:
    """The AnalysisRuns of the current revision that have ended, by name."""
    status, revision = look.rollout.status, look.rollout.metadata.annotation(names.REVISION)
    found = [
        run
        for run in look.runs
        if run.status.phase in DONE
        and run.metadata.label(names.POD_TEMPLATE_HASH) == status.current_pod_hash
        and run.metadata.annotation(names.REVISION) in ("", revision)
    ]
    return tuple(sorted(found, key=lambda run: run.metadata.name))


def steps_of(rollout: Rollout) -> int:
    """How many steps its canary has."""
    canary = rollout.spec.strategy.canary
    return len(defaults.canary_of(rollout).steps or ()) if canary is not None else 0


def _pauses(rollout: Rollout) -> tuple[str, ...]:
    """Pause conditions, and spec.paused once the engine has taken notice; not the pause of a hold of ours."""
    status = rollout.status
    found = [f"{item.reason}@{item.start_time}" for item in status.pause_conditions or ()]
    shown = conditions.find(status.conditions, names.PAUSED)
    is_ours = bool(rollout.metadata.annotation(names.PAUSED_BY_HOLD))
    if rollout.spec.paused and not is_ours and shown is not None and shown.status == "True":
        found.append(f"{SPEC}@{shown.last_transition_time or ''}" if not found else SPEC)
    return tuple(sorted(found))


def _timed_out(rollout: Rollout) -> str:
    progressing = conditions.find(rollout.status.conditions, names.PROGRESSING)
    if progressing is None or progressing.reason != conditions.TIMED_OUT:
        return ""
    return progressing.last_transition_time or progressing.last_update_time or "?"


def _invalid(rollout: Rollout) -> str:
    found = conditions.find(rollout.status.conditions, names.INVALID_SPEC)
    return hashlib.sha256(found.message.encode()).hexdigest()[:16] if found is not None else ""


def _holds(rollout: Rollout) -> tuple[str, ...]:
    try:
        holds = decode_holds(rollout.metadata.annotation(names.HOLDS))
    except ValueError:
        return ()
    return tuple(sorted(f"{hold.fingerprint}@{hold.starts_at}@{hold.since}" for hold in holds))
