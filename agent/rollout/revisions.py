"""Revisions: which ReplicaSet is the new one, its number, and what becomes of the old ones. PURE."""

from typing import Any

from agent.api import names
from agent.api.meta import Object, Ref
from agent.rollout import defaults
from agent.rollout.draft import Draft, merge
from agent.rollout.replica_sets import ReplicaSetView
from agent.rollout.types import Stage, Write


def next_revision(draft: Draft) -> int:
    """The number that the new ReplicaSet has or gets: one above all others."""
    new = draft.facts.new
    highest = max(
        (item.revision for item in draft.facts.sets if new is None or item.name != new.name),
        default=0,
    )
    if new is not None and new.revision > highest:
        return new.revision
    return highest + 1


def number(draft: Draft) -> None:
    """Give an adopted ReplicaSet the highest number, and the Rollout the number of its revision."""
    facts, revision = draft.facts, str(next_revision(draft))
    new = facts.new
    if new is not None and new.revision != int(revision):
        draft.write(
            merge(
                Stage.PODS_UP,
                Ref("ReplicaSet", facts.namespace, new.name),
                {"metadata": {"annotations": {names.REVISION: revision}}},
                f"is revision {revision} now",
            )
        )
    if facts.rollout.metadata.annotation(names.REVISION) != revision:
        draft.write(
            merge(
                Stage.HOUSEKEEPING,
                Ref("Rollout", facts.namespace, facts.name),
                {"metadata": {"annotations": {names.REVISION: revision}}},
                f"is at revision {revision}",
                guarded=False,
            )
        )


def create(draft: Draft, replicas: int) -> None:
    """Create the new revision's ReplicaSet with this many pods."""
    facts = draft.facts
    rollout, template = facts.rollout, facts.rollout.spec.template or {}
    name = f"{facts.name}-{facts.new_hash}"
    labels = {
        **((template.get("metadata") or {}).get("labels") or {}),
        names.POD_TEMPLATE_HASH: facts.new_hash,
    }
    selector = rollout.spec.selector or {}
    annotations = {
        names.REVISION: str(next_revision(draft)),
        names.DESIRED_REPLICAS: str(defaults.replicas(rollout)),
    }
    evidence = rollout.metadata.annotation(names.DEPLOYMENT)
    if evidence:
        annotations[names.DEPLOYMENT] = evidence
    spec: dict[str, Any] = {
        "replicas": replicas,
        "selector": {
            **selector,
            "matchLabels": {
                **(selector.get("matchLabels") or {}),
                names.POD_TEMPLATE_HASH: facts.new_hash,
            },
        },
        "template": {
            **template,
            "metadata": {**(template.get("metadata") or {}), "labels": labels},
        },
    }
    if rollout.spec.min_ready_seconds:
        spec["minReadySeconds"] = rollout.spec.min_ready_seconds
    body: Object = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": name,
            "namespace": facts.namespace,
            "labels": labels,
            "annotations": annotations,
            "ownerReferences": [owner_reference(draft)],
        },
        "spec": spec,
    }
    ref = Ref("ReplicaSet", facts.namespace, name)
    draft.write(
        Write(stage=Stage.PODS_UP, verb="create", ref=ref, body=body, reason="a new revision")
    )
    draft.record(
        "NewReplicaSetCreated",
        f"Created ReplicaSet {name} (revision {annotations[names.REVISION]})",
    )
    if replicas:
        draft.record("ScalingReplicaSet", f"Scaled up ReplicaSet {name} from 0 to {replicas}")


def owner_reference(draft: Draft) -> dict[str, Any]:
    """The Rollout as controlling owner."""
    meta = draft.facts.rollout.metadata
    return {
        "apiVersion": names.API_VERSION,
        "kind": "Rollout",
        "name": meta.name,
        "uid": meta.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def trim_history(draft: Draft) -> None:
    """Delete the oldest ReplicaSets without pods beyond revisionHistoryLimit."""
    limit = defaults.revision_history_limit(draft.rollout)
    empty = [item for item in draft.facts.others if is_empty(item)]
    for item in empty[: max(0, len(empty) - limit)]:
        ref = Ref("ReplicaSet", draft.facts.namespace, item.name)
        draft.write(
            Write(
                stage=Stage.HOUSEKEEPING,
                verb="delete",
                ref=ref,
                guarded=True,
                reason="beyond revisionHistoryLimit",
            )
        )


def is_empty(item: ReplicaSetView) -> bool:
    """Whether a ReplicaSet neither wants nor has pods."""
    return item.replicas == 0 and item.status_replicas == 0
