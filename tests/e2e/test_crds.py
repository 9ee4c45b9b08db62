"""Our CustomResourceDefinitions on a real API server: accepted, and nothing of a manifest is lost."""

import subprocess
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest

from agent.api.meta import Object
from agent.cluster.kubernetes import KubernetesCluster
from agent.cluster.port import KINDS
from agent.demo.manifests import Setup, complete
from agent.errors import Invalid
from tests.contract.objects import a_rollout
from tests.e2e.bed.run import Run
from tests.e2e.processes import until
from tests.e2e.real import connected, fresh_namespace

pytestmark = pytest.mark.e2e

OF_LATER_VERSIONS: Final[dict[str, Any]] = {"unheardOf": {"deep": [{"er": 1.5}, None, {"": []}]}}


@pytest.fixture
def kubernetes(bed: Run) -> dict[str, str]:
    return bed.part("kubernetes")


@pytest.fixture
async def cluster(kubernetes: dict[str, str]) -> AsyncIterator[KubernetesCluster]:
    async with connected(kubernetes["kubeconfig"]) as cluster:
        yield cluster


@pytest.fixture
async def namespace(cluster: KubernetesCluster) -> AsyncIterator[str]:
    async with fresh_namespace(cluster) as name:
        yield name


def kubectl(kubernetes: dict[str, str], *args: str) -> str:
    command = [kubernetes["kubectl"], "--kubeconfig", kubernetes["kubeconfig"], *args]
    return subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=30
    ).stdout.strip()


def full_of_surprises(namespace: str) -> Object:
    """A Rollout with members that we have no type for, at every depth."""
    rollout = a_rollout(namespace, "surprises")
    spec: dict[str, Any] = rollout["spec"]
    spec["template"]["spec"] |= {
        "affinity": {"nodeAffinity": OF_LATER_VERSIONS},
        "initContainers": [{"name": "i", "image": "x", "restartPolicy": "Always"}],
        "volumes": [{"name": "v", "projected": {"sources": [{"clusterTrustBundle": {"path": "x"}}]}}],
    }  # fmt: skip
    canary: dict[str, Any] = {
        "maxSurge": "25%",
        "maxUnavailable": 0,
        "steps": [
            {"setWeight": 20},
            {"pause": {"duration": 10}},
            {"pause": {"duration": "1h"}},
            {"pause": {}},
            {"experiment": {"duration": "1h", "templates": [{"name": "a", "specRef": "stable"}]}},
            {"plugin": {"name": "x/y", "config": OF_LATER_VERSIONS}},
            {"replicaProgressThreshold": {"type": "Percent", "value": 90}},
            OF_LATER_VERSIONS,
        ],
        "trafficRouting": {
            "alb": {"ingress": "x", "servicePort": 443},
            "plugins": {"argoproj-labs/gatewayAPI": {"httpRoute": "x", "namespace": "y"}},
            **OF_LATER_VERSIONS,
        },
        **OF_LATER_VERSIONS,
    }
    spec["strategy"] = {"canary": canary, **OF_LATER_VERSIONS}
    return {**rollout, "spec": {**spec, **OF_LATER_VERSIONS}}


def experiment(namespace: str) -> Object:
    template = a_rollout(namespace, "x")["spec"]["template"]
    templates = [{"name": "one", "selector": {"matchLabels": {"app": "x"}}, "template": template}]
    spec = {"duration": "20m", "progressDeadlineSeconds": 60, "templates": templates}
    return {"metadata": {"namespace": namespace, "name": "experiment"}, "spec": spec}


