"""Suite validation-references: do the named Services, VirtualServices and templates fit?"""

from typing import Any

from agent.api.analysis import Argument, TemplateRef
from agent.api.decode import read
from agent.api.meta import Key, Object, Ref
from agent.api.rollout import Rollout, RolloutAnalysis
from agent.rollout import references
from agent.traffic.istio import Istio
from agent.traffic.istio_names import istio_of, names_one_form
from agent.traffic.types import FieldError
from tests.conformance.cases import Unsupported
from tests.conformance.compare import set_differences
from tests.conformance.suites.validation import shown

PLACES = {
    "PrePromotionAnalysis": "spec.strategy.blueGreen.prePromotionAnalysis.templates",
    "PostPromotionAnalysis": "spec.strategy.blueGreen.postPromotionAnalysis.templates",
    "InlineAnalysis": "spec.strategy.canary.steps[{}].analysis.templates",
    "BackgroundAnalysis": "spec.strategy.canary.analysis.templates",
}


def _templates(rollout: Rollout, given: dict[str, Any]) -> list[FieldError]:
    objects: dict[Ref, Object] = {}
    named = []
    for kind, member in (
        ("AnalysisTemplate", "templates"),
        ("ClusterAnalysisTemplate", "clusterTemplates"),
    ):
        for obj in given.get(member) or []:
            cluster = kind.startswith("Cluster")
            name = obj["metadata"]["name"]
            objects[Ref(kind, "" if cluster else Key.of(obj).namespace, name)] = obj
            named.append(TemplateRef(template_name=name, cluster_scope=cluster))
    use = references.Use(
        PLACES[given["use"]].format(given["stepIndex"]),
        RolloutAnalysis(
            templates=named, args=[read(Argument, item) for item in given.get("args") or []]
        ),
        background=given["use"] == "BackgroundAnalysis",
    )
    return references.template_errors(rollout, use, objects)


def _virtual_service(rollout: Rollout, obj: Object) -> list[FieldError]:
    """One VirtualService alone: what else the router wants is not asked about."""
    router, ref = Istio(), Ref("VirtualService", *Key.of(obj))
    if not router.references(rollout):
        return list(router.validate(rollout, {ref: obj}))
    return list(router.validate_virtual_service(rollout, {ref: obj}, ref))


def _form(rollout: Rollout) -> list[FieldError]:
    """Whether one form is used. An empty list is one to Argo; that it names nothing the router says."""
    istio = istio_of(rollout)
    if istio is None or names_one_form(istio):
        return []
    return [error for error in Istio().validate(rollout, {}) if error.type == "InternalError"]


def _answer(given: dict[str, Any]) -> list[FieldError]:
    rollout = read(Rollout, given["rollout"])
    match given["question"]:
        case "service":
            return references.service_errors(rollout, given["serviceRole"], given["service"])
        case "templates":
            return _templates(rollout, given)
        case "virtual-service":
            return _virtual_service(rollout, given["virtualService"])
        case "virtual-service-settings":
            return _form(rollout)
        case question:
            raise Unsupported(question)


def run(given: dict[str, Any], expect: dict[str, Any]) -> list[str]:
    return set_differences(expect["errors"], shown(_answer(given)), path="errors")
