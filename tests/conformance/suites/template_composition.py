"""template-composition: the AnalysisRun that an analysis and its templates come to."""

from typing import Any

from agent.analysis.composition import analysis_run
from agent.api.decode import read
from agent.api.meta import Ref
from agent.api.rollout import Rollout, RolloutAnalysis
from agent.errors import Refused
from tests.conformance.compare import differences

KINDS = {"": "Background", "pre": "PrePromotion", "post": "PostPromotion"}
OURS = ("rollout-type", "step-index")
"""Labels that the caller adds in Argo; the vectors show the run before that."""


def run(given: dict[str, Any], expect: dict[str, Any]) -> list[str]:
    templates = {
        Ref("AnalysisTemplate", "default", t["metadata"]["name"]): t for t in given["templates"]
    }
    templates |= {
        Ref("ClusterAnalysisTemplate", "", t["metadata"]["name"]): t
        for t in given["clusterTemplates"]
    }
    try:
        made = analysis_run(
            read(Rollout, given["rollout"]),
            read(RolloutAnalysis, given["analysis"]),
            templates,
            stable_hash=given["stableHash"],
            latest_hash=given["latestHash"],
            kind=KINDS.get(given["infix"], "Step"),
            infix=given["infix"],
        )
    except Refused as error:
        return differences(expect, {"error": error.detail})
    spec, meta = made["spec"], made["metadata"]
    labels = {name: value for name, value in meta["labels"].items() if name not in OURS}
    got = {
        "name": meta["name"],
        "labels": labels,
        "annotations": meta["annotations"],
        "metrics": [metric["name"] for metric in spec["metrics"]],
        **{
            field: spec[field]
            for field in ("args", "dryRun", "measurementRetention")
            if field in spec
        },
    }
    return differences(expect, got)
