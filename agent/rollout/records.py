"""Core Events about analyses, and how a reason becomes the name of a notification trigger. PURE.

Reasons and words are Argo's.
"""

import re
from typing import Final, Literal

from agent.analysis.verdict import COMPLETED
from agent.api.analysis import AnalysisRun, AnalysisRunStatus
from agent.rollout.types import Record

_CAPITALISED_WORD: Final = re.compile(r"(.)([A-Z][a-z]+)")
_CAPITAL: Final = re.compile(r"([a-z0-9])([A-Z])")


def notification_trigger(reason: str) -> str:
    """The name under which subscriptions ask for events of that reason: `on-step-completed`.

    The rule is Argo's; runs of capitals stay together (`BGPause` is `on-bg-pause`).
    """
    text = _CAPITALISED_WORD.sub(r"\1-\2", reason)
    return "on-" + _CAPITAL.sub(r"\1-\2", text).lower()


def run_changed(kind: str, run: AnalysisRun, before: str) -> tuple[Record, ...]:
    """What a Rollout says when the phase of an analysis of its is another one than its status says.

    Args:
        kind: Step or Background.
        before: the phase in the Rollout's status.
    """
    phase = run.status.phase
    if phase in ("", before):
        return ()
    message = (
        f"{kind} Analysis Run '{run.metadata.name}' Status New: '{phase}' Previous: '{before}'"
    )
    return (_record("AnalysisRun", phase, message),)


def run_went_on(before: AnalysisRunStatus, after: AnalysisRunStatus) -> tuple[Record, ...]:
    """What an AnalysisRun says when metrics of its, or all of it, have ended."""
    known = {result.name: result.phase for result in before.metric_results or ()}
    found = [
        _record("Metric", result.phase, f"Metric '{result.name}' Completed. Result: {result.phase}")
        for result in after.metric_results or ()
        if result.phase in COMPLETED and known.get(result.name) != result.phase
    ]
    if after.phase in COMPLETED and after.phase != before.phase:
        message = f"Analysis Completed. Result: {after.phase}"
        found.append(_record("AnalysisRun", after.phase, message))
    return tuple(found)


def _record(what: str, phase: str, message: str) -> Record:
    kind: Literal["Normal", "Warning"] = "Warning" if phase in ("Failed", "Error") else "Normal"
    return Record(reason=f"{what}{phase}", message=message, type=kind)
