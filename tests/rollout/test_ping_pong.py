"""Ping and pong: two Services that change their roles at every promotion, as with Argo's Istio router.

In these worlds ping is the Service `canary` and pong the Service `stable`; the first version, v1, is behind ping.
"""

from copy import deepcopy
from datetime import timedelta
from typing import Any

import pytest

from agent.api.decode import read
from agent.api.meta import Ref
from agent.api.names import POD_TEMPLATE_HASH, RAISED
from agent.api.rollout import Rollout
from agent.api.service_roles import ServiceRoles, service_roles, swapped
from agent.rollout.decide import not_driven
from agent.rollout.types import Policy, Stage, Write
from agent.traffic.istio import Istio
from tests.rollout import given
from tests.rollout.istio_world import ROUTE, istio_world, weights
from tests.rollout.world import World

STEPS: list[dict[str, Any]] = [{"setWeight": 20}, {"pause": {}}, {"setWeight": 60}]
PING, PONG = "canary", "stable"


def shop(**options: Any) -> World:
    return istio_world(deepcopy(STEPS), ping_pong=True, **options)


def served(world: World) -> dict[str, int]:
    """Image to its weight on the route, as users meet it: by what the Services select."""
    images, found = world.images(), dict[str, int]()
    for service, weight in ((PONG, weights(world)[0]), (PING, weights(world)[1])):
        if weight:
            found[images[selected(world, service)]] = weight
    return found


def selected(world: World, service: str) -> str:
    spec = world.objects[Ref("Service", "default", service)]["spec"]
    return str(spec["selector"].get(POD_TEMPLATE_HASH, ""))


def watch_selectors(world: World) -> list[Write]:
    moved: list[Write] = []
    world.on_write = lambda write: moved.append(write) if write.stage is Stage.SELECTORS else None
    return moved


@pytest.mark.parametrize(
    ("spec", "status", "roles"),
    [
        pytest.param({"pingPong": {"pingService": "i", "pongService": "o"}}, "", ("i", "o", True), id="before the first version"),
        pytest.param({"pingPong": {"pingService": "i", "pongService": "o"}}, "ping", ("o", "i", True), id="ping is stable"),
        pytest.param({"pingPong": {"pingService": "i", "pongService": "o"}}, "pong", ("i", "o", True), id="pong is stable"),
        pytest.param({"canaryService": "c", "stableService": "s"}, "ping", ("c", "s", False), id="no ping-pong"),
        pytest.param({"canaryService": "c", "stableService": "s", "pingPong": {"pingService": "i", "pongService": "o"}}, "ping", ("c", "s", False), id="both"),
        pytest.param({}, "", ("", "", False), id="none"),
    ],
)  # fmt: skip
def test_the_roles_of_the_services(
    spec: dict[str, Any], status: str, roles: tuple[str, str, bool]
) -> None:
    manifest = {
        "metadata": {"name": "a", "namespace": "b"},
        "spec": {"strategy": {"canary": spec}},
        "status": {"canary": {"stablePingPong": status}},
    }
    rollout = read(Rollout, manifest)
    assert service_roles(rollout) == ServiceRoles(*roles)
    assert swapped(rollout) == ("pong" if status == "ping" else "ping")


def test_the_first_version_makes_ping_the_stable_one_and_leaves_pong_alone() -> None:
    world = shop()
    assert world.status["canary"]["stablePingPong"] == "ping"
    assert served(world) == {"v1": 100}
    assert selected(world, PONG) == ""
    assert weights(world) == [0, 100], "ping has all the traffic"


def test_i6_no_route_is_written_in_the_pass_that_swaps_the_roles() -> None:
    """A lower goes out before the fence: by roles that are not stored yet it would be a raise."""
    world = shop()
    before = ""
    for decision in world.decisions:
        after = decision.status["canary"].get("stablePingPong", "")
        if after != before:
            assert [write for write in decision.writes if write.ref == ROUTE] == []
        before = after
    assert before == "ping"
    assert any(write.ref == ROUTE for decision in world.decisions for write in decision.writes)


def test_a_promotion_swaps_the_roles_and_writes_neither_route_nor_selector() -> None:
    world = shop()
    world.set_image("v2")
    world.settle()
    assert served(world) == {"v1": 80, "v2": 20}
    assert selected(world, PONG) == world.status["currentPodHash"]
    moved, passes = watch_selectors(world), len(world.decisions)
    given.promote(world)
    world.settle()
    assert world.status["canary"]["stablePingPong"] == "pong"
    assert world.status["phase"] == "Healthy"
    assert served(world) == {"v2": 100}
    assert moved == [], "no Service is re-pointed under traffic"
    lowers = [w for d in world.decisions[passes:] for w in d.writes if w.stage is Stage.ROUTES_DOWN]
    assert lowers == [], "nothing has to come back: what was the canary is the stable one"
    assert RAISED not in world.rollout["metadata"]["annotations"], "the run is over"
    recorded = world.status["canary"]["weights"]
    assert recorded["canary"].get("weight", 0) == 0
    assert recorded["stable"]["serviceName"] == PONG
    world.after(31)
    assert world.pods() == {"v2": 10}
    assert selected(world, PING) != world.status["stableRS"], (
        "as with Argo it keeps what it selects"
    )


