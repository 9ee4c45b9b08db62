"""One pass over a canary: revision, verdicts, holds, steps, names and weight, pods. PURE.

The order is the one in which later parts depend on earlier ones; the order of the writes is act's.
"""

from datetime import timedelta

from agent.api import names
from agent.api.holds import decode_holds, encode_holds
from agent.api.meta import Ref
from agent.api.times import parse_time
from agent.rollout import (
    analysis_runs,
    defaults,
    drift,
    names_of_services,
    phase,
    revisions,
    routes,
    scaling,
    status,
    steps,
)
from agent.rollout.draft import Draft, merge
from agent.rollout.facts import weight_since
from agent.rollout.types import Stage


def run(draft: Draft) -> None:
    """Everything that may be done now. Raises Refused for what only the user can mend."""
    _begin(draft)
    status.count(draft)
    routes.record_weight(draft)
    revisions.number(draft)
    _drop_run_of_skipped_step(draft)
    analysis_runs.read_verdicts(draft)
    _undo_abort_of_promoted(draft)
    _hold(draft)
    _hear_promotion(draft)
    if draft.status.abort:
        _abort(draft)
    else:
        _promote(draft)
        _advance(draft)
        _background(draft)
    analysis_runs.terminate_others(draft, keep=_is_running(draft))
    status.conclude(draft)
    if draft.status.abort and draft.cause is not None:
        # The deadline aborted only just now: what follows must know.
        _abort(draft)
    routes.move(draft)
    names_of_services.point(
        draft, draft.facts.canary.canary_service, names_of_services.canary_target(draft)
    )
    names_of_services.point(
        draft, draft.facts.canary.stable_service, names_of_services.stable_target(draft)
    )
    scaling.scale(draft)
    revisions.trim_history(draft)
    _remember_weight(draft)
    status.conclude(draft)
    _name_wait(draft)


def _begin(draft: Draft) -> None:
    """A new template or other steps start over; going back to stable, or a first deploy, skips the steps."""
    facts, old = draft.facts, draft.status
    if old.current_pod_hash == facts.new_hash and old.current_step_hash == facts.step_hash:
        return
    count = len(facts.steps)
    at_once = not old.stable_rs or old.stable_rs == facts.new_hash
    draft.set(
        abort=False,
        aborted_at=None,
        promote_full=False,
        pause_conditions=None,
        controller_pause=False,
        current_step_index=(count if at_once else 0) if count else None,
    )
    draft.set_canary(
        current_step_analysis_run_status=None,
        current_background_analysis_run_status=None,
    )
    draft.record("RolloutUpdated", f"Rollout updated to revision {revisions.next_revision(draft)}")
    if old.stable_rs and old.stable_rs == facts.new_hash:
        draft.record("SkipSteps", "Rollback to stable ReplicaSets")


def _drop_run_of_skipped_step(draft: Draft) -> None:
    """A person went past an analysis step: its run no longer counts."""
    index, of = draft.status.current_step_index or 0, draft.facts.steps
    if index >= len(of) or of[index].analysis is None:
        draft.set_canary(current_step_analysis_run_status=None)


def _is_running(draft: Draft) -> bool:
    """Whether an update is under way that analyses may judge."""
    now = draft.status
    return bool(
        now.stable_rs
        and now.stable_rs != now.current_pod_hash
        and not now.abort
        and not now.promote_full
    )


def _undo_abort_of_promoted(draft: Draft) -> None:
    if draft.status.abort and draft.status.stable_rs == draft.facts.new_hash:
        draft.set(abort=False, aborted_at=None)


def _abort(draft: Draft) -> None:
    """Back to the first step, nothing paused; routes, names and pods follow from status.abort."""
    for step in draft.facts.steps:
        kind = steps.step_type(step)
        if kind is not None:
            kind.on_abort(draft, kind.of(step))
    drift.forget(draft)
    draft.set(
        pause_conditions=None,
        controller_pause=False,
        promote_full=False,
        current_step_index=0 if draft.facts.steps else None,
    )
    draft.set_canary(
        current_step_analysis_run_status=None, current_background_analysis_run_status=None
    )
    if draft.facts.live_weight or draft.facts.live_managed:
        draft.wait("waits for the routes to show no traffic for the canary")
    elif draft.facts.unconfirmed and draft.facts.new is not None and draft.facts.new.replicas:
        draft.wait(draft.facts.unconfirmed)
    draft.wait("aborted: waits for a person to retry, or for a new version")


def _hold(draft: Draft) -> None:
    """Alerts that hold are a level: nothing advances while there is one."""
    facts, now = draft.facts, draft.status
    if facts.policy.frozen:
        draft.blocked = "frozen"
        draft.wait("frozen: nothing is raised until a person ends the freeze")
    timed_out = draft.paused_for(names.PAUSE_HOLD_TIMED_OUT) is not None
    held = bool(facts.holds) or timed_out
    if not held or now.abort or not _in_progress(draft):
        if draft.paused_for(names.PAUSE_HOLD) is not None:
            draft.unpause(names.PAUSE_HOLD, names.PAUSE_HOLD_TIMED_OUT)
        if facts.holds and not _in_progress(draft):
            _forget_holds(draft)
        return
    if draft.is_promoted_by_person:
        _overrule(draft)  # the hold is over, by a decision that is on record
        _forget_holds(draft)
        return
    draft.pause(names.PAUSE_HOLD)
    draft.blocked = "held"
    alerts = ", ".join(hold.alert or hold.fingerprint for hold in facts.holds)
    since = min((hold.since for hold in facts.holds), default="")
    try:
        late = parse_time(since) + timedelta(seconds=facts.policy.hold_timeout_seconds)
    except ValueError:
        late = None
    if timed_out or (late is not None and late <= facts.now):
        draft.pause(names.PAUSE_HOLD_TIMED_OUT)
        draft.wait(f"held by {alerts} for too long: waits for a person to promote or abort")
    else:
        draft.wait(f"held by {alerts} until they are resolved or a person promotes", late)


