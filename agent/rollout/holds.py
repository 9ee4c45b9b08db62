"""Alerts that hold, a freeze, and a person's word to go on: what stands against a raise. PURE."""

from datetime import timedelta

from agent.api import names
from agent.api.holds import decode_holds, encode_holds
from agent.api.meta import Ref
from agent.api.times import parse_time
from agent.rollout.draft import Draft, merge
from agent.rollout.types import Stage


def hold(draft: Draft) -> None:
    """Alerts that hold are a level: nothing advances while there is one."""
    facts, now = draft.facts, draft.status
    if facts.policy.frozen:
        draft.blocked = "frozen"
        draft.wait("frozen: nothing is raised until a person ends the freeze")
    timed_out = draft.paused_for(names.PAUSE_HOLD_TIMED_OUT) is not None
    held = bool(facts.holds) or timed_out
    if not held or now.abort or not draft.in_progress:
        if draft.paused_for(names.PAUSE_HOLD) is not None:
            draft.unpause(names.PAUSE_HOLD, names.PAUSE_HOLD_TIMED_OUT)
        if facts.holds and not draft.in_progress:
            _forget_holds(draft)
        return
    if draft.is_promoted_by_person:
        _overrule(draft)  # the hold is over, by a decision that is on record
        _forget_holds(draft)
        return
    draft.pause(names.PAUSE_HOLD)
    draft.blocked = "held"
    alerts = ", ".join(item.alert or item.fingerprint for item in facts.holds)
    since = min((item.since for item in facts.holds), default="")
    try:
        late = parse_time(since) + timedelta(seconds=facts.policy.hold_timeout_seconds)
    except ValueError:
        late = None
    if timed_out or (late is not None and late <= facts.now):
        draft.pause(names.PAUSE_HOLD_TIMED_OUT)
        draft.wait(f"held by {alerts} for too long: waits for a person to promote or abort")
    else:
        draft.wait(f"held by {alerts} until they are resolved or a person promotes", late)


def hear_promotion(draft: Draft) -> None:
    """A person's word to go on is for the present step: a later pause must not take it for its own end."""
    index, of = draft.status.current_step_index or 0, draft.facts.steps
    at_pause = index < len(of) and of[index].pause is not None
    if draft.is_promoted_by_person and not draft.status.pause_conditions and not at_pause:
        draft.set(controller_pause=False)


def _overrule(draft: Draft) -> None:
    """Remember on the new ReplicaSet which alerts a person overruled: they hold no more in this run."""
    new = draft.facts.new
    if new is None or not draft.facts.holds:
        return
    try:
        known = decode_holds(new.annotations.get(names.OVERRULED, ""))
    except ValueError:
        known = ()
    text = encode_holds((*known, *draft.facts.holds))
    ref = Ref("ReplicaSet", draft.facts.namespace, new.name)
    body = {"metadata": {"annotations": {names.OVERRULED: text}}}
    draft.write(merge(Stage.HOUSEKEEPING, ref, body, "a person overruled alerts", guarded=False))


def _forget_holds(draft: Draft) -> None:
    body = {"metadata": {"annotations": {names.HOLDS: None}}}
    ref = Ref("Rollout", draft.facts.namespace, draft.facts.name)
    draft.write(merge(Stage.HOUSEKEEPING, ref, body, "the hold is over", guarded=False))
