"""Steps on the virtual clock: first deploy, setWeight, pauses, promotions, sizes."""

from typing import Any

import pytest

from agent.rollout.types import Write
from tests.rollout import given
from tests.rollout.world import ROUTE, World


def test_the_first_deploy_skips_the_steps_and_is_announced_as_completed_only() -> None:
    world = World(given.rollout(), start=given.START, services=("canary", "stable"))
    world.settle()
    assert world.status["phase"] == "Healthy"
    assert world.status["currentStepIndex"] == len(given.STEPS)
    assert world.pods() == {"v1": 10}
    assert (given.service(world, "stable"), given.service(world, "canary")) == ("v1", "v1")
    assert world.announced() == ["completed"]
    assert given.weights(world) == []


def test_a_first_deploy_without_healthy_pods_waits_and_names_nothing() -> None:
    world = World(
        given.rollout(), start=given.START, services=("canary", "stable"), unhealthy=("v1",)
    )
    world.settle()
    assert world.status["phase"] == "Progressing"
    assert given.service(world, "stable") == ""
    assert given.why(world)
    world.unhealthy.clear()
    world.settle()
    assert world.status["phase"] == "Healthy"


def test_a_rollout_stops_at_an_indefinite_pause_until_a_person_promotes() -> None:
    world = given.updating()
    assert (world.weight, world.status["currentStepIndex"]) == (20, 1)
    assert world.status["phase"] == "Paused"
    assert given.why(world) == "waits for a person to promote it"
    assert world.wake_at is None
    world.after(100_000)
    assert world.weight == 20
    given.promote(world)
    world.settle()
    assert (world.weight, world.status["currentStepIndex"]) == (50, 3)
    assert world.announced() == [
        "started",
        *("weight", "step", "paused"),
        *("step", "resumed"),
        *("weight", "step", "paused"),
    ]


def test_a_timed_pause_ends_by_itself_and_never_early() -> None:
    world = given.updating([{"setWeight": 20}, {"pause": {"duration": 60}}])
    world.after(59)
    assert world.weight == 20
    assert given.why(world) == "pauses until 10:01:00 UTC"
    world.after(2)
    assert (world.status["phase"], world.weight) == ("Healthy", 0)
    assert given.weights(world) == [20, 100, 0]
    assert world.announced()[-3:] == ["promoted", "completed", "weight"]


@pytest.mark.parametrize(
    ("duration", "seconds"),
    [(5, 5), ("5", 5), ("90s", 90), ("1m30s", 90), ("1h", 3600)],
    ids=["a number", "digits", "seconds", "minutes and seconds", "an hour"],
)
def test_the_duration_of_a_pause(duration: Any, seconds: int) -> None:
    world = given.updating([{"setWeight": 20}, {"pause": {"duration": duration}}])
    world.after(seconds)
    assert world.weight == 20
    world.after(1)
    assert world.status["phase"] == "Healthy"


def test_pods_come_before_the_weight_and_names_before_the_traffic() -> None:
    world = given.stable()
    world.set_image("v2")
    seen: list[str] = []
    world.on_write = lambda write: seen.append(f"{write.verb} {write.ref.kind} {write.stage.name}")
    world.settle()
    of_interest = [line for line in seen if "HOUSEKEEPING" not in line]
    assert of_interest == [
        "create ReplicaSet PODS_UP",
        "merge Service SELECTORS",
        "json Route ROUTES_UP",
    ]
    assert world.pods() == {"v1": 10, "v2": 2}


def test_a_weight_is_not_raised_before_the_pods_are_there() -> None:
    world = given.stable([{"setWeight": 20}, {"pause": {}}])
    world.unhealthy.add("v2")
    world.set_image("v2")
    world.settle()
    assert (world.weight, world.status["currentStepIndex"]) == (0, 0)
    assert given.why(world) == "waits for the pods of weight 20"
    world.unhealthy.clear()
    world.settle()
    assert (world.weight, world.status["currentStepIndex"]) == (20, 1)


