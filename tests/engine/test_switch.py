"""Two engines: this one drives only while no other lives, and stands back at once when one appears."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final

import pytest

from agent.api.meta import Object, Ref
from agent.api.times import format_time
from agent.cluster.cache import Cache
from agent.cluster.port import KINDS
from agent.engine.companion.engine import CompanionEngine
from agent.engine.companion.store import MarkStore
from agent.engine.engine import RolloutEngine
from agent.engine.options import Options
from agent.engine.other_engine import OtherEngine
from agent.engine.ownership import SoleOwner
from agent.engine.switch import Driving, Switch
from agent.errors import Forbidden, Unavailable
from agent.rollout.decide import decide
from agent.rollout.types import Policy
from agent.traffic.routers import ROUTERS
from tests.engine.beside import NAMESPACE
from tests.simulation.bus import SimulatedBus
from tests.simulation.faults import CALM
from tests.simulation.manifests import KEY, namespace, rollout, service, virtual_service
from tests.simulation.scenario import alert, is_promoted, set_image
from tests.simulation.virtual import run
from tests.simulation.world import CACHED, World

STEPS: Final[list[dict[str, Any]]] = [
    {"setWeight": 20},
    {"pause": {"duration": 30}},
    {"setWeight": 60},
]
LOCK: Final = "argo-rollouts-controller-lock"


class Argo:
    """The signs of life of another engine."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._task: asyncio.Task[None] | None = None

    async def start(self, *, clock_is_off: float = 0.0) -> None:
        """Hold the Lease, and renew it every two seconds."""
        lease = self._lease(clock_is_off)
        found = self._world.store.peek("Lease", "argo-rollouts", LOCK)
        if found is None:
            await self._world.store.create(KINDS["Lease"], lease)
        self._task = asyncio.create_task(self._renew(clock_is_off))

    async def stop(self) -> None:
        """kill -9: the Lease stays and gets old."""
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def writes_the_status(self) -> None:
        """A pass of its own; the API server notes who wrote it."""
        at = format_time(self._world.clock.now())
        entry = {
            "manager": "rollouts-controller",
            "time": at,
            "fieldsV1": {"f:status": {"f:phase": {}}},
        }
        body = {"metadata": {"managedFields": [entry]}}
        await self._world.store.merge_patch(KINDS["Rollout"], *KEY, body)
        self._world.checker.foreign_write()

    async def _renew(self, clock_is_off: float) -> None:
        while True:
            body = {"spec": self._lease(clock_is_off)["spec"]}
            await self._world.store.merge_patch(KINDS["Lease"], "argo-rollouts", LOCK, body)
            await self._world.clock.sleep(2)

    def _lease(self, clock_is_off: float) -> Object:
        now = self._world.clock.now() + timedelta(seconds=clock_is_off)
        spec = {
            "holderIdentity": "argo-1",
            "leaseDurationSeconds": 15,
            "renewTime": format_time(now),
        }
        return {"metadata": {"name": LOCK, "namespace": "argo-rollouts"}, "spec": spec}


class Agent:
    """A process that would like to drive."""

    def __init__(self, world: World, leases: tuple[str, ...]) -> None:
        self.modes: list[tuple[str, str]] = []
        self.bus = SimulatedBus(world.clock, world.rng, CALM, world.checker.published.add)
        store, clock = world.store, world.clock
        self.cache = Cache(store, CACHED, clock)
        driving = Driving(SoleOwner())
        options = Options(policy=Policy(drain_seconds=1.0, compat="argo"), seed=1)
        drive = RolloutEngine(
            store, self.cache, clock, decide, ROUTERS, options=options, bus=self.bus,
            ownership=driving, announces=SoleOwner(),
        )  # fmt: skip
        companion = CompanionEngine(
            store, self.cache, clock, ROUTERS, marks_namespace=NAMESPACE, options=options, bus=self.bus
        )  # fmt: skip
        self.other = OtherEngine(store, clock, leases=leases, quiet_seconds=60)
        self.switch = Switch(
            drive, companion, self.other, driving, MarkStore(store, NAMESPACE), clock, self._note
        )
        self.cache.on_change(self.switch.changed)

    async def _note(self, mode: str, reason: str) -> None:
        self.modes.append((mode, reason))

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            cache = group.create_task(self.cache.run())
            await self.cache.synced.wait()
            await self.switch.run()
            cache.cancel()

    def transitions(self) -> list[str]:
        return [event["type"].split(".")[-2] for event in self.bus.events()]


