"""Several route objects and managed routes: a death, a lost race or a foreign writer at every single write."""

import asyncio
import os
from collections.abc import Callable
from copy import deepcopy
from functools import cache
from typing import Any

import pytest

from agent.api.meta import Object
from agent.cluster.port import KINDS
from agent.errors import Conflict, Forbidden, Invalid, Unavailable
from tests.simulation.invariants import http_names
from tests.simulation.manifests import (
    KEY,
    a_route,
    namespace,
    on_http_routes,
    rollout,
    service,
    weight_patch,
    weights_of,
)
from tests.simulation.scenario import alert, is_promoted, set_image
from tests.simulation.virtual import run
from tests.simulation.world import World

ROUTES = ("web", "web-internal", "web-partner")
STEPS: list[dict[str, Any]] = [
    {"setCanaryScale": {"replicas": 1}},
    {
        "setHeaderRoute": {
            "name": "beta",
            "match": [{"headerName": "x-beta", "headerValue": {"exact": "1"}}],
        }
    },
    {"setMirrorRoute": {"name": "shadow", "match": [{"path": {"prefix": "/"}}]}},
    {"setCanaryScale": {"matchTrafficWeight": True}},
    {"setWeight": 30},
    {"pause": {"duration": 2}},
    {"setHeaderRoute": {"name": "beta"}},
    {"setWeight": 60},
    {"pause": {"duration": 2}},
]
ABORTED = "aborted"
PROMOTED = "promoted"


VIRTUAL_SERVICE = "VirtualService"
HTTP_ROUTE = "HTTPRoute"


def a_rollout(kind: str = VIRTUAL_SERVICE) -> Object:
    made = rollout(STEPS, replicas=4)
    if kind == HTTP_ROUTE:
        made["spec"]["strategy"]["canary"]["trafficRouting"] = on_http_routes(*ROUTES)
        return made
    made["spec"]["strategy"]["canary"]["trafficRouting"] = {
        "istio": {"virtualServices": [{"name": name, "routes": ["primary"]} for name in ROUTES]},
        "managedRoutes": [{"name": "shadow"}, {"name": "beta"}],
    }
    return made


class Run:
    """One run over three route objects, from the push of a version to its end."""

    def __init__(
        self,
        end: str,
        prepare: Callable[["Run"], None] = lambda _run: None,
        kind: str = VIRTUAL_SERVICE,
    ) -> None:
        self.end = end
        self.kind = kind
        self._prepare = prepare
        self.world: World

    async def play(self) -> "Run":
        world = self.world = World(21, route_kind=self.kind)
        self._prepare(self)
        await world.apply(
            namespace(), service("web-stable"), service("web-canary"),
            *(a_route(self.kind, name) for name in ROUTES), a_rollout(self.kind),
        )  # fmt: skip
        async with world.alive():
            await world.until(lambda: is_promoted(world), within=60, what="the first version")
            self.first_write = world.reached_points()["after-write"]
            await set_image(world, "web:2")
            if self.end == ABORTED:
                await world.until(lambda: world.weight() == 60, within=90, what="weight 60")
                await world.deliver(lambda engine: engine.abort(KEY, alert("Down")))
            await world.until(self.is_over, within=240, what=self.end)
            await world.clock.sleep(10)
            await asyncio.gather(*world.background)
        self.writes = world.reached_points()["after-write"]
        return self

    def is_over(self) -> bool:
        status = self.world.status()
        ended = status.get("abort") if self.end == ABORTED else is_promoted(self.world)
        return bool(ended) and all(
            weights_of(item) == (100, 0) and http_names(item) == ["admin", "primary"]
            for item in self.routes().values()
        )

    def routes(self) -> dict[str, Object]:
        found = {name: self.world.store.peek(self.kind, "shop", name) for name in ROUTES}
        return {name: item for name, item in found.items() if item is not None}

    def check(self) -> None:
        assert self.world.violations() == []
        assert self.is_over()
        for name, item in self.routes().items():
            plain = deepcopy(a_route(self.kind, name))
            assert item["spec"] == plain["spec"], "back to stable nothing of ours is left"
            assert not item["metadata"].get("labels")


