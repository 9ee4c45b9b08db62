"""One pass over a canary: revision, verdicts, holds, steps, names and weight, pods. PURE.

The order is the one in which later parts depend on earlier ones; the order of the writes is act's.
"""

from agent.api import names
from agent.api.meta import Ref
from agent.api.times import format_time
from agent.rollout import (
    analysis_runs,
    conditions,
    defaults,
    drift,
    holds,
    names_of_services,
    phase,
    promotion,
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
    if _is_retried(draft):
        _back_to_start(draft)
    status.count(draft)
    routes.record_weight(draft)
    revisions.number(draft)
    _drop_run_of_skipped_step(draft)
    analysis_runs.read_verdicts(draft)
    _undo_abort_of_promoted(draft)
    holds.hold(draft)
    holds.hear_promotion(draft)
    if draft.status.abort:
        _abort(draft)
    else:
        promotion.promote(draft)
        _advance(draft)
        _background(draft)
    analysis_runs.terminate_others(draft, keep=_is_running(draft))
    status.conclude(draft)
    if draft.status.abort and draft.cause is not None:
        # The deadline aborted only just now: what follows must know.
        _abort(draft)
    routes.move(draft)
    names_of_services.point(draft, draft.services.canary, names_of_services.canary_target(draft))
    names_of_services.point(draft, draft.services.stable, names_of_services.stable_target(draft))
    scaling.scale(draft)
    revisions.trim_history(draft)
    analysis_runs.trim_runs(draft)
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


def _is_retried(draft: Draft) -> bool:
    """Whether an abort was acted upon and taken away; by its own path and a retry, so maybe no pass has seen it."""
    before = draft.facts.rollout.status
    return conditions.was_aborted(before) and not before.abort and _is_running(draft)


def _back_to_start(draft: Draft) -> None:
    """The first step is next, nothing is paused, and no analysis of the run before counts."""
    for step in draft.facts.steps:
        kind = steps.step_type(step)
        if kind is not None:
            kind.on_abort(draft, kind.of(step))
    drift.forget(draft)
    draft.set(
        pause_conditions=None,
        controller_pause=False,
        current_step_index=0 if draft.facts.steps else None,
    )
    draft.set_canary(
        current_step_analysis_run_status=None, current_background_analysis_run_status=None
    )


def _abort(draft: Draft) -> None:
    """Back to the first step, nothing paused; routes, names and pods follow from status.abort."""
    _back_to_start(draft)
    if not draft.status.aborted_at:
        # Argo's tools set status.abort alone; without the time nobody could tell later weights from our own.
        draft.set(aborted_at=format_time(draft.facts.now))
    draft.set(promote_full=False)
    if draft.facts.live_weight or draft.facts.live_managed:
        draft.wait("waits for the routes to show no traffic for the canary")
    elif draft.facts.unconfirmed and draft.facts.new is not None and draft.facts.new.replicas:
        draft.wait(draft.facts.unconfirmed)
    draft.wait("aborted: waits for a person to retry, or for a new version")


def _advance(draft: Draft) -> None:
    """Complete every step that is complete now, then enter the one that is not."""
    if not draft.in_progress or draft.status.promote_full:
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