@asynccontextmanager
async def a_cluster() -> AsyncIterator[tuple[World, Argo]]:
    """A shop that nobody drives yet."""
    world = World(3)
    await world.apply(
        namespace(), service("web-stable"), service("web-canary"), virtual_service(),
        rollout(STEPS, replicas=2),
    )  # fmt: skip
    pods = asyncio.create_task(world.workloads.run())
    argo = Argo(world)
    try:
        yield world, argo
        assert world.violations() == []
    finally:
        pods.cancel()
        await asyncio.gather(pods, return_exceptions=True)


@asynccontextmanager
async def an_agent(world: World, *leases: str) -> AsyncIterator[Agent]:
    agent = Agent(world, leases or (LOCK,))
    task = asyncio.create_task(agent.run())
    try:
        yield agent
        agent.switch.stop()
        await asyncio.wait_for(task, 60)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(world: World, holds: Callable[[], bool], what: str, within: float = 30) -> None:
    await world.until(holds, within=within, what=what)


def test_without_another_engine_it_drives_and_says_so() -> None:
    async def main() -> None:
        async with a_cluster() as (world, _argo), an_agent(world) as agent:
            await until(world, lambda: is_promoted(world), "the first version")
            assert (agent.switch.mode, agent.switch.note) == ("drive", "")
            assert agent.modes == [("drive", "")]

    run(main())


@pytest.mark.parametrize("clock_is_off", [0.0, -3600.0, 3600.0])
def test_beside_a_living_controller_it_writes_nothing_and_names_it(clock_is_off: float) -> None:
    async def main() -> None:
        async with a_cluster() as (world, argo):
            await argo.start(clock_is_off=clock_is_off)
            await world.clock.sleep(5)
            async with an_agent(world) as agent:
                await world.clock.sleep(120)
                if clock_is_off > -60:
                    assert not world.rollout().get("status"), "not one pass of ours"
                assert agent.switch.mode == "companion"
                assert f"Lease argo-rollouts/{LOCK} is held by argo-1" in agent.switch.note
                assert agent.modes[-1][0] == "companion"
            await argo.stop()

    run(main())


def test_it_takes_over_when_the_other_is_gone_for_long_enough_and_stands_back_when_it_returns() -> (
    None
):
    async def main() -> None:
        async with a_cluster() as (world, argo):
            await argo.start()
            async with an_agent(world) as agent:
                await until(world, lambda: bool(agent.switch.note), "it sees the other")
                await argo.stop()
                gone = world.clock.monotonic()
                await until(world, lambda: agent.switch.mode == "drive", "it drives", within=90)
                assert world.clock.monotonic() - gone > 55
                await until(world, lambda: is_promoted(world), "the first version")
                await set_image(world, "web:2")
                await until(world, lambda: world.weight() == 20, "the first weight", within=60)
                await argo.start()
                await until(
                    world, lambda: agent.switch.mode == "companion", "it stands back", within=6
                )
                await world.clock.sleep(60)
                assert world.weight() == 20, "nothing is raised any more"
                outcome = await agent.switch.abort(KEY, alert("Down"))
                assert outcome.result == "done"
                assert world.status()["abort"] is True
                await world.clock.sleep(20)
                assert world.weight() == 20, "the weight is the other's to take off"
                assert agent.transitions().count("started") == 1, "told by the driver, once"
                assert agent.transitions()[-1] == "aborted"
                assert not any(
                    item["type"] == "SerinusOutbox" for item in world.status()["conditions"]
                ), "what waited was published and taken off"
                assert [mode for mode, _ in agent.modes] == ["companion", "drive", "companion"]
            await argo.stop()

    run(main())


