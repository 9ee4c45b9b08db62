"""`analysis`: one AnalysisRun must succeed before the rollout goes on. PURE."""

from agent.api.rollout import RolloutAnalysis
from agent.rollout import analysis_runs
from agent.rollout.draft import Draft
from agent.rollout.steps.types import StepType


def _done(draft: Draft, _analysis: RolloutAnalysis) -> bool:
    return analysis_runs.step_run_phase(draft) == "Successful"


def _enter(draft: Draft, analysis: RolloutAnalysis) -> None:
    analysis_runs.ensure_step_run(draft, analysis)
    draft.wait("waits for its analysis")


ANALYSIS = StepType(
    member="analysis", describe=lambda _analysis: "analysis", done=_done, enter=_enter
)
