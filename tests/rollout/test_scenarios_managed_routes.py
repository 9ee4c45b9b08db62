"""setHeaderRoute and setMirrorRoute through whole rollouts, on a user's VirtualService."""

from typing import Any

import pytest

from agent.api.meta import Ref
from agent.rollout.types import Policy, Stage
from tests.rollout import given
from tests.rollout.istio_world import ROUTE, http, istio_world, names, weights
from tests.rollout.world import World

HEADER: dict[str, Any] = {
    "setHeaderRoute": {
        "name": "beta",
        "match": [{"headerName": "x-beta", "headerValue": {"exact": "1"}}],
    }
}
MIRROR: dict[str, Any] = {
    "setMirrorRoute": {
        "name": "shadow",
        "percentage": 25,
        "match": [{"path": {"prefix": "/"}}],
    }
}
NO_HEADER: dict[str, Any] = {"setHeaderRoute": {"name": "beta"}}
ONE_POD: dict[str, Any] = {"setCanaryScale": {"replicas": 1}}
PAUSE: dict[str, Any] = {"pause": {}}
USERS = ["admin", "primary"]


def running(*steps: dict[str, Any], **options: Any) -> World:
    """v2 is set behind these steps, and all that can happen at once has happened."""
    world = istio_world(list(steps), managed=("shadow", "beta"), **options)
    world.decisions.clear()
    world.set_image("v2")
    world.settle()
    return world


@pytest.mark.parametrize("by_subset", [False, True], ids=["by host", "by subset"])
def test_a_header_route_leads_to_the_canary_and_is_read_back(by_subset: bool) -> None:
    world = running(ONE_POD, HEADER, PAUSE, by_subset=by_subset)
    assert names(world) == ["beta", *USERS]
    place = {"host": "web", "subset": "canary"} if by_subset else {"host": "canary"}
    assert http(world)[0] == {
        "name": "beta",
        "match": [{"headers": {"x-beta": {"exact": "1"}}}],
        "route": [{"destination": place, "weight": 100}],
    }
    assert world.status["currentStepIndex"] == 2
    raised = next(
        number
        for number, decision in enumerate(world.decisions)
        if any(write.stage is Stage.ROUTES_UP for write in decision.writes)
    )
    assert world.decisions[raised].status["currentStepIndex"] == 1, "not complete until read back"
    assert "waits for the routes to show 'beta'" in world.decisions[raised].why
    assert all(w.guarded for w in world.decisions[raised].writes if w.stage is Stage.ROUTES_UP)


def test_managed_routes_stand_in_their_order_and_a_mirror_follows_the_weights() -> None:
    world = running(ONE_POD, HEADER, MIRROR, {"setWeight": 20}, PAUSE)
    assert names(world) == ["shadow", "beta", *USERS]
    assert weights(world, "shadow") == weights(world) == [80, 20]
    assert http(world)[0]["mirrorPercentage"] == {"value": 25}
    assert sum(weights(world, "shadow")) == 100


def test_a_step_without_a_match_takes_the_route_away() -> None:
    world = running(ONE_POD, HEADER, PAUSE, NO_HEADER, PAUSE)
    given.promote(world)
    world.settle()
    assert names(world) == USERS
    assert world.status["currentStepIndex"] == 4


@pytest.mark.parametrize("how", ["abort", "promote", "promote full", "new revision", "back to v1"])
def test_managed_routes_go_when_the_run_ends(how: str) -> None:
    world = running(ONE_POD, HEADER, MIRROR, PAUSE)
    assert names(world) == ["shadow", "beta", *USERS]
    if how == "abort":
        given.abort(world)
    elif how == "promote":
        given.promote(world)
    elif how == "promote full":
        given.promote_full(world)
    elif how == "new revision":
        world.unhealthy.add("v3")
        world.set_image("v3")
    else:
        world.set_image("v1")
    world.settle()
    world.after(60)
    assert names(world) == USERS
    assert weights(world) == [100, 0]


def test_a_header_route_keeps_the_names_and_pods_it_leads_to() -> None:
    """I3: a new revision may not re-point the canary's name while a header route still leads there."""
    world = running(ONE_POD, HEADER, PAUSE, policy=Policy(drain_seconds=3))
    world.after(10)
    old = given.service(world, "canary")
    world.set_image("v3")
    world.pods_follow()
    for _ in range(4):
        world.one_pass()
        world.pods_follow()
    assert names(world) == USERS
    assert given.service(world, "canary") == old == "v2"
    assert world.pods()["v2"] == 1
    world.after(10)
    assert given.service(world, "canary") == "v3"
    assert names(world) == ["beta", *USERS]


def test_a_route_without_ready_pods_is_not_set_and_says_so() -> None:
    world = istio_world([ONE_POD, HEADER, PAUSE], managed=["beta"])
    world.unhealthy.add("v2")
    world.set_image("v2")
    world.settle()
    assert names(world) == USERS
    world.unhealthy.clear()
    world.settle()
    assert names(world) == ["beta", *USERS]
    world.unhealthy.add("v2")
    world.settle()
    assert names(world) == USERS, "users of the header are not sent to pods that are gone"


def test_a_canary_of_no_pods_passes_the_step_and_the_route_follows_its_first_pod() -> None:
    world = running(HEADER, PAUSE, {"setWeight": 20}, PAUSE)
    assert world.status["currentStepIndex"] == 1
    assert names(world) == USERS
    given.promote(world)
    world.settle()
    assert names(world) == ["beta", *USERS]
    assert weights(world) == [80, 20]