def test_a_controller_without_a_lease_is_known_by_what_it_writes() -> None:
    async def main() -> None:
        async with a_cluster() as (world, argo), an_agent(world) as agent:
            await until(world, lambda: is_promoted(world), "the first version")
            await argo.writes_the_status()
            await until(world, lambda: agent.switch.mode == "companion", "it stands back", within=1)
            assert "rollouts-controller writes the status of Rollout shop/web" in agent.switch.note
            await set_image(world, "web:2")
            await world.clock.sleep(20)
            assert world.weight() == 0
            await until(world, lambda: is_promoted(world), "it drives again, later", within=200)

    run(main())


def test_what_another_engine_wrote_long_ago_is_no_sign_of_life() -> None:
    async def main() -> None:
        async with a_cluster() as (world, argo):
            await argo.writes_the_status()
            await argo.start()
            await argo.stop()
            await world.clock.sleep(61)
            async with an_agent(world) as agent:
                await until(world, lambda: is_promoted(world), "the first version")
                assert agent.modes == [("drive", "")]

    run(main())


def test_a_companion_of_before_leaves_no_marks_to_a_driver() -> None:
    async def main() -> None:
        async with a_cluster() as (world, argo):
            await argo.start()
            async with an_agent(world) as agent:
                await until(
                    world,
                    lambda: world.store.peek("ConfigMap", NAMESPACE, "serinus-marks") is not None,
                    "marks",
                )
                await argo.stop()
                await until(world, lambda: agent.switch.mode == "drive", "it drives", within=90)
                marks = world.store.peek("ConfigMap", NAMESPACE, "serinus-marks")
                assert marks is not None
                assert not marks.get("data")

    run(main())


class _Leases:
    """Answers of an API server about Leases, one after the other; the last one stays."""

    def __init__(self, *answers: object) -> None:
        self._answers = list(answers)

    async def list(self, *_args: object, **_options: object) -> Any:
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_a_lease_that_may_not_be_read_keeps_nobody_from_driving() -> None:
    async def main() -> None:
        async with a_cluster() as (world, _argo):
            cluster: Any = _Leases(Forbidden("no"))
            other = OtherEngine(cluster, world.clock, leases=(LOCK,), quiet_seconds=60)
            await other.check()
            assert other.why == ""

    run(main())


def test_leases_that_cannot_be_read_now_are_waited_for() -> None:
    async def main() -> None:
        async with a_cluster() as (world, _argo):
            cluster: Any = _Leases(Unavailable("later"))
            other = OtherEngine(cluster, world.clock, leases=(LOCK,), quiet_seconds=60)
            with pytest.raises(Unavailable):
                await other.check()

    run(main())


def test_a_named_lease_is_asked_for_by_its_name_and_one_without_a_holder_is_nobodys() -> None:
    async def main() -> None:
        async with a_cluster() as (world, argo):
            named = OtherEngine(
                world.store, world.clock, leases=(f"argo-rollouts/{LOCK}", f"elsewhere/{LOCK}"), quiet_seconds=60
            )  # fmt: skip
            await named.check()
            assert named.why == ""
            await argo.start()
            await named.check()
            assert "argo-1" in named.why
            await argo.stop()
            body = {"spec": {"holderIdentity": ""}}
            await world.store.merge_patch(KINDS["Lease"], "argo-rollouts", LOCK, body)
            await named.check()
            assert named.why == ""
            named.changed(Ref("Service", "shop", "web"), None, {"metadata": {}})
            named.changed(Ref("Rollout", "shop", "web"), {"metadata": {}}, None)
            assert named.why == ""

    run(main())
