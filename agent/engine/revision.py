"""The two sides of a rollout as announcements show them. Pure."""

from collections.abc import Sequence
from typing import Any

import msgspec

from agent.api.meta import Object
from agent.api.names import DEPLOYMENT, REVISION
from agent.engine.exposure import find_revision
from agent.events.catalogue import Deployment, RevisionInfo, RolloutEvent, StepInfo


def revision_number(rollout: Object, replica_sets: Sequence[Object]) -> str:
    """Number of the current revision as text: its ReplicaSet's annotation, else the Rollout's; "" unknown."""
    current = (rollout.get("status") or {}).get("currentPodHash", "")
    found = find_revision(replica_sets, current)
    return _annotations(found).get(REVISION) or _annotations(rollout).get(REVISION) or ""


def event_data(rollout: Object, replica_sets: Sequence[Object]) -> RolloutEvent:
    """What every announcement about this rollout says: who it is, its phase, both revisions, its step."""
    metadata, status = rollout["metadata"], rollout.get("status") or {}
    return RolloutEvent(
        namespace=str(metadata.get("namespace") or "default"),
        name=str(metadata["name"]),
        uid=str(metadata.get("uid", "")),
        phase=str(status.get("phase", "")),
        message=str(status.get("message", "")),
        new=revision_info(str(status.get("currentPodHash", "")), replica_sets),
        old=revision_info(str(status.get("stableRS", "")), replica_sets),
        step=_step(rollout),
    )


def revision_info(pod_hash: str, replica_sets: Sequence[Object]) -> RevisionInfo | None:
    """One side of a rollout: what is known of the revision with this hash; None for ""."""
    found = find_revision(replica_sets, pod_hash)
    if found is None:
        return RevisionInfo(hash=pod_hash) if pod_hash else None
    template: dict[str, Any] = ((found.get("spec") or {}).get("template") or {}).get("spec") or {}
    images = [str(item["image"]) for item in template.get("containers") or () if item.get("image")]
    return RevisionInfo(
        revision=_annotations(found).get(REVISION, ""),
        hash=pod_hash,
        images=images or None,
        deployment=deployment_of(found),
    )


def deployment_of(obj: Object) -> Deployment | None:
    """The evidence of the deployment that an object carries; None without (readable) evidence."""
    text = _annotations(obj).get(DEPLOYMENT, "")
    try:
        return msgspec.json.decode(text, type=Deployment) if text else None
    except msgspec.MsgspecError:
        return None


def _step(rollout: Object) -> StepInfo | None:
    canary = ((rollout.get("spec") or {}).get("strategy") or {}).get("canary") or {}
    index = (rollout.get("status") or {}).get("currentStepIndex")
    steps = canary.get("steps") or ()
    return StepInfo(index=index, count=len(steps)) if steps and isinstance(index, int) else None


def _annotations(obj: Object | None) -> dict[str, str]:
    return ((obj or {}).get("metadata") or {}).get("annotations") or {}