@cache
def calm(end: str, kind: str = VIRTUAL_SERVICE) -> Run:
    """The run that nothing disturbs: how many writes it takes."""
    return run(Run(end, kind=kind).play())


@pytest.mark.parametrize("kind", [VIRTUAL_SERVICE, HTTP_ROUTE])
def test_three_routes_go_together_and_come_back_to_what_they_were(kind: str) -> None:
    for end in (PROMOTED, ABORTED):
        calm(end, kind).check()
    weights = calm(ABORTED, kind).world.checker.weights
    assert [weight for weight in weights if weight] == [30, 60]
    assert weights[-1] == 0


def writes(end: str, kind: str, every: int) -> list[int]:
    """Numbers of writes after the first version: one of `every`, or (`make soak`) all of them.

    Of the kind whose routes take more time half as many.
    """
    made = calm(end, kind)
    step = 1 if os.environ.get("SERINUS_EVERY_WRITE") else every * (1 + (kind == HTTP_ROUTE))
    return list(range(made.first_write + 1, made.writes + 1, step))


@pytest.mark.parametrize("kind", [VIRTUAL_SERVICE, HTTP_ROUTE])
@pytest.mark.parametrize("end", [PROMOTED, ABORTED])
def test_a_death_after_any_write_is_finished_by_the_next_process(end: str, kind: str) -> None:
    for number in writes(end, kind, 7):
        made = Run(end, death_after(number), kind)
        run(made.play())
        assert made.world.crashes == 1
        made.check()


@pytest.mark.parametrize("kind", [VIRTUAL_SERVICE, HTTP_ROUTE])
@pytest.mark.parametrize("error", [Conflict, Unavailable, Invalid, Forbidden])
@pytest.mark.parametrize("end", [PROMOTED, ABORTED])
def test_a_write_that_fails_wherever_it_is_leaves_nothing_half_moved(
    end: str, error: type[Exception], kind: str
) -> None:
    for number in writes(end, kind, 8 if error is Conflict else 17):
        made = Run(end, refusal_at(number, error), kind)
        run(made.play())
        made.check()


@pytest.mark.parametrize("kind", [VIRTUAL_SERVICE, HTTP_ROUTE])
@pytest.mark.parametrize("weight", [0, 100], ids=["all to stable", "all to the canary"])
@pytest.mark.parametrize("end", [PROMOTED, ABORTED])
def test_a_foreign_writer_at_any_moment_changes_no_invariant(
    end: str, weight: int, kind: str
) -> None:
    for count, number in enumerate(writes(end, kind, 11)):
        name = ROUTES[count % len(ROUTES)]
        made = Run(end, foreign_writer_at(number, name, weight), kind)
        run(made.play())
        made.check()


def death_after(number: int) -> Callable[[Run], None]:
    """Have the process die after its n-th write."""

    def prepare(made: Run) -> None:
        made.world.when("after-write", number, made.world.crash)

    return prepare


def refusal_at(number: int, error: type[Exception]) -> Callable[[Run], None]:
    """Have the n-th write of ours refused."""

    def refuse() -> None:
        raise error("simulated: this write is refused")

    def prepare(made: Run) -> None:
        made.world.when("before-write", number, refuse)

    return prepare


def foreign_writer_at(number: int, name: str, weight: int) -> Callable[[Run], None]:
    """Have somebody write the weights of a route before the n-th write of ours."""

    def prepare(made: Run) -> None:
        world = made.world
        world.when(
            "before-write",
            number,
            lambda: world.background.append(
                asyncio.ensure_future(somebody_sets(made, name, weight))
            ),
        )

    return prepare


