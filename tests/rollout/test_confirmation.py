"""Routes whose own status must confirm what was written: raises wait for it, lowers never do (I1, I3, I9)."""

from typing import Any

from agent.api.names import ROUTE_STATUS
from agent.api.rollout import Rollout
from agent.rollout.types import Policy
from agent.traffic.types import Confirmation, RouteObjects
from tests.rollout import given
from tests.rollout.world import RecordingRouter, World

STEPS: list[dict[str, Any]] = [{"setWeight": 20}, {"setWeight": 60}, {"pause": {}}]


class Telling(RecordingRouter):
    """A router whose route has a status, which the test writes."""

    confirmed: bool | None = True
    in_listener = False

    def confirmation(self, rollout: Rollout, objects: RouteObjects) -> Confirmation:
        reason = "" if self.confirmed is not False else "the gateway 'edge' does not answer"
        return Confirmation(verified=self.confirmed, reason=reason, in_listener=self.in_listener)


def updating(router: RecordingRouter, *, status: str = "required", drain: float = 0) -> World:
    policy = Policy(drain_seconds=drain, route_status=status, compat="argo")  # type: ignore[arg-type] # a literal
    world = given.stable(STEPS, policy=policy)
    world.routers = {"smi": router}
    world.settle()
    return world


def start(router: Telling, **options: Any) -> World:
    """The second version is pushed while the status does not confirm anything."""
    world = updating(router, **options)
    router.confirmed = False
    world.set_image("v2")
    world.settle()
    return world


def pass_by_pass(world: World, *, until_weight: int) -> None:
    for _ in range(50):
        world.pods_follow()
        world.one_pass()
        if world.weight == until_weight:
            return
    raise AssertionError(f"the weight is {world.weight}: {given.why(world)}")


def test_nothing_is_raised_before_the_first_confirmation() -> None:
    router = Telling("smi")
    world = start(router)
    assert world.weight == 0
    assert "the gateway 'edge' does not answer" in given.why(world)
    assert f"{ROUTE_STATUS}: ignored" in given.why(world)
    router.confirmed = True
    world.settle()
    assert world.weight == 60


def test_a_step_waits_for_the_confirmation_of_its_own_weight() -> None:
    router = Telling("smi")
    world = updating(router)
    world.set_image("v2")
    pass_by_pass(world, until_weight=20)
    router.confirmed = False
    world.settle()
    assert world.weight == 20
    assert world.status["currentStepIndex"] == 0
    assert world.status["canary"]["weights"]["verified"] is False
    assert "waits for the routes to take effect" in given.why(world)
    router.confirmed = True
    world.settle()
    assert world.weight == 60
    assert world.status["canary"]["weights"]["verified"] is True


def test_a_lower_does_not_wait_and_the_pods_stay_until_it_is_in_force() -> None:
    router = Telling("smi")
    world = updating(router)
    world.set_image("v2")
    world.settle()
    router.confirmed = False
    given.abort(world)
    world.settle()
    assert world.weight == 0
    world.after(3600)
    assert world.pods()["v2"] > 0
    assert given.service(world, "canary") == "v2"
    assert "the gateway 'edge' does not answer" in given.why(world)
    router.confirmed = True
    world.settle()
    world.after(60)
    assert "v2" not in world.pods()
    assert given.service(world, "canary") == "v1"


def test_the_drain_time_counts_from_the_confirmation() -> None:
    router = Telling("smi")
    world = updating(router, drain=3)
    world.set_image("v2")
    world.after(30)
    router.confirmed = False
    given.abort(world)
    world.after(60)
    assert given.service(world, "canary") == "v2"
    router.confirmed = True
    world.settle()
    assert given.service(world, "canary") == "v2"
    world.after(4)
    assert given.service(world, "canary") == "v1"


def test_a_promotion_waits_for_the_full_weight_to_be_in_force() -> None:
    router = Telling("smi")
    world = updating(router)
    world.set_image("v2")
    world.settle()
    given.promote(world)
    pass_by_pass(world, until_weight=100)
    router.confirmed = False
    world.settle()
    stable = world.status["stableRS"]
    assert stable != world.status["currentPodHash"]
    assert world.pods()["v1"] > 0
    router.confirmed = True
    world.settle()
    assert world.status["stableRS"] == world.status["currentPodHash"]


def test_a_person_may_do_without() -> None:
    router = Telling("smi")
    world = start(router, status="ignored")
    assert world.weight == 60
    assert "verified" not in world.status["canary"]["weights"]


def test_routes_without_a_status_are_not_waited_for() -> None:
    router = Telling("smi")
    router.confirmed = None
    world = updating(router)
    world.set_image("v2")
    world.settle()
    assert world.weight == 60
    assert "verified" not in world.status["canary"]["weights"]


def test_raises_that_replace_listeners_keep_their_distance_and_lowers_do_not() -> None:
    router = Telling("smi")
    router.in_listener = True
    world = updating(router)
    world.set_image("v2")
    world.settle()
    assert world.weight == 20
    assert "replaces listeners" in given.why(world)
    world.after(0.5)
    assert world.weight == 20
    world.after(0.6)
    assert world.weight == 60
    given.abort(world)
    world.settle()
    assert world.weight == 0
