"""Versions of a Rollout as Argo's controller stores them, for tests of what is told about them."""

from typing import Any

import msgspec

from agent.api.analysis import AnalysisRun
from agent.api.decode import read
from agent.api.meta import Object
from agent.api.rollout import Rollout
from agent.api.times import parse_time
from agent.events.catalogue import Cause, RevisionInfo, RolloutEvent, Timings
from agent.rollout.sighted import Told, follow
from agent.rollout.sighting import Look, Sighting

STEPS: list[dict[str, Any]] = [{"setWeight": 20}, {"pause": {}}, {"setWeight": 60}, {"pause": {}}]


def a_rollout(
    *,
    version: int = 1,
    current: str = "b",
    stable: str = "a",
    revision: str = "2",
    weight: int | None = 0,
    annotations: dict[str, str] | None = None,
    paused: bool | None = None,
    dynamic: bool = False,
    conditions: list[dict[str, str]] | None = None,
    **status: Any,
) -> Object:
    """A Rollout with this status."""
    canary: dict[str, Any] = {"steps": STEPS, "dynamicStableScale": dynamic}
    spec: dict[str, Any] = {"replicas": 1, "strategy": {"canary": canary}}
    if paused is not None:
        spec["paused"] = paused
    weights = (
        {}
        if weight is None
        else {"weights": {"canary": {"weight": weight}, "stable": {"weight": 100 - weight}}}
    )
    return {
        "metadata": {
            "name": "web", "namespace": "shop", "uid": "u", "resourceVersion": str(version),
            "annotations": {"rollout.argoproj.io/revision": revision, **(annotations or {})},
        },
        "spec": spec,
        "status": {
            "currentPodHash": current, "stableRS": stable, "currentStepHash": "s", "canary": weights,
            "conditions": conditions or [], **status,
        },
    }  # fmt: skip


def a_look(
    *,
    runs: tuple[Object, ...] = (),
    cause: Cause | None = None,
    decided_at: str | None = None,
    now: str | None = None,
    **fields: Any,
) -> Look:
    """One version with what belongs to it; `decided_at`: when we asked for an abort."""
    rollout = read(Rollout, a_rollout(**fields))
    return Look(
        rollout=rollout,
        data=RolloutEvent(namespace="shop", name="web", uid="u"),
        revisions={name: RevisionInfo(hash=name, images=[f"web:{name}"]) for name in "abc"},
        runs=tuple(read(AnalysisRun, run) for run in runs),
        cause=cause,
        timings=Timings(decided_at=decided_at) if decided_at else None,
        now=parse_time(now) if now else None,
    )


def a_run(
    name: str, phase: str, *, current: str = "b", revision: str = "2", message: str = ""
) -> Object:
    """An AnalysisRun of a revision."""
    return {
        "metadata": {
            "name": name,
            "labels": {"rollouts-pod-template-hash": current},
            "annotations": {"rollout.argoproj.io/revision": revision},
        },
        "status": {"phase": phase, "message": message},
    }  # fmt: skip


def progressing(reason: str, message: str = "", at: str = "2026-05-01T10:00:00Z") -> dict[str, str]:
    """The condition Progressing."""
    return {
        "type": "Progressing", "status": "False", "reason": reason, "message": message,
        "lastTransitionTime": at,
    }  # fmt: skip


PAUSE: dict[str, Any] = {
    "pauseConditions": [{"reason": "CanaryPauseStep", "startTime": "2026-05-01T10:00:00Z"}]
}


def walk(*looks: Look, restarts: bool = True) -> list[Told]:
    """Everything that is told of a way; the mark is written down and read again between two versions."""
    told: list[Told] = []
    mark: Sighting | None = None
    for look in looks:
        mark, what = follow(mark, look)
        told += what
        if restarts:
            mark = msgspec.json.decode(msgspec.json.encode(mark), type=Sighting)
    return told


def names(told: list[Told]) -> list[str]:
    """Transitions, in order."""
    return [item.announcement.transition for item in told]
