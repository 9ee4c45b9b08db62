"""I7 and I8 with the Istio router: a user's route objects through random runs."""

from copy import deepcopy
from typing import Any

from hypothesis import given as over
from hypothesis import settings
from hypothesis import strategies as st

from agent.api.meta import Object
from agent.api.names import POD_TEMPLATE_HASH
from agent.rollout.types import Write
from tests.rollout import given
from tests.rollout import random_runs as runs
from tests.rollout.istio_world import SUBSETS, istio_world, weights
from tests.rollout.world import World, image_of

MODEST = settings(max_examples=40, deadline=None)


def _users(world: World) -> list[Object]:
    """The route objects without what is ours: weights of the named route, hashes, our annotation."""
    kinds = world.route_kinds
    made = deepcopy([obj for ref, obj in world.objects.items() if ref.kind in kinds])
    for obj in made:
        obj["metadata"].pop("annotations", None)
        for item in (obj["spec"].get("http") or [{}, {}])[1].get("route") or ():
            item.pop("weight")
        for subset in obj["spec"].get("subsets") or ():
            subset["labels"].pop(POD_TEMPLATE_HASH, None)
    return made


def _play(world: World, events: list[runs.Event]) -> None:
    for event in (*runs.UNDER_WAY, *events):
        runs.play(world, event)


@MODEST
@over(runs.STEPS, st.booleans(), runs.EVENTS)
def test_i7_every_other_byte_of_the_routes_stays(
    steps: list[dict[str, Any]], by_subset: bool, events: list[runs.Event]
) -> None:
    world = istio_world(steps, by_subset=by_subset)
    before = _users(world)
    _play(world, events)
    assert _users(world) == before


@MODEST
@over(runs.STEPS, st.booleans(), runs.EVENTS)
def test_i8_weights_sum_to_100_at_every_moment(
    steps: list[dict[str, Any]], by_subset: bool, events: list[runs.Event]
) -> None:
    world = istio_world(steps, by_subset=by_subset)

    def check(write: Write) -> None:
        assert sum(weights(world)) == 100, write

    world.on_write = check
    _play(world, events)
    assert sum(weights(world)) == 100


def test_a_version_by_subset_gets_all_traffic_and_its_names() -> None:
    world = istio_world([{"setWeight": 20}, {"pause": {}}], by_subset=True)
    world.set_image("v2")
    world.settle()
    assert weights(world) == [80, 20]
    given.promote(world)
    world.settle()
    assert weights(world) == [100, 0]
    labels = [item["labels"] for item in world.objects[SUBSETS]["spec"]["subsets"]]
    assert labels[1][POD_TEMPLATE_HASH] == world.status["stableRS"]


def test_a_subset_that_alone_leads_to_pods_moves_only_to_a_version_that_is_whole() -> None:
    """Without Services nothing else keeps users from the pods that are not there yet."""
    world = istio_world([{"setCanaryScale": {"replicas": 3}}, {"setWeight": 20}], by_subset=True)
    stable = world.status["stableRS"]
    world.set_image("v2")
    for _ in range(4):
        world.pods_follow()
        new = _set_of(world, "v2")
        if new is not None:
            new["status"]["availableReplicas"] = 2
        world.one_pass()
    subset = world.objects[SUBSETS]["spec"]["subsets"][2]["labels"]
    assert subset[POD_TEMPLATE_HASH] == stable
    assert new is not None
    name = new["metadata"]["name"]
    delay = f"delaying destination rule switch: ReplicaSet {name} not fully available"
    assert world.decisions[-1].why == delay
    assert weights(world) == [100, 0]
    world.settle()
    labels = world.objects[SUBSETS]["spec"]["subsets"][2]["labels"]
    assert labels[POD_TEMPLATE_HASH] != stable
    assert weights(world) == [100, 0]
    assert world.status["phase"] == "Healthy"


def _set_of(world: World, image: str) -> Object | None:
    return next((item for item in world.of("ReplicaSet") if image_of(item) == image), None)
