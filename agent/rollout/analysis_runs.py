"""AnalysisRuns of a rollout: created, read, acted upon, terminated, cleared away. PURE.

Failed and Error abort the rollout, Inconclusive pauses it (reference: Argo's rollout/analysis.go).
"""

import msgspec

from agent.analysis.composition import analysis_run
from agent.api.analysis import AnalysisRun
from agent.api.meta import Ref
from agent.api.names import PAUSE_INCONCLUSIVE_ANALYSIS, POD_TEMPLATE_HASH
from agent.api.rollout import RolloutAnalysis, RunReference
from agent.events.catalogue import Cause
from agent.rollout.defaults import run_history_limits
from agent.rollout.draft import Draft, merge
from agent.rollout.evidence import evidence, verdict_words
from agent.rollout.records import run_changed
from agent.rollout.types import Stage, Write

DONE = ("Successful", "Failed", "Error", "Inconclusive")
_FAILED = ("Failed", "Error")


def find_run(draft: Draft, reference: RunReference | None) -> AnalysisRun | None:
    """The run that the status names, None when it is not there (yet)."""
    if reference is None:
        return None
    return next((run for run in draft.facts.runs if run.metadata.name == reference.name), None)


def step_run_phase(draft: Draft) -> str:
    """Phase of the current step's run, "" when it has none."""
    run = find_run(draft, draft.status.canary.current_step_analysis_run_status)
    return run.status.phase if run else ""


def ensure_step_run(draft: Draft, analysis: RolloutAnalysis) -> None:
    """Create the current step's run unless the status names one that exists."""
    reference = draft.status.canary.current_step_analysis_run_status
    if reference is not None and find_run(draft, reference) is not None:
        return
    # Named by the status, but the creation did not go through: the same name again.
    name = reference.name if reference is not None and _is_fresh(draft, reference) else ""
    index = draft.status.current_step_index or 0
    created = _create(draft, analysis, "Step", str(index), name)
    draft.set_canary(current_step_analysis_run_status=RunReference(name=created, status="Pending"))


def ensure_background_run(draft: Draft) -> None:
    """Create the background run when its first step is reached, and leave it alone afterwards."""
    analysis = draft.facts.canary.analysis
    index = draft.status.current_step_index or 0
    if analysis is None or index < (analysis.starting_step or 0):
        return
    reference = draft.status.canary.current_background_analysis_run_status
    if reference is not None and find_run(draft, reference) is not None:
        return
    name = reference.name if reference is not None and _is_fresh(draft, reference) else ""
    created = _create(draft, analysis, "Background", "", name)
    draft.set_canary(
        current_background_analysis_run_status=RunReference(name=created, status="Pending")
    )


def read_verdicts(draft: Draft) -> None:
    """Copy phases into the status; abort or pause on those that say so.

    A step's run is not acted upon while the rollout is paused, a background run always is.
    """
    canary = draft.status.canary
    background = _copied(draft, canary.current_background_analysis_run_status, "Background")
    step = _copied(draft, canary.current_step_analysis_run_status, "Step")
    draft.set_canary(
        current_background_analysis_run_status=background, current_step_analysis_run_status=step
    )
    if draft.status.abort:
        return
    if _resumed(draft):
        background, step = _measured_again(draft, background), _measured_again(draft, step)
        draft.set_canary(
            current_background_analysis_run_status=background, current_step_analysis_run_status=step
        )
    _act(draft, background, "Background analysis")
    if not draft.status.pause_conditions:
        _act(draft, step, "Step-based analysis")


def terminate_others(draft: Draft, *, keep: bool) -> None:
    """End every unfinished run but those that the status names (with `keep`)."""
    canary = draft.status.canary
    named = {
        reference.name
        for reference in (
            canary.current_step_analysis_run_status,
            canary.current_background_analysis_run_status,
        )
        if reference is not None and keep
    }
    for run in draft.facts.runs:
        if run.metadata.name in named or run.spec.terminate or run.status.phase in DONE:
            continue
        draft.write(
            merge(
                Stage.ANALYSIS,
                Ref("AnalysisRun", draft.facts.namespace, run.metadata.name),
                {"spec": {"terminate": True}},
                "the analysis is no longer needed",
                guarded=False,
            )
        )