def analysis_template(name: str, namespace: str = "") -> Object:
    metric: dict[str, Any] = {
        "name": "m",
        "count": "{{args.count}}",
        "failureLimit": 3,
        "successCondition": "true",
        "provider": {"job": {"spec": {"template": {"spec": {"containers": []}}}}, "later": 1},
    }
    args = [
        {"name": "count", "value": "5"},
        {"name": "token", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
    ]
    return {
        "metadata": {"name": name, **({"namespace": namespace} if namespace else {})},
        "spec": {"metrics": [metric], "args": args, **OF_LATER_VERSIONS},
    }


async def test_the_page_is_taken_as_it_is(cluster: KubernetesCluster, namespace: str) -> None:
    for obj in complete(Setup(namespace=namespace)):
        made = await cluster.create(KINDS[obj["kind"]], obj)
        # The API server adds an address of its own to a Service, and nothing to the others.
        if obj["kind"] == "Service":
            made["spec"] = {key: made["spec"][key] for key in obj["spec"]}
            made["spec"]["ports"] = [
                {key: port[key] for key in sent}
                for port, sent in zip(made["spec"]["ports"], obj["spec"]["ports"], strict=True)
            ]
        assert made["spec"] == obj["spec"]


async def test_what_we_have_no_type_for_is_kept(cluster: KubernetesCluster, namespace: str) -> None:
    objects = {
        "Rollout": full_of_surprises(namespace),
        "Experiment": experiment(namespace),
        "AnalysisTemplate": analysis_template("at", namespace),
        "ClusterAnalysisTemplate": analysis_template(namespace),
        "AnalysisRun": analysis_template("ar", namespace),
    }
    try:
        for kind, obj in objects.items():
            made = await cluster.create(KINDS[kind], obj)
            assert made["spec"] == obj["spec"], kind
    finally:
        await cluster.delete(KINDS["ClusterAnalysisTemplate"], "", namespace)


async def test_a_status_of_a_later_version_is_kept(
    cluster: KubernetesCluster, namespace: str
) -> None:
    await cluster.create(KINDS["Rollout"], a_rollout(namespace, "r"))
    status = {"phase": "Paused", "observedGeneration": "3", "canary": OF_LATER_VERSIONS}
    answer = await cluster.merge_patch(
        KINDS["Rollout"], namespace, "r", {"status": status}, status=True
    )
    # A merge patch removes nulls of maps only; this one is inside of a list.
    assert answer["status"] == status


@pytest.mark.parametrize(
    ("field", "patch"),
    [
        pytest.param("spec.replicas", {"replicas": "three"}, id="replicas that are a word"),
        pytest.param(
            "spec.strategy.canary.steps[0].setWeight",
            {"strategy": {"canary": {"steps": [{"setWeight": "lots"}]}}},
            id="a weight that is a word",
        ),
        pytest.param(
            "spec.strategy.canary.steps",
            {"strategy": {"canary": {"steps": {"setWeight": 1}}}},
            id="steps that are no list",
        ),
    ],
)
async def test_a_value_of_a_wrong_type_is_refused_by_its_field(
    cluster: KubernetesCluster, namespace: str, field: str, patch: dict[str, Any]
) -> None:
    rollout = a_rollout(namespace, "wrong")
    with pytest.raises(Invalid) as caught:
        await cluster.create(KINDS["Rollout"], {**rollout, "spec": {**rollout["spec"], **patch}})
    assert field in str(caught.value)


async def test_kubectl_shows_scales_and_explains(
    cluster: KubernetesCluster, kubernetes: dict[str, str], namespace: str
) -> None:
    await cluster.create(KINDS["Rollout"], a_rollout(namespace, "r"))
    status = {"replicas": 3, "updatedReplicas": 2, "availableReplicas": 1, "selector": "app=r"}
    await cluster.merge_patch(KINDS["Rollout"], namespace, "r", {"status": status}, status=True)
    shown = kubectl(kubernetes, "-n", namespace, "get", "ro")
    header, row = (line.split() for line in shown.splitlines())
    assert header == ["NAME", "DESIRED", "CURRENT", "UP-TO-DATE", "AVAILABLE", "AGE"]
    assert row[:5] == ["r", "1", "3", "2", "1"]
    kubectl(kubernetes, "-n", namespace, "scale", "rollout", "r", "--replicas=4")
    assert (await cluster.get(KINDS["Rollout"], namespace, "r"))["spec"]["replicas"] == 4

    async def explained() -> bool:
        # The API server publishes a new kind's description after a while.
        try:
            words = kubectl(kubernetes, "explain", "rollout.spec.strategy.canary.steps")
        except subprocess.CalledProcessError:
            return False
        return "One canary step" in words

    await until(explained, "kubectl explains a step")


async def test_the_api_server_finds_nothing_wrong_with_the_schemas(
    kubernetes: dict[str, str],
) -> None:
    path = "{range .items[*].status.conditions[*]}{.type}={.status} {end}"
    told = kubectl(kubernetes, "get", "crds", "-o", f"jsonpath={path}").split()
    assert told.count("Established=True") > 5
    assert not [word for word in told if word.startswith("NonStructural")]
