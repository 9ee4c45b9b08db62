"""Gateway API's own CustomResourceDefinitions on a real API server take everything that the router writes."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from copy import deepcopy
from typing import Any, Final

import msgspec
import pytest

from agent.api.meta import Object, Ref
from agent.api.rollout import Rollout
from agent.cluster.kubernetes import KubernetesCluster
from agent.cluster.port import KINDS
from agent.errors import Conflict
from agent.traffic.gateway import Gateway
from agent.traffic.types import Desired
from tests.e2e.bed.run import Run
from tests.e2e.real import connected, fresh_namespace
from tests.traffic.gateway_corpus import Case, cases
from tests.traffic.gateway_objects import answer, condition
from tests.traffic.gateway_rules import broken_rules
from tests.traffic.test_gateway_corpus import GONE, HEADER, MIRROR

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]
AT_ONCE: Final = 4
AT: Final = "2026-05-01T10:00:00Z"


@pytest.fixture
async def cluster(bed: Run) -> AsyncIterator[KubernetesCluster]:
    async with connected(bed.part("kubernetes")["kubeconfig"]) as cluster:
        yield cluster


@pytest.fixture
async def namespace(cluster: KubernetesCluster) -> AsyncIterator[str]:
    async with fresh_namespace(cluster) as name:
        yield name


def at_home(case: Case, namespace: str) -> tuple[Rollout, Object]:
    """The case's rollout and route in a namespace of their own."""
    metadata = msgspec.structs.replace(case.rollout.metadata, namespace=namespace)
    made = deepcopy(case.route)
    labels = made["metadata"].get("labels")
    made["metadata"] = {
        "name": "web",
        "namespace": namespace,
        **({"labels": labels} if labels else {}),
    }
    for item in made["spec"]["rules"]:
        for backend in item.get("backendRefs", ()):
            if backend.get("namespace") == "default":
                backend["namespace"] = namespace
    return msgspec.structs.replace(case.rollout, metadata=metadata), made


async def write(
    cluster: KubernetesCluster, ro: Rollout, objects: dict[Ref, Object], desired: Desired
) -> int:
    """Send the plan until there is none; what the server stores is what was planned. The number of patches."""
    patches = 0
    for _ in range(2):
        plan = Gateway().plan(ro, objects, desired)
        assert plan.refusal is None
        for change in plan.changes:
            stored = await cluster.json_patch(
                KINDS[change.ref.kind], change.ref.namespace, change.ref.name, list(change.patch)
            )
            assert stored["spec"] == change.after["spec"], change.reason
            assert stored["metadata"].get("labels") == (
                change.after["metadata"].get("labels") or None
            )
            objects[change.ref] = stored
            patches += 1
    assert Gateway().plan(ro, objects, desired).changes == ()
    return patches


async def test_the_server_takes_what_is_written_over_the_whole_corpus(
    cluster: KubernetesCluster,
) -> None:
    corpus = cases()
    patches = await asyncio.gather(
        *(_all_of(cluster, corpus[part::AT_ONCE]) for part in range(AT_ONCE))
    )
    assert sum(patches) > 3 * 60


async def _all_of(cluster: KubernetesCluster, part: Sequence[Case]) -> int:
    """Write over these in a namespace of their own; the number of patches."""
    patches = 0
    async with fresh_namespace(cluster) as namespace:
        for case in part:
            ro, made = at_home(case, namespace)
            ref = Ref(made["kind"], namespace, "web")
            objects = {ref: await cluster.create(KINDS[ref.kind], made)}
            before = deepcopy(objects[ref]["spec"])
            managed = (MIRROR, HEADER) if ref.kind in ("HTTPRoute", "GRPCRoute") else ()
            for desired in (
                Desired(canary_weight=1, managed=managed),
                Desired(canary_weight=100, managed=managed),
                Desired(canary_weight=0, managed=GONE if managed else ()),
            ):
                patches += await write(cluster, ro, objects, desired)
                assert broken_rules(objects[ref]) == [], case.name
            for index in case.addressed:
                for spec in (before, objects[ref]["spec"]):
                    for item in spec["rules"][index]["backendRefs"]:
                        item.pop("weight")
            assert objects[ref]["spec"] == before, "back at 0 all but our weights is as it was"
            await cluster.delete(KINDS[ref.kind], namespace, "web")
    return patches


def plain(namespace: str) -> tuple[Rollout, Object]:
    (case,) = (case for case in cases() if case.name == "http: plain")
    return at_home(case, namespace)


async def test_the_server_refuses_a_raise_whose_object_has_changed(
    cluster: KubernetesCluster, namespace: str
) -> None:
    ro, made = plain(namespace)
    ref, kind = Ref("HTTPRoute", namespace, "web"), KINDS["HTTPRoute"]
    objects = {ref: await cluster.create(kind, made)}
    (change,) = Gateway().plan(ro, objects, Desired(canary_weight=30)).changes
    edit = [{"op": "replace", "path": "/spec/rules/0/backendRefs/0/weight", "value": 90}]
    await cluster.json_patch(kind, namespace, "web", edit)
    with pytest.raises(Conflict):
        await cluster.json_patch(kind, namespace, "web", list(change.patch))


async def test_a_status_confirms_the_generation_that_it_has_seen_and_no_later_one(
    cluster: KubernetesCluster, namespace: str
) -> None:
    """The label alone makes no new generation, a weight does."""
    ro, made = plain(namespace)
    ref, kind = Ref("HTTPRoute", namespace, "web"), KINDS["HTTPRoute"]
    objects = {ref: await cluster.create(kind, made)}
    assert "has not answered" in Gateway().confirmation(ro, objects).reason

    async def confirm() -> None:
        generation = objects[ref]["metadata"]["generation"]
        said: list[dict[str, Any]] = [
            condition(name, "True", generation, reason=name, message="", lastTransitionTime=AT)
            for name in ("Accepted", "ResolvedRefs")
        ]
        body = {"status": {"parents": [answer(*said)]}}
        objects[ref] = await cluster.merge_patch(kind, namespace, "web", body, status=True)

    await confirm()
    assert Gateway().confirmation(ro, objects).verified is True
    await write(cluster, ro, objects, Desired(canary_weight=20))
    assert "has not said Accepted of generation 2 yet" in Gateway().confirmation(ro, objects).reason
    await confirm()
    off = [{"op": "remove", "path": "/metadata/labels"}]
    objects[ref] = await cluster.json_patch(kind, namespace, "web", off)
    assert await write(cluster, ro, objects, Desired(canary_weight=20)) == 1
    assert Gateway().confirmation(ro, objects).verified is True
