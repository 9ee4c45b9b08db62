"""HTTPRoutes whose controller is late, silent or says no; and a resync from Git while a canary is out."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from copy import deepcopy
from itertools import pairwise
from typing import Any

import pytest

from agent.api.meta import Object
from agent.cluster.port import KINDS
from agent.errors import Invalid
from tests.simulation.invariants import IN_PROGRESS, http_names
from tests.simulation.manifests import (
    KEY,
    http_route,
    namespace,
    on_http_routes,
    rollout,
    service,
    weight_patch,
    weights_of,
)
from tests.simulation.scenario import alert, is_promoted, is_rolled_back, set_image
from tests.simulation.virtual import run
from tests.simulation.world import World

STEPS: list[dict[str, Any]] = [
    {"setWeight": 20}, {"setWeight": 40}, {"pause": {}}, {"setWeight": 60}, {"pause": {}},
]  # fmt: skip
MESH: dict[str, Any] = {"group": "", "kind": "Service", "name": "web", "port": 80}


@asynccontextmanager
async def shop(
    *routes: Object, steps: list[dict[str, Any]] | None = None, **strategy: Any
) -> AsyncIterator[World]:
    """The first version is out, on HTTPRoutes."""
    world = World(5, route_kind="HTTPRoute")
    made = routes or (http_route(),)
    names = [route["metadata"]["name"] for route in made]
    await world.apply(
        namespace(), service("web-stable"), service("web-canary"), *made,
        rollout(steps or STEPS, replicas=4, trafficRouting=on_http_routes(*names), **strategy),
    )  # fmt: skip
    async with world.alive():
        await world.until(lambda: is_promoted(world), within=60, what="the first version")
        yield world
        assert world.violations() == []


def the_route(world: World) -> Object:
    found = world.store.peek(*world.route)
    assert found is not None
    return found


def why(world: World) -> str:
    wait = world.engine.wait_of(KEY)
    return wait.why if wait is not None else ""


def verified(world: World) -> bool | None:
    found: bool | None = world.status()["canary"]["weights"].get("verified")
    return found


def test_each_weight_waits_for_the_controller_s_word() -> None:
    async def main() -> None:
        async with shop() as world:
            world.gateway.is_silent = True
            await set_image(world, "web:2")
            await world.until(lambda: world.weight() == 20, within=60, what="the first raise")
            await world.clock.sleep(30)
            assert world.weight() == 20, "the second raise waits"
            assert "Gateway 'edge' has not said Accepted of generation" in why(world)
            assert verified(world) is False
            world.gateway.is_silent = False
            await world.gateway.answer(the_route(world))
            await world.until(lambda: world.weight() == 40, within=5, what="the second raise")
            await world.until(lambda: verified(world) is True, within=5, what="the word")

    run(main())


def test_no_controller_at_all_is_a_wait_that_says_what_is_missing_and_how_to_go_on() -> None:
    async def main() -> None:
        async with shop() as world:
            world.gateway.is_silent = True
            lost = {"status": {"parents": None}}
            await world.store.merge_patch(KINDS["HTTPRoute"], "shop", "web", lost, status=True)
            world.checker.remember()
            await set_image(world, "web:2")
            await world.clock.sleep(60)
            assert world.weight() == 0
            assert "has not answered; is its controller running?" in why(world)
            body = {"metadata": {"annotations": {"serinus.dev/route-status": "ignored"}}}
            await world.store.merge_patch(KINDS["Rollout"], *KEY, body)
            world.checker.foreign_write()
            await world.until(lambda: world.weight() == 40, within=10, what="it goes on")

    run(main())


def test_an_abort_does_not_wait_for_a_silent_controller_and_keeps_the_pods() -> None:
    async def main() -> None:
        async with shop() as world:
            await set_image(world, "web:2")
            await world.until(lambda: world.weight() == 40, within=60, what="weight 40")
            world.gateway.is_silent = True
            began = world.clock.monotonic()
            await world.engine.abort(KEY, alert("Down"))
            await world.until(lambda: world.weight() == 0, within=5, what="off", every=0.005)
            assert world.clock.monotonic() - began < 0.2
            await world.clock.sleep(300)
            assert world.selected("web-canary") == world.status()["currentPodHash"]
            assert "has not said Accepted of generation" in why(world)
            world.gateway.is_silent = False
            await world.gateway.answer(the_route(world))
            stable = world.status()["stableRS"]
            await world.until(
                lambda: world.selected("web-canary") == stable, within=10, what="the names"
            )

    run(main())


def test_a_route_that_is_not_accepted_is_a_wait_with_the_controller_s_reason() -> None:
    async def main() -> None:
        async with shop() as world:
            world.gateway.refuses = "NotAllowedByListeners"
            await world.gateway.answer(the_route(world))
            await set_image(world, "web:2")
            await world.clock.sleep(30)
            assert world.weight() == 0
            assert "does not accept it: NotAllowedByListeners" in why(world)

    run(main())


def test_the_label_is_there_while_a_canary_is_out() -> None:
    async def main() -> None:
        async with shop() as world:
            assert not the_route(world)["metadata"].get("labels")
            await set_image(world, "web:2")
            await world.until(lambda: world.weight() == 40, within=60, what="weight 40")
            assert the_route(world)["metadata"]["labels"] == {IN_PROGRESS: "in-progress"}
            await world.engine.abort(KEY, alert("Down"))
            await world.until(
                lambda: not the_route(world)["metadata"].get("labels"), within=30, what="no label"
            )

    run(main())


def test_a_resync_from_git_after_an_abort_exposes_for_one_watch_event() -> None:
    async def main() -> None:
        async with shop() as world:
            await set_image(world, "web:2")
            await world.until(lambda: world.weight() == 40, within=60, what="weight 40")
            await world.engine.abort(KEY, alert("Down"))
            await world.until(lambda: is_rolled_back(world), within=5, what="the rollback")
            await world.clock.sleep(60)
            for _ in range(20):
                patch = weight_patch(the_route(world), 10)
                await world.store.json_patch(KINDS["HTTPRoute"], "shop", "web", patch)
                world.checker.foreign_route()
                began = world.clock.monotonic()
                await world.until(lambda: world.weight() == 0, within=5, what="0", every=0.005)
                assert world.clock.monotonic() - began <= 0.15
                await world.clock.sleep(0.5)

    run(main())


def test_a_route_that_refuses_to_be_lowered_is_sheltered_by_the_canary_service() -> None:
    def refuse(kind: str, name: str) -> None:
        if kind == "HTTPRoute":
            raise Invalid("simulated: the webhook refuses it")

    async def main() -> None:
        async with shop() as world:
            await set_image(world, "web:2")
            await world.until(lambda: world.weight() == 40, within=60, what="weight 40")
            world.refuse, stable = refuse, world.status()["stableRS"]
            world.owners = set()
            await world.clock.sleep(1)
            await world.engine.abort(KEY, alert("Down"))
            await world.until(
                lambda: world.selected("web-canary") == stable, within=5, what="shelter"
            )

    run(main())


def test_raises_at_a_waypoint_are_a_second_apart_and_lowers_are_not() -> None:
    """Each change of a waypoint's routes replaces its listener, and with it connections."""
    mesh = http_route()
    mesh["spec"]["parentRefs"] = [MESH]
    weights = (10, 20, 30, 40, 50)
    steps: list[dict[str, Any]] = [*({"setWeight": one} for one in weights), {"pause": {}}]

    async def main() -> list[float]:
        async with shop(mesh, steps=steps) as world:
            await set_image(world, "web:2")
            raised: list[float] = []
            for weight in weights:
                await world.until(
                    lambda weight=weight: world.weight() == weight,  # type: ignore[misc] # bound now
                    within=60, what=f"weight {weight}", every=0.005,
                )  # fmt: skip
                raised.append(world.clock.monotonic())
            await world.engine.abort(KEY, alert("Down"))
            began = world.clock.monotonic()
            await world.until(lambda: world.weight() == 0, within=5, what="off", every=0.005)
            assert world.clock.monotonic() - began < 0.2
            return [later - earlier for earlier, later in pairwise(raised)]

    apart = run(main())
    assert min(apart) > 0.9, "a second from decision to decision"
    assert max(apart) < 3


