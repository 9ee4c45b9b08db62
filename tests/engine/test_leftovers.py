"""A DestinationRule whose rollout is gone, or lets go of it, loses the hashes that select nobody any more."""

from typing import Any

import pytest

from agent.api.meta import Object
from agent.api.names import MANAGED_BY, POD_TEMPLATE_HASH
from agent.cluster.port import KINDS
from agent.traffic.istio_subsets import cleanup_operations
from agent.traffic.json_patch import apply
from tests.simulation.manifests import KEY, namespace, rollout, virtual_service
from tests.simulation.scenario import is_promoted
from tests.simulation.virtual import run
from tests.simulation.world import World

RULE: Object = {
    "apiVersion": "networking.istio.io/v1beta1",
    "kind": "DestinationRule",
    "metadata": {"name": "web", "namespace": "shop", "annotations": {"keep": "me"}},
    "spec": {
        "host": "web",
        "trafficPolicy": {"tls": {"mode": "ISTIO_MUTUAL"}},
        "subsets": [
            {"name": "stable", "labels": {"app": "web"}},
            {"name": "canary", "labels": {"app": "web"}},
            {"name": "mine"},
        ],
    },
}


def by_subset() -> tuple[Object, Object]:
    made, route = rollout([{"setWeight": 20}]), virtual_service()
    canary = made["spec"]["strategy"]["canary"]
    del canary["canaryService"], canary["stableService"]
    canary["trafficRouting"]["istio"]["destinationRule"] = {
        "name": "web",
        "canarySubsetName": "canary",
        "stableSubsetName": "stable",
    }
    for item, subset in zip(route["spec"]["http"][1]["route"], ("stable", "canary"), strict=True):
        item["destination"] = {"host": "web", "subset": subset}
    return made, route


def hashes(rule: Object) -> list[str]:
    labels = [subset.get("labels") or {} for subset in rule["spec"]["subsets"]]
    return [item[POD_TEMPLATE_HASH] for item in labels if POD_TEMPLATE_HASH in item]


async def let_go(world: World, how: str) -> None:
    kind = KINDS["Rollout"]
    if how == "deleted":
        await world.store.delete(kind, *KEY)
        return
    to_hosts = {"canaryService": "a", "stableService": "b", "trafficRouting": {"istio": {}}}
    patch: dict[str, Any] = {"spec": {"strategy": {"canary": to_hosts}}}
    patch["spec"]["strategy"]["canary"]["trafficRouting"]["istio"]["destinationRule"] = None
    await world.store.merge_patch(kind, *KEY, patch)


@pytest.mark.parametrize("how", ["deleted", "names it no more"])
def test_the_hashes_of_a_rollout_that_lets_go_are_taken_away(how: str) -> None:
    async def main() -> Object:
        world = World(5)
        made, route = by_subset()
        await world.apply(namespace(), RULE, route, made)

        def rule() -> Object:
            found = world.store.peek("DestinationRule", "shop", "web")
            assert found is not None
            return found

        async with world.alive():
            await world.until(lambda: is_promoted(world), within=60, what="the first version")
            await world.until(lambda: len(hashes(rule())) == 2, within=5, what="both subsets")
            assert rule()["metadata"]["annotations"][MANAGED_BY] == "web"
            await let_go(world, how)
            await world.until(lambda: not hashes(rule()), within=5, what="clean")
            return rule()

    cleaned = run(main())
    assert cleaned["spec"] == RULE["spec"]
    assert cleaned["metadata"]["annotations"] == {"keep": "me"}


def test_what_was_left_while_no_process_lived_is_found_at_the_start() -> None:
    async def main() -> list[str]:
        world = World(5)
        left = apply(RULE, [
            {"op": "add", "path": f"/metadata/annotations/{MANAGED_BY.replace('/', '~1')}", "value": "web"},
            {"op": "add", "path": f"/spec/subsets/0/labels/{POD_TEMPLATE_HASH}", "value": "gone"},
        ])  # fmt: skip
        await world.apply(namespace(), left)
        async with world.alive():
            await world.clock.sleep(2)
        return hashes(world.store.peek("DestinationRule", "shop", "web") or RULE)

    assert run(main()) == []


def test_a_rule_of_somebody_else_is_left_alone() -> None:
    """A rule that names no rollout is not ours, whatever labels it has."""

    async def main() -> list[str]:
        world = World(5)
        path = f"/spec/subsets/0/labels/{POD_TEMPLATE_HASH}"
        await world.apply(namespace(), apply(RULE, [{"op": "add", "path": path, "value": "x"}]))
        async with world.alive():
            await world.clock.sleep(2)
        return hashes(world.store.peek("DestinationRule", "shop", "web") or RULE)

    assert run(main()) == ["x"]


def test_nothing_to_clean_is_no_patch() -> None:
    assert cleanup_operations(RULE) == ()
