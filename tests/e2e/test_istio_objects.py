"""Istio's own CustomResourceDefinitions on a real API server take everything that the router writes."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import msgspec
import pytest

from agent.api.meta import Object, Ref
from agent.api.rollout import Rollout
from agent.cluster.kubernetes import KubernetesCluster
from agent.cluster.port import KINDS
from agent.errors import Conflict
from agent.traffic.istio import Istio
from agent.traffic.types import Desired, RoutePlan
from tests.e2e.bed.run import Run
from tests.e2e.real import connected, fresh_namespace
from tests.traffic.corpus import Case, cases
from tests.traffic.istio_rules import broken_rules
from tests.traffic.objects import destination_rule
from tests.traffic.test_istio_corpus import GONE, HEADER, MIRROR

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]
AT_ONCE: Final = 4


@pytest.fixture
async def cluster(bed: Run) -> AsyncIterator[KubernetesCluster]:
    async with connected(bed.part("kubernetes")["kubeconfig"]) as cluster:
        yield cluster


@pytest.fixture
async def namespace(cluster: KubernetesCluster) -> AsyncIterator[str]:
    async with fresh_namespace(cluster) as name:
        yield name


def at_home(case: Case, namespace: str) -> tuple[Rollout, Object]:
    """The case's rollout and VirtualService in a namespace of their own."""
    metadata = msgspec.structs.replace(case.rollout.metadata, namespace=namespace)
    text = msgspec.json.encode(case.service).replace(
        b".default.svc.", b".%b.svc." % namespace.encode()
    )
    service: Object = msgspec.json.decode(text)
    service["metadata"] = {"name": "vs", "namespace": namespace}
    return msgspec.structs.replace(case.rollout, metadata=metadata), service


async def write(
    cluster: KubernetesCluster, ro: Rollout, objects: dict[Ref, Object], desired: Desired
) -> RoutePlan:
    """Send the plan; what the server stores is what the plan said it would be, and there is no more to do."""
    plan = Istio().plan(ro, objects, desired)
    for change in plan.changes:
        kind = KINDS[change.ref.kind]
        answer = await cluster.json_patch(
            kind, change.ref.namespace, change.ref.name, list(change.patch)
        )
        assert answer["spec"] == change.after["spec"], change.reason
        objects[change.ref] = answer
    again = Istio().plan(ro, objects, desired)
    assert again.changes == ()
    return plan


async def test_the_server_takes_what_is_written_over_the_whole_corpus(
    cluster: KubernetesCluster,
) -> None:
    corpus = cases()
    patches = await asyncio.gather(
        *(_all_of(cluster, corpus[part::AT_ONCE]) for part in range(AT_ONCE))
    )
    assert sum(patches) > 3 * 150


async def _all_of(cluster: KubernetesCluster, part: Sequence[Case]) -> int:
    """Write over these in a namespace of their own; the number of patches."""
    patches = 0
    async with fresh_namespace(cluster) as namespace:
        rule = destination_rule({"name": "stable"}, {"name": "canary"})
        rule["metadata"] = {"name": "dr", "namespace": namespace}
        rule_ref, ref = (
            Ref("DestinationRule", namespace, "dr"),
            Ref("VirtualService", namespace, "vs"),
        )
        objects = {rule_ref: await cluster.create(KINDS["DestinationRule"], rule)}
        for case in part:
            ro, service = at_home(case, namespace)
            objects[ref] = await cluster.create(KINDS["VirtualService"], service)
            managed = (MIRROR, HEADER) if case.addressed[0][0] == "http" else ()
            hashes: dict[str, Any] = {"canary_hash": "c", "stable_hash": "s"}
            for desired in (
                Desired(canary_weight=1, managed=managed, **hashes),
                Desired(canary_weight=100, managed=managed, **hashes),
                Desired(canary_weight=30, managed=GONE if managed else ()),
            ):
                plan = await write(cluster, ro, objects, desired)
                assert plan.refusal is None, case.name
                assert broken_rules(objects[ref]) == [], case.name
                patches += len(plan.changes)
            await cluster.delete(KINDS["VirtualService"], namespace, "vs")
    return patches


async def test_the_server_refuses_a_patch_whose_object_has_changed(
    cluster: KubernetesCluster, namespace: str
) -> None:
    case = cases()[0]
    ro, service = at_home(case, namespace)
    ref = Ref("VirtualService", namespace, "vs")
    objects = {ref: await cluster.create(KINDS["VirtualService"], service)}
    (change,) = Istio().plan(ro, objects, Desired(canary_weight=30)).changes
    edit = [{"op": "replace", "path": "/spec/http/0/route/0/weight", "value": 90}]
    await cluster.json_patch(KINDS["VirtualService"], namespace, "vs", edit)
    with pytest.raises(Conflict):
        await cluster.json_patch(KINDS["VirtualService"], namespace, "vs", list(change.patch))
