"""Weights that a router planned, carried out by a real Envoy: what the tests of splits share.

Bounded: 10,000 calls at each weight that is a share, 200 changes under load, on loopback alone.
"""

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from agent.api.meta import Object, Ref
from agent.api.rollout import Rollout, SetHeaderRoute
from agent.demo.envoy import Envoy
from agent.demo.load import Load, Tally
from agent.demo.processes import free_port
from agent.demo.translate import route_configuration
from agent.traffic.types import Desired, RouteObjects, Router
from tests.e2e.callers import tally_of
from tests.e2e.tcp_proxy import connections, greeters, tcp_proxy_running

CALLS: Final = 10_000
EXACT_CALLS: Final = 2_000
"""Where all must go one way, each call is a proof: at weights 0 and 100."""
SPLITS: Final = (1, 10, 30, 50, 99)
FLIPS: Final = 200
MAX_DEVIATIONS: Final = 4
"""Exceeded 6 times in 100,000 runs."""


class Mesh:
    """A rollout's routes, and a proxy that follows them.

    Args:
        service_of: the VirtualService that says the same as the routes.
    """

    def __init__(
        self,
        router: Router,
        rollout: Rollout,
        objects: RouteObjects,
        service_of: Callable[[RouteObjects], Object],
    ) -> None:
        self._router = router
        self._rollout = rollout
        self._objects: dict[Ref, Object] = dict(objects)
        self._service_of = service_of
        self._version = 0

    @property
    def service(self) -> Object:
        return self._service_of(self._objects)

    def plan(self, weight: int, *managed: SetHeaderRoute) -> None:
        """Write what the router plans for this weight."""
        desired = Desired(canary_weight=weight, managed=managed)
        plan = self._router.plan(self._rollout, self._objects, desired)
        assert plan.refusal is None
        for change in plan.changes:
            self._objects[change.ref] = change.after

    async def move(self, envoy: Envoy, weight: int, *managed: SetHeaderRoute) -> None:
        """Plan, write, and wait until the proxy routes by it."""
        self.plan(weight, *managed)
        self._version += 1
        version = str(self._version)
        envoy.write_routes(route_configuration(self.service, version), version)
        await envoy.applied(version)


def splits(hits: int, calls: int, percent: int) -> bool:
    """Whether so many hits are that share: exactly at 0 and 100, as chance has it between."""
    if percent in (0, 100):
        return hits == calls * percent // 100
    share = percent / 100
    deviations = (hits - calls * share) / math.sqrt(calls * share * (1 - share))
    return abs(deviations) < MAX_DEVIATIONS


def enough(percent: int) -> int:
    """How many calls show this share."""
    return EXACT_CALLS if percent in (0, 100) else CALLS


async def calls(envoy: Envoy, count: int, headers: Mapping[str, str] | None = None) -> Tally:
    """Make so many calls, none of which may fail by the switch."""
    tally = await tally_of(
        envoy.host, envoy.port, authority="shop", headers=headers or {}, count=count
    )
    assert tally.failed_by_switch == 0, tally
    return tally


async def http_calls_split(mesh: Mesh, envoy: Envoy) -> None:
    """At each weight."""
    for weight in (0, *SPLITS, 100):
        await mesh.move(envoy, weight)
        tally = await calls(envoy, enough(weight))
        hits, _ = tally.of_version("canary")
        assert splits(hits, tally.total, weight), (weight, hits, tally.total)


async def changes_fail_no_call(mesh: Mesh, envoy: Envoy, header: SetHeaderRoute) -> None:
    """200 changes of weights and of this header route, under load."""
    gone = SetHeaderRoute(name=header.name)
    load = Load(envoy.host, envoy.port, authority="shop", rate=1_000)
    async with load.generating():
        for flip in range(FLIPS):
            weight, managed = (0, 100, 30, 99)[flip % 4], header if flip % 4 == 1 else gone
            await mesh.move(envoy, weight, managed)
            await load.until_total(load.tally().total + 5, within_seconds=10)
    tally = load.tally()
    assert tally.failed_by_switch == 0, tally
    assert tally.total > 5 * FLIPS
    assert min(tally.of_version("stable")[0], tally.of_version("canary")[0]) > FLIPS


async def connections_split_and_changes_fail_none(
    mesh: Mesh, directory: Path, weights: Sequence[int] = (0, *SPLITS, 100)
) -> None:
    """TCP: at each weight, then 200 changes under load."""
    async with (
        greeters("stable", "canary") as ports,
        tcp_proxy_running(mesh.service, ports, free_port(), directory) as proxy,
    ):
        for weight in weights:
            mesh.plan(weight)
            await proxy.apply(mesh.service, f"split-{weight}")
            seen = await connections(proxy.port, enough(weight))
            assert seen[""] == 0
            assert splits(seen["canary"], seen.total(), weight), (weight, seen)
        for flip in range(FLIPS):
            mesh.plan(100 * (flip % 2))
            _, seen = await asyncio.gather(
                proxy.apply(mesh.service, f"flip-{flip}"), connections(proxy.port, 20, at_once=4)
            )
            assert seen[""] == 0, flip
