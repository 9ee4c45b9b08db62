"""Weights that somebody else wrote: seen, told, and mended without a fight. PURE.

What lowers the canary is put right at once, as often as it takes. What raises it again (somebody lowered it)
happens at most once a period: two writers who disagree would otherwise swing the traffic as fast as they can.
The first one goes out at once. What we raised last, and when, is kept in the annotation RAISED until we lower it ourselves.
"""

from datetime import datetime, timedelta
from typing import Final

import msgspec

from agent.api import names
from agent.api.meta import Ref
from agent.api.rollout import Rollout
from agent.api.service_roles import service_roles
from agent.api.times import parse_time
from agent.rollout import conditions, names_of_services
from agent.rollout.draft import Draft, merge
from agent.rollout.types import Stage

_AGAIN: Final = "!"


class Raised(msgspec.Struct, frozen=True):
    """What we raised a version to: its weight and its header and mirror routes.

    `again`: we had been there before, so that it undid somebody's write.
    """

    weight: int
    managed: frozenset[str]
    at: datetime
    again: bool

    def covers(self, weight: int, managed: frozenset[str]) -> bool:
        """Whether we were there already, so that raising to it again undoes somebody's write."""
        return weight <= self.weight and managed <= self.managed


def raised(rollout: Rollout, pod_hash: str) -> Raised | None:
    """What this version was last raised to; None when it was not, or nobody can read the note.

    Nor when it was aborted since: whoever took it off may have died before the note was taken away.
    """
    if conditions.was_aborted(rollout.status):
        return None
    text, _, time = rollout.metadata.annotation(names.RAISED).rpartition("@")
    version, _, exposure = text.partition(":")
    weight, _, managed = exposure.removesuffix(_AGAIN).partition("+")
    if not pod_hash or version != pod_hash or not weight.isdecimal():
        return None
    try:
        routes = frozenset(filter(None, managed.split(",")))
        return Raised(int(weight), routes, parse_time(time), exposure.endswith(_AGAIN))
    except ValueError:
        return None


def find(draft: Draft, wanted: int | None) -> tuple[int, int] | None:
    """The weight as we knew it and as somebody else made it; None when nobody did.

    Between what was recorded and what is wanted every weight may be our own, on its way.
    """
    facts, status = draft.facts, draft.facts.rollout.status
    live, weights = facts.live_weight, status.canary.weights
    if live is None or weights is None or live == weights.canary.weight:
        return None
    recorded = weights.canary.weight
    if status.abort and not _was_off(draft):
        return None  # a raise that was under way when the abort was stored is our own
    ours = raised(facts.rollout, facts.new_hash)
    if live > max(recorded, wanted or 0, ours.weight if ours else 0):
        return recorded, live
    running = status.current_pod_hash == facts.new_hash and not status.abort
    if running and ours and wanted is not None and live < min(recorded, wanted, ours.weight):
        return recorded, live
    return None


def _was_off(draft: Draft) -> bool:
    """Whether this abort had come to its end: its weight 0 was read back and recorded, or its Service re-pointed."""
    facts, status = draft.facts, draft.facts.rollout.status
    services = service_roles(facts.rollout)
    service = facts.services.get(services.canary)
    if (
        service is not None
        and not services.swap
        and names_of_services.selected(service) == status.stable_rs
    ):
        return True
    _, _, since = facts.rollout.metadata.annotation(names.WEIGHT_SINCE).rpartition("@")
    weights = status.canary.weights
    try:
        # The abort's time is cut to whole seconds: what was read in the same second is taken for later. Else what a
        # Git agent writes again and again within that second would end the abort each time.
        noted = parse_time(since) >= parse_time(status.aborted_at or "")
    except ValueError:
        return False
    # Whatever weight was noted last: one that is not recorded was somebody else's.
    return noted and weights is not None and weights.canary.weight == 0


def may_raise(draft: Draft, weight: int, managed: frozenset[str]) -> bool:
    """Whether a raise to this may go out now; names the wait when it may not."""
    facts = draft.facts
    before = raised(facts.rollout, facts.new_hash)
    if before is None:
        return True
    if facts.confirmation.in_listener:
        apart = before.at + timedelta(seconds=facts.policy.listener_seconds)
        if apart > facts.now:
            draft.waits.insert(0, "waits a moment: each raise replaces listeners of the proxies")
            draft.wake(apart)
            return False
    if not before.again or not before.covers(weight, managed):
        return True
    again = before.at + timedelta(seconds=facts.policy.correction_seconds)
    if again <= facts.now:
        return True
    draft.waits.insert(
        0, f"somebody else lowered the canary: it is raised again at {again:%H:%M:%S} UTC"
    )
    draft.wake(again)
    return False


def note_raise(draft: Draft, weight: int, managed: frozenset[str]) -> None:
    """Keep what goes out now; stored after the routes, so that a raise that failed is not counted."""
    facts = draft.facts
    exposure = f"{weight}+{','.join(sorted(managed))}" if managed else str(weight)
    before = raised(facts.rollout, facts.new_hash)
    if before is not None and before.covers(weight, managed):
        exposure += _AGAIN
    at = facts.now.isoformat(timespec="milliseconds")
    _annotate(draft, f"{facts.new_hash}:{exposure}@{at}", "the canary was raised")


def forget(draft: Draft) -> None:
    """We lowered it ourselves, or the run is over: the next raise is no correction."""
    if draft.facts.rollout.metadata.annotation(names.RAISED):
        _annotate(draft, None, "the canary was lowered")


def _annotate(draft: Draft, value: str | None, reason: str) -> None:
    ref = Ref("Rollout", draft.facts.namespace, draft.facts.name)
    body = {"metadata": {"annotations": {names.RAISED: value}}}
    draft.write(merge(Stage.HOUSEKEEPING, ref, body, reason, guarded=False))