def test_nothing_is_exposed_while_an_alert_holds() -> None:
    world = istio_world([ONE_POD, {"pause": {"duration": 5}}, HEADER, PAUSE], managed=["beta"])
    world.set_image("v2")
    world.settle()
    given.hold(world)
    world.after(60)
    assert names(world) == USERS
    given.release(world)
    world.after(5)
    assert names(world) == ["beta", *USERS]


def test_a_route_that_somebody_took_away_comes_back() -> None:
    world = running(ONE_POD, HEADER, PAUSE)
    service = world.objects[ROUTE]
    world.objects[ROUTE] = {**service, "spec": {**service["spec"], "http": http(world)[1:]}}
    world.settle()
    assert names(world) == ["beta", *USERS]


def test_a_mirror_that_stands_gives_way_before_the_weight_of_an_aborted_version_is_settled() -> (
    None
):
    world = running(ONE_POD, MIRROR, {"setWeight": 50}, PAUSE)
    given.abort(world)
    decision = world.one_pass()
    downs = [write for write in decision.writes if write.stage is Stage.ROUTES_DOWN]
    assert [write.ref for write in downs] == [ROUTE], "one write takes off both"
    assert names(world) == USERS
    assert weights(world) == [100, 0]


def test_a_manifest_that_does_not_list_the_route_is_refused_by_its_field() -> None:
    world = istio_world([ONE_POD, HEADER, PAUSE])
    world.set_image("v2")
    world.settle()
    assert "managedRoutes" in given.why(world)
    assert Ref("ReplicaSet", "default", "demo-v2") not in world.objects
    assert names(world) == USERS


def test_the_canary_s_name_does_not_move_in_the_pass_that_takes_its_route_away() -> None:
    world = running(ONE_POD, HEADER, PAUSE, policy=Policy(drain_seconds=3))
    world.after(10)
    given.abort(world)
    world.one_pass()
    assert names(world) == USERS
    world.one_pass()
    assert given.service(world, "canary") == "v2", "proxies may still follow it"
    world.after(10)
    assert given.service(world, "canary") == "v1"


def test_pods_behind_a_header_route_stay_until_the_proxies_have_let_go() -> None:
    """I3, by subset: no Service names the old canary, so only the route tells that users reach it."""
    policy = Policy(drain_seconds=3)
    world = running(ONE_POD, HEADER, PAUSE, policy=policy, by_subset=True)
    world.after(10)
    world.set_image("v3")
    world.one_pass()
    assert names(world) == USERS
    world.one_pass()
    assert world.pods()["v2"] == 1
    world.after(10)
    assert "v2" not in world.pods()


def test_a_canary_that_is_scaled_to_nothing_loses_its_route_first() -> None:
    nothing: dict[str, Any] = {"setCanaryScale": {"replicas": 0}}
    world = running(ONE_POD, HEADER, PAUSE, nothing, PAUSE, policy=Policy(drain_seconds=3))
    world.after(10)
    assert names(world) == ["beta", *USERS]
    given.promote(world)
    world.one_pass()
    assert (names(world), world.pods()["v2"]) == (USERS, 1)
    world.settle()
    world.after(10)
    assert "v2" not in world.pods()
    assert world.status["currentStepIndex"] == 4


def test_a_route_that_was_taken_away_under_a_hold_waits_for_its_end() -> None:
    world = running(ONE_POD, HEADER, PAUSE)
    given.hold(world)
    world.settle()
    assert names(world) == ["beta", *USERS], "a hold takes nothing away"
    service = world.objects[ROUTE]
    world.objects[ROUTE] = {**service, "spec": {**service["spec"], "http": http(world)[1:]}}
    world.settle()
    assert names(world) == USERS
    given.release(world)
    world.settle()
    assert names(world) == ["beta", *USERS]


def test_a_weight_is_complete_only_when_every_route_shows_it() -> None:
    world = istio_world([{"setWeight": 20}, {"setWeight": 40}, PAUSE])
    other = Ref("VirtualService", "default", "internal")
    world.objects[other] = {**world.objects[ROUTE], "metadata": {"name": "internal"}}
    both = [{"name": name, "routes": ["primary"]} for name in ("web", "internal")]
    routing: dict[str, Any] = {"istio": {"virtualServices": both}}
    world.edit(lambda spec: spec["strategy"]["canary"].update(trafficRouting=routing))
    before = world.objects[other]
    world.set_image("v2")
    for _ in range(9):
        world.pods_follow()
        world.one_pass()
        world.objects[other] = before
    assert weights(world) == [80, 20]
    assert world.status["currentStepIndex"] == 0, "the second route still shows 0"
    world.after(60)
    assert world.status["currentStepIndex"] == 2


def test_a_route_of_several_that_somebody_lowered_stays_there_under_a_hold() -> None:
    """I1: the highest of the weights is the decided one, and still nothing may rise."""
    world = istio_world([{"setWeight": 20}, PAUSE])
    other = Ref("VirtualService", "default", "internal")
    world.objects[other] = {**world.objects[ROUTE], "metadata": {"name": "internal"}}
    lowered = world.objects[other]
    both = [{"name": name, "routes": ["primary"]} for name in ("web", "internal")]
    routing: dict[str, Any] = {"istio": {"virtualServices": both}}
    world.edit(lambda spec: spec["strategy"]["canary"].update(trafficRouting=routing))
    world.set_image("v2")
    world.settle()
    given.hold(world)
    world.settle()
    world.objects[other] = lowered
    world.after(60)
    assert world.objects[other] == lowered
    given.release(world)
    world.settle()
    assert world.objects[other] != lowered