def trim_runs(draft: Draft) -> None:
    """Delete finished runs that the status does not name: the oldest beyond the history limits, and those whose
    revision is gone."""
    canary = draft.status.canary
    current = {
        reference.name
        for reference in (
            canary.current_step_analysis_run_status,
            canary.current_background_analysis_run_status,
        )
        if reference is not None
    }
    revisions = {item.hash for item in draft.facts.sets}
    limits = dict(zip((True, False), run_history_limits(draft.rollout), strict=True))
    runs = [
        run
        for run in draft.facts.runs
        if run.status.phase in DONE
        and run.metadata.name not in current
        and run.metadata.deletion_timestamp is None
    ]
    runs.sort(key=lambda run: (run.metadata.creation_timestamp or "", run.metadata.name))
    for run in reversed(runs):
        good = run.status.phase == "Successful"
        if run.metadata.label(POD_TEMPLATE_HASH) not in revisions:
            reason = "its revision is gone"
        elif limits[good] > 0:
            limits[good] -= 1
            continue
        else:
            reason = f"beyond {'successful' if good else 'unsuccessful'}RunHistoryLimit"
        ref = Ref("AnalysisRun", draft.facts.namespace, run.metadata.name)
        draft.write(
            Write(stage=Stage.HOUSEKEEPING, verb="delete", ref=ref, guarded=True, reason=reason)
        )


def _resumed(draft: Draft) -> bool:
    return draft.status.controller_pause and not draft.status.pause_conditions


def _measured_again(draft: Draft, reference: RunReference | None) -> RunReference | None:
    """A person went on after an inconclusive run: None, so that a new one is created."""
    if reference is None or reference.status != "Inconclusive":
        return reference
    draft.set(controller_pause=False)
    return None


def _copied(draft: Draft, reference: RunReference | None, kind: str) -> RunReference | None:
    run = find_run(draft, reference)
    if reference is None or run is None:
        return reference
    draft.records += run_changed(kind, run, reference.status)
    copied = msgspec.structs.replace(
        reference, status=run.status.phase or "Pending", message=run.status.message
    )
    if copied.status in DONE and copied.status != reference.status:
        draft.verdicts.append(copied)
    return copied


def _act(draft: Draft, reference: RunReference | None, what: str) -> None:
    run = find_run(draft, reference)
    if reference is None or run is None or draft.status.abort:
        return
    if reference.status in _FAILED:
        message = f": {reference.message}" if reference.message else ""
        words = verdict_words(run) if draft.facts.policy.compat == "safe" else ""
        summary = f"{what} phase error/failed{message}{words}"
        draft.abort(summary, Cause(kind="analysis", summary=summary, evidence=evidence(run)))
    elif (
        reference.status == "Inconclusive" and draft.paused_for(PAUSE_INCONCLUSIVE_ANALYSIS) is None
    ):
        draft.pause(PAUSE_INCONCLUSIVE_ANALYSIS)
        draft.record("RolloutPaused", f"Rollout is paused ({PAUSE_INCONCLUSIVE_ANALYSIS})")


def _is_fresh(draft: Draft, reference: RunReference) -> bool:
    """Whether the name belongs to the present revision: not one of a run that was cleaned up."""
    return draft.facts.new is not None and reference.name.startswith(draft.facts.new.name + "-")


def _create(draft: Draft, analysis: RolloutAnalysis, kind: str, infix: str, name: str) -> str:
    facts = draft.facts
    run = analysis_run(
        draft.rollout,
        analysis,
        facts.templates,
        stable_hash=draft.status.stable_rs,
        latest_hash=facts.new_hash,
        revision=str(facts.new.revision if facts.new else ""),
        kind=kind,
        infix=infix,
    )
    name = name or _free_name(draft, str(run["metadata"]["name"]))
    run = {**run, "metadata": {**run["metadata"], "name": name}}
    ref = Ref("AnalysisRun", facts.namespace, name)
    reason = f"{kind.lower()} analysis"
    draft.write(Write(stage=Stage.ANALYSIS, verb="create", ref=ref, body=run, reason=reason))
    return name


def _free_name(draft: Draft, name: str) -> str:
    """`name`, or with `.1`, `.2`… when a finished run of an earlier try has it."""
    taken = {run.metadata.name for run in draft.facts.runs}
    candidate, serial = name, 0
    while candidate in taken:
        serial += 1
        candidate = f"{name}.{serial}"
    return candidate