def test_a_virtual_service_for_the_same_service_stops_it_and_its_going_lets_it_on() -> None:
    mesh = http_route()
    mesh["spec"]["parentRefs"] = [MESH]
    rival: Object = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "other", "namespace": "shop"},
        "spec": {"hosts": ["web"], "http": [{"route": [{"destination": {"host": "web"}}]}]},
    }

    async def main() -> None:
        async with shop(mesh) as world:
            await world.apply(rival)
            await set_image(world, "web:2")
            await world.until(
                lambda: "also speaks for 'web.shop.svc" in str(world.status().get("message")),
                within=30, what="refused",
            )  # fmt: skip
            await world.clock.sleep(30)
            assert world.weight() == 0
            await world.store.delete(KINDS["VirtualService"], "shop", "other")
            await world.until(lambda: world.weight() == 40, within=30, what="it goes on")

    run(main())


@pytest.mark.parametrize("dropped", ["percent", "name"])
def test_what_an_older_api_server_drops(dropped: str) -> None:
    """A percentage that is dropped would mirror everything: the rule goes at once. Names are not needed."""
    mirror = {"name": "shadow", "match": [{}], "percentage": 5}
    steps: list[dict[str, Any]] = [
        {"setCanaryScale": {"replicas": 1}}, {"setMirrorRoute": mirror}, {"pause": {}},
    ]  # fmt: skip

    async def main() -> None:
        async with shop(steps=steps) as world:
            json_patch, up = world.store.json_patch, 0.0

            async def dropping(
                kind: Any, namespace: str, name: str, patch: Any, **more: Any
            ) -> Any:
                patch = deepcopy(patch)
                for operation in patch:
                    rule = operation.get("value")
                    if operation["op"] == "add" and isinstance(rule, dict) and "filters" in rule:
                        rule.pop("name", None) if dropped == "name" else rule["filters"][-1][
                            "requestMirror"
                        ].pop("percent")
                return await json_patch(kind, namespace, name, patch, **more)

            world.store.json_patch = dropping  # type: ignore[method-assign] # an older API server
            await set_image(world, "web:2")
            if dropped == "name":
                await world.until(
                    lambda: bool(world.status().get("pauseConditions")), within=60, what="the pause"
                )
                assert http_names(the_route(world)) == ["", "admin", "primary"]
                # Whose rule it is shows in what it says; the checker goes by names.
                assert all("web-canary" in item for item in world.checker.violations)
                world.checker.violations.clear()
                return
            for _ in range(3000):
                await world.clock.sleep(0.02)
                up += 0.02 if len(http_names(the_route(world))) > 2 else 0
            assert "the API server drops spec.rules.filters.*.requestMirror.percent" in why(world)
            assert up < 1.5, "of 60 s"
            assert weights_of(the_route(world)) == (100, 0)

    run(main())