def test_every_release_goes_the_other_way_round() -> None:
    world = shop()
    for number in range(2, 6):
        world.set_image(f"v{number}")
        world.settle()
        assert served(world) == {f"v{number - 1}": 80, f"v{number}": 20}
        given.promote(world)
        world.settle()
        world.after(31)
        assert served(world) == {f"v{number}": 100}
        assert world.pods() == {f"v{number}": 10}
        assert world.status["canary"]["stablePingPong"] == ("pong" if number % 2 == 0 else "ping")


def test_an_abort_lowers_and_keeps_the_roles() -> None:
    world = shop()
    world.set_image("v2")
    world.settle()
    moved = watch_selectors(world)
    given.abort(world)
    world.settle()
    assert served(world) == {"v1": 100}
    assert world.status["canary"]["stablePingPong"] == "ping"
    assert moved == []
    world.after(31)
    assert world.pods() == {"v1": 10}
    world.patch({"status": {"abort": False}})
    world.settle()
    assert served(world) == {"v1": 80, "v2": 20}, "a retry finds its Service"


def test_i3_the_canary_s_service_moves_to_a_newer_version_only_without_traffic() -> None:
    world = shop(policy=Policy(drain_seconds=3))
    world.after(4)
    world.set_image("v2")
    world.settle()
    before: list[list[int]] = []
    world.on_write = lambda write: (
        before.append(weights(world)) if write.stage is Stage.SELECTORS else None
    )
    world.set_image("v3")
    world.settle()
    assert weights(world) == [0, 100], "v2 has lost its traffic"
    assert world.pods()["v2"] > 0, "and keeps its pods until the proxies know it"
    world.after(4)
    assert served(world) == {"v1": 80, "v3": 20}
    assert before == [[0, 100]]


def test_i3_a_foreign_weight_keeps_the_pods_of_the_version_before() -> None:
    """After a promotion the canary's Service leads to the version before: no weight, else no scaling down."""
    world = shop(policy=Policy(drain_seconds=3))
    world.after(4)
    world.set_image("v2")
    world.settle()
    given.promote(world)
    world.after(10)
    assert world.status["phase"] == "Healthy"
    for _ in range(60):
        route = world.objects[ROUTE]["spec"]["http"][1]["route"]
        route[0]["weight"], route[1]["weight"] = 50, 50
        world.one_pass()
        world.pods_follow()
        world.now += timedelta(seconds=1)
    assert world.pods() == {"v1": 10, "v2": 10}
    world.settle()
    world.after(5)
    assert served(world) == {"v2": 100}
    assert world.pods() == {"v2": 10}


def test_going_back_to_the_stable_version_swaps_nothing() -> None:
    world = shop()
    world.set_image("v2")
    world.settle()
    world.set_image("v1")
    world.settle()
    world.after(31)
    assert served(world) == {"v1": 100}
    assert world.pods() == {"v1": 10}
    assert world.status["canary"]["stablePingPong"] == "ping"


def test_a_full_promotion_swaps_as_well() -> None:
    world = shop()
    world.set_image("v2")
    world.settle()
    world.patch({"status": {"promoteFull": True, "pauseConditions": None}})
    world.after(40)
    assert served(world) == {"v2": 100}
    assert world.status["canary"]["stablePingPong"] == "pong"


@pytest.mark.parametrize(
    ("canary", "sentence"),
    [
        pytest.param({"trafficRouting": {"smi": {}}}, "with trafficRouting.istio only", id="another router"),
        pytest.param({"trafficRouting": None}, "with trafficRouting.istio only", id="no router"),
        pytest.param({"canaryService": "c", "stableService": "s"}, "Istio would be led by the latter", id="both pairs"),
        pytest.param(
            {"trafficRouting": {"istio": {"virtualService": {"name": "a"}, "destinationRule": {"name": "a", "canarySubsetName": "c", "stableSubsetName": "s"}}}},
            "subsets do not swap roles", id="with subsets",
        ),
        pytest.param({}, "", id="driven"),
    ],
)  # fmt: skip
def test_where_ping_and_pong_cannot_be_driven_the_sentence_says_what_to_leave_out(
    canary: dict[str, Any], sentence: str
) -> None:
    spec = {
        "pingPong": {"pingService": "i", "pongService": "o"},
        "trafficRouting": {"istio": {"virtualService": {"name": "a"}}},
        **canary,
    }
    manifest = {"metadata": {"name": "a"}, "spec": {"strategy": {"canary": spec}}}
    errors = [
        error
        for error in not_driven(read(Rollout, manifest), {"istio": Istio(), "smi": Istio()})
        if error.field.endswith("pingPong")
    ]
    assert [sentence in error.detail for error in errors] == [True] * bool(sentence)