def test_spec_paused_stops_the_steps_and_its_end_lets_them_go_on() -> None:
    world = given.stable([{"setWeight": 20}, {"pause": {"duration": 1}}, {"setWeight": 60}])
    world.patch({"spec": {"paused": True}})
    world.set_image("v2")
    world.settle()
    world.after(3600)
    assert (world.weight, world.status["currentStepIndex"]) == (0, 0)
    assert given.why(world) == "paused by a person (spec.paused)"
    world.patch({"spec": {"paused": False}})
    world.settle()
    world.after(10)
    assert world.status["phase"] == "Healthy"


def test_spec_paused_stops_a_step_that_has_begun_but_takes_no_weight_back() -> None:
    world = given.updating([{"setWeight": 20}, {"pause": {"duration": 60}}, {"setWeight": 60}])
    world.patch({"spec": {"paused": True}})
    world.settle()
    world.after(3600)
    assert (world.weight, world.status["currentStepIndex"]) == (20, 1)


def test_promote_full_moves_all_traffic_before_the_version_becomes_stable() -> None:
    world = given.updating()
    old = world.status["stableRS"]
    stable_at: dict[int, str] = {}

    def look(write: Write) -> None:
        if write.ref.kind != "Rollout":
            stable_at.setdefault(world.weight, world.status["stableRS"])

    world.on_write = look
    given.promote_full(world)
    world.settle()
    assert stable_at[100] != old, "names move only after the promotion"
    assert given.weights(world) == [20, 100, 0]
    assert stable_at[20] == old
    assert world.status["phase"] == "Healthy"
    assert world.status.get("promoteFull", False) is False
    assert given.service(world, "stable") == "v2"


def test_promote_full_waits_for_the_pods_of_the_new_version() -> None:
    world = given.updating()
    world.unhealthy.add("v2")
    given.promote_full(world)
    world.settle()
    assert world.status["stableRS"] != world.status["currentPodHash"]
    assert world.weight == 0
    assert given.why(world) == "promotes in full: waits for the pods of the new version"
    world.unhealthy.clear()
    world.settle()
    assert world.status["phase"] == "Healthy"


def test_set_canary_scale_fixes_the_pods_whatever_the_weight() -> None:
    world = given.updating([{"setCanaryScale": {"replicas": 3}}, {"setWeight": 10}, {"pause": {}}])
    assert (world.pods()["v2"], world.weight) == (3, 10)


def test_without_a_router_the_pods_are_the_weight() -> None:
    world = given.updating([{"setWeight": 20}, {"pause": {}}], routed=False)
    assert world.pods() == {"v1": 8, "v2": 2}
    given.promote(world)
    world.settle()
    assert world.pods() == {"v2": 10}
    assert world.status["phase"] == "Healthy"


@pytest.mark.parametrize("routed", [True, False], ids=["with a router", "without a router"])
def test_without_replicas_in_the_spec_one_pod_is_meant(routed: bool) -> None:
    world = given.updating([{"setWeight": 20}, {"pause": {}}], replicas=None, routed=routed)
    given.promote_full(world)
    world.settle()
    world.after(31)
    assert world.pods() == {"v2": 1}
    assert world.status["phase"] == "Healthy"


@pytest.mark.parametrize("routed", [True, False], ids=["with a router", "without a router"])
def test_with_zero_replicas_a_new_version_becomes_stable_without_pods(routed: bool) -> None:
    world = given.updating([{"setWeight": 20}], replicas=0, routed=routed)
    world.after(60)
    assert world.pods() == {}
    assert world.status["stableRS"] == world.status["currentPodHash"]
    assert world.weight == 0


def test_scaling_in_the_middle_of_an_update_sizes_both_versions() -> None:
    world = given.updating([{"setWeight": 20}, {"pause": {}}])
    world.edit(lambda spec: spec.update(replicas=20))
    world.settle()
    assert world.pods() == {"v1": 20, "v2": 4}
    assert (world.weight, world.status["currentStepIndex"]) == (20, 1)


def test_a_weight_that_somebody_else_changed_is_put_back() -> None:
    world = given.updating([{"setWeight": 20}, {"pause": {}}])
    for foreign in (5, 90):
        world.objects[ROUTE] = {"weight": foreign}
        world.settle()
        assert world.weight == 20
