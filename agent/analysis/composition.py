"""Templates become an AnalysisRun: composition, arguments, name, labels. PURE.

Reference: Argo's utils/analysis/helpers.go and rollout/analysis.go. Unlike there, a template that
refers to itself is refused instead of recursing for ever.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from agent.analysis import arguments
from agent.api import names
from agent.api.analysis import AnalysisTemplate, AnalysisTemplateSpec, TemplateRef
from agent.api.decode import read, write
from agent.api.meta import Object, Ref
from agent.api.rollout import Rollout, RolloutAnalysis
from agent.errors import Refused


def analysis_run(
    rollout: Rollout,
    analysis: RolloutAnalysis,
    templates: Mapping[Ref, Object],
    *,
    stable_hash: str,
    latest_hash: str,
    kind: str,
    infix: str,
    revision: str = "",
) -> Object:
    """The AnalysisRun of an analysis step or block, ready to be created.

    Args:
        templates: those that exist, by reference (namespace "" for cluster scope).
        kind: `Step`, `Background`, `PrePromotion` or `PostPromotion`.
        infix: the step's index, `pre`, `post` or "".
        revision: of the new ReplicaSet; "" takes the Rollout's own annotation.

    Raises Refused in Argo's words.
    """
    found = _expanded(analysis.templates or (), templates, rollout.metadata.namespace)
    specs = [template.spec for template in found]
    metrics = [metric for spec in specs for metric in spec.metrics or ()]
    _no_twins([metric.name for metric in metrics], "metrics")
    dry_run = [*(analysis.dry_run or ()), *(rule for spec in specs for rule in spec.dry_run or ())]
    _no_twins([rule.metric_name for rule in dry_run], "Dry-Run metric rules")
    retention = [
        *(analysis.measurement_retention or ()),
        *(rule for spec in specs for rule in spec.measurement_retention or ()),
    ]
    _no_twins([rule.metric_name for rule in retention], "Measurement Retention metric rules")
    supplied = arguments.build(
        analysis.args or (), write(rollout), stable_hash=stable_hash, latest_hash=latest_hash
    )
    args = arguments.merge(supplied, arguments.union([spec.args or () for spec in specs]))
    revision = revision or rollout.metadata.annotation(names.REVISION)
    spec: dict[str, Any] = {"metrics": [write(metric) for metric in metrics]}
    for field, items in (("args", args), ("dryRun", dry_run), ("measurementRetention", retention)):
        if items:
            spec[field] = [write(item) for item in items]
    return {
        "apiVersion": names.API_VERSION,
        "kind": "AnalysisRun",
        "metadata": _metadata(rollout, analysis, latest_hash, kind, infix, revision),
        "spec": spec,
    }


def _metadata(
    rollout: Rollout,
    analysis: RolloutAnalysis,
    latest_hash: str,
    kind: str,
    infix: str,
    revision: str,
) -> Object:
    extra = analysis.analysis_run_metadata
    labels = {
        **((extra.labels if extra else None) or {}),
        names.POD_TEMPLATE_HASH: latest_hash,
        names.ROLLOUT_TYPE: kind,
        **((rollout.spec.selector or {}).get("matchLabels") or {}),
    }
    if kind == "Step":
        labels[names.STEP_INDEX] = infix
    instance = rollout.metadata.label(names.INSTANCE_ID)
    if instance:
        labels[names.INSTANCE_ID] = instance
    parts = [rollout.metadata.name, latest_hash, revision, infix]
    return {
        "name": "-".join(part for part in parts if part),
        "namespace": rollout.metadata.namespace,
        "labels": labels,
        "annotations": {
            **((extra.annotations if extra else None) or {}),
            names.REVISION: revision,
        },
        "ownerReferences": [
            {
                "apiVersion": names.API_VERSION,
                "kind": "Rollout",
                "name": rollout.metadata.name,
                "uid": rollout.metadata.uid,
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }


def _expanded(
    references: Sequence[TemplateRef], templates: Mapping[Ref, Object], namespace: str
) -> list[AnalysisTemplate]:
    """All templates that are meant, each once: namespaced ones first, parents before children."""
    found: dict[Ref, AnalysisTemplate] = {}
    _collect(references, templates, namespace, (), found)
    ordered = sorted(found, key=lambda ref: ref.kind != "AnalysisTemplate")
    return [found[ref] for ref in ordered]


def _collect(
    references: Sequence[TemplateRef],
    templates: Mapping[Ref, Object],
    namespace: str,
    path: tuple[Ref, ...],
    found: dict[Ref, AnalysisTemplate],
) -> None:
    for reference in references:
        ref = (
            Ref("ClusterAnalysisTemplate", "", reference.template_name)
            if reference.cluster_scope
            else Ref("AnalysisTemplate", namespace, reference.template_name)
        )
        if ref in path:
            cycle = " -> ".join(item.name for item in (*path, ref))
            raise Refused(f"analysis templates refer to each other in a circle: {cycle}")
        if ref not in templates:
            raise Refused(f'{ref.kind.lower()}.argoproj.io "{ref.name}" not found')
        if ref in found:
            continue
        template = read(AnalysisTemplate, templates[ref])
        found[ref] = template
        _collect(_nested(template.spec), templates, namespace, (*path, ref), found)


def _nested(spec: AnalysisTemplateSpec) -> Sequence[TemplateRef]:
    return spec.templates or ()


def _no_twins(found: Sequence[str], what: str) -> None:
    seen: set[str] = set()
    for name in found:
        if name in seen:
            raise Refused(f"two {what} have the same name '{name}'")
        seen.add(name)