@pytest.mark.parametrize("error", [Invalid, Forbidden])
def test_a_route_that_refuses_every_raise_keeps_the_others_down(error: type[Exception]) -> None:
    def refuse(kind: str, name: str) -> None:
        if (kind, name) == ("VirtualService", "web-partner"):
            raise error("simulated: the webhook refuses it")

    async def main() -> World:
        made = Run(PROMOTED)
        world = made.world = World(21)
        await world.apply(
            namespace(), service("web-stable"), service("web-canary"),
            *(a_route(VIRTUAL_SERVICE, name) for name in ROUTES), a_rollout(),
        )  # fmt: skip
        async with world.alive():
            await world.until(lambda: is_promoted(world), within=60, what="the first version")
            world.refuse = refuse
            await set_image(world, "web:2")
            await world.clock.sleep(60)
            up = 0
            for _ in range(1000):
                await world.clock.sleep(0.1)
                up += any(len(http_names(item)) > 2 for item in made.routes().values())
            assert up < 50, "half a raise stands no longer than it takes to take it back"
            assert "the cluster rejects a write" in world.engine.wait_of(KEY).why  # type: ignore[union-attr] # it is known
            world.refuse = lambda _kind, _name: None
            await world.until(made.is_over, within=240, what="it goes on")
        return world

    assert run(main()).violations() == []


def test_an_abort_takes_header_and_mirror_off_without_any_lane() -> None:
    """The abort path has a plan of its own: nobody owns the rollout, and nothing else would do it."""

    async def main() -> float:
        made = Run(ABORTED)
        world = made.world = World(21)
        await world.apply(
            namespace(), service("web-stable"), service("web-canary"),
            *(a_route(VIRTUAL_SERVICE, name) for name in ROUTES), a_rollout(),
        )  # fmt: skip
        async with world.alive():
            await world.until(lambda: is_promoted(world), within=60, what="the first version")
            await set_image(world, "web:2")
            await world.until(
                lambda: all("shadow" in http_names(item) for item in made.routes().values()),
                within=60,
                what="the mirror stands",
            )
            world.owners = set()
            await world.clock.sleep(1)
            began = world.clock.monotonic()
            assert (await world.engine.abort(KEY, alert("Down"))).result == "done"
            await world.until(made.is_over, within=5, what="off", every=0.01)
            return world.clock.monotonic() - began

    assert run(main()) < 0.5


@pytest.mark.parametrize("how", ["abort path", "lane"])
def test_a_route_that_refuses_to_be_lowered_keeps_no_other_up(how: str) -> None:
    """The first of three cannot be written: by the abort path, or by the lane after a foreign raise."""

    def refuse(kind: str, name: str) -> None:
        if (kind, name) == ("VirtualService", ROUTES[0]):
            raise Invalid("simulated: the webhook refuses it")

    async def main() -> float:
        made = Run(ABORTED)
        world = made.world = World(21)
        await world.apply(
            namespace(), service("web-stable"), service("web-canary"),
            *(a_route(VIRTUAL_SERVICE, name) for name in ROUTES), a_rollout(),
        )  # fmt: skip

        def others_are_down() -> bool:
            return all(weights_of(made.routes()[name])[1] == 0 for name in ROUTES[1:])

        async with world.alive():
            await world.until(lambda: is_promoted(world), within=60, what="the first version")
            if how == "lane":
                world.refuse = refuse
                for name in ROUTES:
                    await somebody_sets(made, name, 70)
            else:
                await set_image(world, "web:2")
                await world.until(lambda: world.weight() == 60, within=90, what="weight 60")
                world.owners, world.refuse = set(), refuse
                await world.clock.sleep(1)
                await world.engine.abort(KEY, alert("Down"))
            began = world.clock.monotonic()
            await world.until(others_are_down, within=5, what="the others are down", every=0.01)
            return world.clock.monotonic() - began

    assert run(main()) < 0.3


async def somebody_sets(made: Run, name: str, weight: int) -> None:
    """A person or a Git agent writes the weights of one route, without looking at anything."""
    patch = weight_patch(made.routes()[name], weight)
    await made.world.store.json_patch(KINDS[made.kind], "shop", name, patch)
    made.world.checker.remember()
