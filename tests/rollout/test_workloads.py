"""The workload that spec.workloadRef names, as the Rollout's own template."""

import pytest

from agent.api.meta import Object, Ref
from agent.api.rollout import ObjectRef
from agent.rollout.workloads import kind_problem, with_workload, workload_of

ROLLOUT: Object = {"metadata": {"name": "web"}, "spec": {"replicas": 3, "workloadRef": {}}}
PODS: Object = {"metadata": {"labels": {"app": "web"}}}
SELECTOR = {"matchLabels": {"app": "web"}}


@pytest.mark.parametrize(
    ("api_version", "kind", "problem"),
    [
        ("apps/v1", "Deployment", ""),
        ("apps/v1", "ReplicaSet", ""),
        ("v1", "PodTemplate", ""),
        ("apps/v1", "StatefulSet", "workload of type apps/StatefulSet is not supported"),
        ("v1", "Deployment", "workload of type /Deployment is not supported"),
        ("", "", "workload of type / is not supported"),
    ],
)
def test_three_kinds_can_be_referred_to(api_version: str, kind: str, problem: str) -> None:
    assert kind_problem(ObjectRef(api_version=api_version, kind=kind, name="web")) == problem


def test_a_workload_is_in_the_rollouts_namespace() -> None:
    reference = ObjectRef(api_version="apps/v1", kind="Deployment", name="web")
    assert workload_of(reference, "shop") == Ref("Deployment", "shop", "web")


@pytest.mark.parametrize(
    ("workload", "own", "template", "selector"),
    [
        pytest.param(
            {"kind": "Deployment", "spec": {"template": PODS, "selector": SELECTOR, "replicas": 9}},
            {}, PODS, SELECTOR, id="both are the workload's",
        ),
        pytest.param(
            {"kind": "Deployment", "spec": {"template": PODS, "selector": SELECTOR}},
            {"selector": {"matchLabels": {"a": "b"}}}, PODS, {"matchLabels": {"a": "b"}},
            id="the Rollout has a selector",
        ),
        pytest.param(
            {"kind": "PodTemplate", "template": PODS}, {}, PODS, None, id="a PodTemplate has no selector"
        ),
        pytest.param({"kind": "Deployment", "spec": "x"}, {}, {}, None, id="it is none"),
    ],
)  # fmt: skip
def test_template_and_selector_are_taken_over(
    workload: Object, own: Object, template: Object, selector: Object | None
) -> None:
    rollout = {**ROLLOUT, "spec": {**ROLLOUT["spec"], **own}}
    spec = with_workload(rollout, workload)["spec"]
    assert (spec["template"], spec.get("selector"), spec["replicas"]) == (template, selector, 3)
    assert "template" not in rollout["spec"], "the Rollout itself stays as it is"