def _hear_promotion(draft: Draft) -> None:
    """A person's word to go on is for the present step: a later pause must not take it for its own end."""
    index, of = draft.status.current_step_index or 0, draft.facts.steps
    at_pause = index < len(of) and of[index].pause is not None
    if draft.is_promoted_by_person and not draft.status.pause_conditions and not at_pause:
        draft.set(controller_pause=False)


def _in_progress(draft: Draft) -> bool:
    now = draft.status
    return bool(now.stable_rs) and now.stable_rs != draft.facts.new_hash


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


def _promote(draft: Draft) -> None:
    """The version becomes stable: all steps done, all traffic on it (with a router), all pods available."""
    facts, now = draft.facts, draft.status
    new, total = facts.new, defaults.replicas(draft.rollout)
    if now.promote_full and now.stable_rs == facts.new_hash:
        draft.set(promote_full=False)
    if (
        new is None
        or now.stable_rs == facts.new_hash
        or new.available < total
        or new.replicas < total
    ):
        return
    first = not now.stable_rs
    if not first and not now.promote_full and (now.current_step_index or 0) < len(facts.steps):
        return
    if not first and (draft.blocked or facts.rollout.spec.paused):
        return
    full = defaults.max_traffic_weight(draft.rollout)
    carries_all = facts.live_weight == full and facts.routes_agree
    if not first and facts.router is not None and total and not carries_all:
        draft.wait("waits for the routes to show all traffic on the new version")
        return
    if not first and facts.unconfirmed:
        draft.wait(facts.unconfirmed)
        return
    if not first and facts.router is None and any(item.replicas for item in facts.others):
        return
    draft.set(
        stable_rs=facts.new_hash,
        promote_full=False,
        pause_conditions=None,
        controller_pause=False,
        current_step_index=len(facts.steps) if facts.steps else None,
    )


def _advance(draft: Draft) -> None:
    """Complete every step that is complete now, then enter the one that is not."""
    if not _in_progress(draft) or draft.status.promote_full:
        if draft.status.promote_full:
            draft.set(pause_conditions=None, controller_pause=False)
            draft.wait("promotes in full: waits for the pods of the new version")
        return
    if draft.facts.rollout.spec.paused:
        draft.wait("paused by a person (spec.paused)")
        return
    if draft.blocked or draft.paused_for(names.PAUSE_INCONCLUSIVE_ANALYSIS) is not None:
        if not draft.blocked:
            draft.wait("the analysis is inconclusive: waits for a person to promote or abort")
        return
    of = draft.facts.steps
    index = draft.status.current_step_index or 0
    while index < len(of):
        kind = steps.step_type(of[index])
        if kind is None:  # validation refuses it
            return
        member = kind.of(of[index])
        if not kind.done(draft, member):
            kind.enter(draft, member)
            return
        draft.completed_steps.append(index)
        text = kind.describe(member)
        draft.record(
            "RolloutStepCompleted", f"Rollout step {index + 1}/{len(of)} completed ({text})"
        )
        index += 1
        draft.set(current_step_index=index)
        if of[index - 1].analysis is not None:
            draft.set_canary(current_step_analysis_run_status=None)
    draft.wait("waits for the pods and routes of the new version")


def _background(draft: Draft) -> None:
    if draft.facts.canary.analysis is None or draft.facts.new is None:
        return
    index, count = draft.status.current_step_index or 0, len(draft.facts.steps)
    if _is_running(draft) and (index < count or not count):
        analysis_runs.ensure_background_run(draft)
    elif index >= count:
        draft.set_canary(current_background_analysis_run_status=None)


def _name_wait(draft: Draft) -> None:
    """Whatever has no wait of its own waits for pods (invariant I9)."""
    if draft.waits or draft.status.phase == phase.HEALTHY:
        return
    total, new = defaults.replicas(draft.rollout), draft.facts.new
    draft.wait(f"waits for pods: {new.available if new else 0} of {total} are available")


def _remember_weight(draft: Draft) -> None:
    """Note when the present weight was first read back: the drain rule counts from then."""
    facts = draft.facts
    if facts.policy.drain_seconds <= 0 or facts.router is None or facts.live_weight is None:
        return
    if facts.settled_since is None and not facts.unconfirmed:
        body = {
            "metadata": {
                "annotations": {
                    names.WEIGHT_SINCE: weight_since(
                        facts.live_weight, facts.live_managed, facts.now
                    )
                }
            }
        }
        ref = Ref("Rollout", facts.namespace, facts.name)
        draft.write(merge(Stage.HOUSEKEEPING, ref, body, "the weight was read back", guarded=False))
