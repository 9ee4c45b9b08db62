"""An agent that drives with the role that is shipped for it, on a real API server: enough, and no more."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
import yaml

from agent.api.meta import Object
from agent.app import KINDS as DRIVEN_KINDS
from agent.app import OPTIONAL_KINDS
from agent.cluster.port import KINDS
from agent.errors import Forbidden
from agent.settings import load
from tests.e2e.bed.run import Run
from tests.e2e.manifests import NAME, in_namespace, page
from tests.e2e.processes import ROOT, Process, until
from tests.e2e.real import connected
from tests.e2e.roles import DRIVING, with_role
from tests.e2e.stage import Stage, firing, staged_on
from tests.e2e.test_companion import configured, ending

if TYPE_CHECKING:
    from collections.abc import Awaitable

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]
DATA: Final = Path(__file__).parent / "data"


def with_short_history(objects: list[Object]) -> list[Object]:
    """Nothing is kept of earlier revisions, so that ReplicaSets and AnalysisRuns are deleted, too, and soon."""
    made = []
    for obj in objects:
        if obj["kind"] == "Rollout":
            spec = obj["spec"]
            canary = {**spec["strategy"]["canary"], "scaleDownDelaySeconds": 2}
            spec = {**spec, "revisionHistoryLimit": 0, "strategy": {"canary": canary}}
            made.append({**obj, "spec": spec})
        else:
            made.append(obj)
    return made


async def test_the_shipped_role_is_enough_to_drive(tmp_path: Path, bed: Run) -> None:
    async with (
        staged_on(bed.part("kubernetes")["kubeconfig"], tmp_path) as stage,
        with_role(bed, stage, DRIVING) as kubeconfig,
        ending(stage),
    ):
        path = configured(
            stage, "driving", cluster={"kubeconfig": str(kubeconfig)},
            ownership={"kind": "lease", "namespace": stage.namespace},
        )  # fmt: skip
        stage.agent = Process("driving", "-m", "agent", "--config", str(path), directory=tmp_path)
        await stage.start_agent()
        objects = with_short_history(page(stage.prometheus.url))
        await stage.apply(*in_namespace(objects, stage.namespace))
        await stage.until_promoted()
        await stage.set_image("canary-demo:v2")
        await stage.until_promoted(deadline_seconds=90)
        await stage.until_announced("analysis", "promoted", "completed")
        await stage.set_image("canary-demo:v3")
        await stage.until_weight(10)
        alert = firing(DATA / "alertmanager-firing-0.34.json", rollout=f"{stage.namespace}/{NAME}")
        assert (await stage.alert(alert)).status_code == 202
        await stage.until_weight(0)
        await stage.until_phase("Degraded")
        await stage.until_announced("rolledback")
        # Its pods stay for scaleDownDelaySeconds.
        await until(
            lambda: _is_forgotten(stage),
            "the first version is gone",
            deadline_seconds=60,
            context=stage.agent,
        )
        assert await stage.agent.terminate() == 0
        log = stage.agent.output()
        refused = [line for line in log.splitlines() if "forbidden" in line.lower()]
        assert refused == []
        assert "cache.kind_missing" not in log, "the role shows all that it looks at"


async def _is_forgotten(stage: Stage) -> bool:
    """Only the stable version and the one that was taken off are left."""
    sets = (await stage.cluster.list(KINDS["ReplicaSet"], stage.namespace)).items
    return len(sets) == 2


async def test_the_shipped_role_allows_nothing_more(tmp_path: Path, bed: Run) -> None:
    async with (
        staged_on(bed.part("kubernetes")["kubeconfig"], tmp_path) as stage,
        with_role(bed, stage, DRIVING) as kubeconfig,
        connected(kubeconfig) as client,
    ):
        namespace = stage.namespace
        await stage.apply(*in_namespace(page(stage.prometheus.url), namespace))
        named = {"metadata": {"name": "any", "namespace": namespace}}
        note: dict[str, Any] = {"metadata": {"annotations": {"x": "y"}}}
        tries: dict[str, Awaitable[object]] = {
            "a Rollout's end": client.delete(KINDS["Rollout"], namespace, NAME),
            "a new Rollout": client.create(KINDS["Rollout"], named),
            "a route's end": client.delete(KINDS["VirtualService"], namespace, NAME),
            "a subset's end": client.delete(KINDS["DestinationRule"], namespace, NAME),
            "a Service's end": client.delete(KINDS["Service"], namespace, NAME),
            "a template": client.merge_patch(KINDS["AnalysisTemplate"], namespace, "any", note),
            "a Deployment": client.merge_patch(KINDS["Deployment"], namespace, "any", note),
            "a Pod's end": client.delete(KINDS["Pod"], namespace, "any"),
            "Secrets": client.list(KINDS["Secret"], namespace),
            "a Secret": client.get(KINDS["Secret"], namespace, "any"),
            "all ConfigMaps": client.list(KINDS["ConfigMap"], namespace),
            "another ConfigMap": client.get(KINDS["ConfigMap"], namespace, "kube-root-ca.crt"),
            "another Lease": client.merge_patch(KINDS["Lease"], namespace, "any", note),
            "a namespace": client.merge_patch(KINDS["Namespace"], "", namespace, note),
        }  # fmt: skip
        outcomes = await asyncio.gather(*tries.values(), return_exceptions=True)
        allowed = [
            f"{what}: {outcome!r}"
            for what, outcome in zip(tries, outcomes, strict=True)
            if not isinstance(outcome, Forbidden)
        ]
        assert allowed == []
        # Argo's Lease is looked for in all namespaces, by its name.
        fields = "metadata.name=argo-rollouts-controller-lock"
        await client.list(KINDS["Lease"], None, fields=fields)
        for kind in (*DRIVEN_KINDS, *OPTIONAL_KINDS):
            await client.list(KINDS[kind], None)


@pytest.mark.parametrize("name", ["driving", "companion"])
def test_the_parts_of_a_deployment_fit_together(name: str) -> None:
    """What kustomize would put together, looked at without it."""
    directory = ROOT / "deploy" / name
    kustomization = yaml.safe_load((directory / "kustomization.yaml").read_text())
    resources = [directory / item for item in kustomization["resources"]]
    files = [
        file
        for item in resources
        for file in (
            [item / other for other in _resources(item)] if item.is_dir() else [item]
        )
    ]  # fmt: skip
    objects = [obj for file in files for obj in yaml.safe_load_all(file.read_text())]
    found = {(obj["kind"], obj["metadata"]["name"]) for obj in objects}
    (deployment,) = [obj for obj in objects if obj["kind"] == "Deployment"]
    pod = deployment["spec"]["template"]["spec"]
    assert ("ServiceAccount", pod["serviceAccountName"]) in found
    (generated,) = kustomization["configMapGenerator"]
    assert {"name": "config", "configMap": {"name": generated["name"]}} in pod["volumes"]
    settings = load(directory / generated["files"][0], {})
    (container,) = pod["containers"]
    assert container["ports"][0]["containerPort"] == settings.sink.port
    mounts = [mount["mountPath"] for mount in container["volumeMounts"]]
    assert all(token.file.startswith(f"{mounts[1]}/") for token in settings.sink.tokens)
    assert {image["name"] for image in kustomization["images"]} == {container["image"]}


def _resources(directory: Path) -> list[str]:
    found: list[str] = yaml.safe_load((directory / "kustomization.yaml").read_text())["resources"]
    return found
