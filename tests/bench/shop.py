"""Rollouts for measuring: each with its Services and its route, all alike."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any, Final

from agent.api.meta import Object
from agent.cluster.kubernetes import KubernetesCluster
from agent.cluster.port import KINDS
from agent.errors import AlreadyExists, NotFound, Unavailable

WEIGHT: Final = 20
PARALLEL: Final = 8
TRIES: Final = 5
PAUSED: Final[list[dict[str, Any]]] = [{"setWeight": WEIGHT}, {"pause": {}}]


def rollout(name: str, namespace: str, image: str, *, replicas: int = 1) -> Object:
    """One Rollout with a pod template of the usual size (about 1.5 KB)."""
    container = {
        "name": "main",
        "image": image,
        "ports": [{"name": "http", "containerPort": 8080}],
        "env": [{"name": f"SETTING_{n}", "value": f"value of setting {n}"} for n in range(12)],
        "resources": {
            "requests": {"cpu": "100m", "memory": "128Mi"},
            "limits": {"cpu": "500m", "memory": "256Mi"},
        },
        "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}, "periodSeconds": 5},
        "livenessProbe": {"httpGet": {"path": "/live", "port": "http"}, "periodSeconds": 10},
    }
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [container]},
            },
            "strategy": {
                "canary": {
                    "canaryService": f"{name}-canary",
                    "stableService": f"{name}-stable",
                    "trafficRouting": {
                        "istio": {"virtualService": {"name": name, "routes": ["primary"]}}
                    },
                    "steps": PAUSED,
                }
            },
        },
    }


def around(name: str, namespace: str) -> list[Object]:
    """Two Services and the VirtualService."""
    metadata = {"namespace": namespace}
    services = [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {**metadata, "name": f"{name}-{role}"},
            "spec": {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080}]},
        }
        for role in ("stable", "canary")
    ]
    route = [
        {"destination": {"host": f"{name}-stable"}, "weight": 100},
        {"destination": {"host": f"{name}-canary"}, "weight": 0},
    ]
    return [
        *services,
        {
            "apiVersion": "networking.istio.io/v1beta1",
            "kind": "VirtualService",
            "metadata": {**metadata, "name": name},
            "spec": {
                "hosts": [f"{name}.example.com"],
                "http": [{"name": "primary", "route": route}],
            },
        },
    ]


async def create(
    cluster: KubernetesCluster, namespace: str, names: Sequence[str], *, replicas: int = 1
) -> None:
    """Make shops, some side by side."""
    gate = asyncio.Semaphore(PARALLEL)

    async def one(name: str) -> None:
        async with gate:
            made = rollout(name, namespace, "web:1", replicas=replicas)
            for obj in (*around(name, namespace), made):
                await _made(cluster, obj)

    async with asyncio.TaskGroup() as group:
        for name in names:
            group.create_task(one(name))


async def _made(cluster: KubernetesCluster, obj: Object) -> None:
    """Create it; a server that is still busy with those before is asked again."""
    for _ in range(TRIES):
        with contextlib.suppress(AlreadyExists, Unavailable):
            await cluster.create(KINDS[obj["kind"]], obj)
            return
        with contextlib.suppress(NotFound, Unavailable):
            meta = obj["metadata"]
            await cluster.get(KINDS[obj["kind"]], meta["namespace"], meta["name"])
            return
    raise Unavailable(f"{obj['kind']} {obj['metadata']['name']} could not be made")


async def set_image(
    cluster: KubernetesCluster, namespace: str, names: Sequence[str], image: str
) -> None:
    """A new version of each."""
    gate = asyncio.Semaphore(PARALLEL)

    async def one(name: str) -> None:
        template = rollout(name, namespace, image)["spec"]["template"]
        async with gate:
            await cluster.merge_patch(
                KINDS["Rollout"], namespace, name, {"spec": {"template": template}}
            )

    async with asyncio.TaskGroup() as group:
        for name in names:
            group.create_task(one(name))
