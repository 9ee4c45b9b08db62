"""Companions beside an engine that drives: the world's own engine plays Argo's controller."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from agent.api.meta import Object
from agent.bus.port import Record
from agent.cluster.cache import Cache
from agent.cluster.port import KINDS, Kind
from agent.engine.companion.engine import CompanionEngine
from agent.engine.options import Options
from agent.traffic.routers import ROUTERS
from tests.simulation.bus import SimulatedBus
from tests.simulation.faults import CALM, Connection, Crash, Weather
from tests.simulation.world import World

NAMESPACE: Final = "serinus"
CACHED: Final = ("Rollout", "ReplicaSet", "AnalysisRun", "VirtualService")


class Companion:
    """One replica; it may die at any named point.

    Attributes:
        wrote: kind and verb of everything it wrote.
    """

    def __init__(
        self,
        world: World,
        bus: SimulatedBus,
        *,
        crash_at: tuple[str, int] | None = None,
        weather: Weather = CALM,
    ) -> None:
        self._world = world
        self._crash_at = crash_at
        self._killed = asyncio.Event()
        self.reached: Counter[str] = Counter()
        self.wrote: set[tuple[str, str]] = set()
        self.connection = Connection(
            world.store, world.clock, world.rng, weather, wrote=self._note_write
        )
        self.cache = Cache(self.connection, CACHED, world.clock)
        self.engine = CompanionEngine(
            self.connection,
            self.cache,
            world.clock,
            ROUTERS,
            marks_namespace=NAMESPACE,
            options=Options(seed=1, source="companion", topic="serinus.rollouts"),
            bus=bus,
            reach=self._reach,
        )
        self.cache.on_change(self.engine.changed)

    async def run(self) -> None:
        """Live; raises Crash at the death."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._die())
                group.create_task(self.cache.run())
                await self.cache.synced.wait()
                await self.engine.run()
        except BaseExceptionGroup as errors:
            self.connection.dead = True
            if errors.subgroup(lambda error: not isinstance(error, Crash | BaseExceptionGroup)):
                raise
            raise Crash from None

    def kill(self) -> None:
        """kill -9: nothing that it does from now on reaches anybody."""
        self.connection.dead = True
        self._killed.set()

    async def _die(self) -> None:
        await self._killed.wait()
        raise Crash

    def _note_write(
        self, _connection: Connection, verb: str, kind: Kind, _namespace: str, _name: str
    ) -> None:
        self.wrote.add((kind.kind, verb))
        if kind.kind == "Rollout":
            self._world.checker.foreign_write()

    def _reach(self, point: str) -> None:
        self.reached[point] += 1
        if self.connection.dead or self._crash_at == (point, self.reached[point]):
            self.kill()
            raise Crash(point)


class Beside:
    """The companions of a world, and what they have told."""

    def __init__(self, world: World, replicas: int, weather: Weather) -> None:
        self._world = world
        self._weather = weather
        self.bus = SimulatedBus(world.clock, world.rng, CALM, lambda _event_id: None)
        self.living: list[Companion | None] = [None] * replicas
        self.deaths = 0
        self.wrote: set[tuple[str, str]] = set()

    @property
    def engine(self) -> CompanionEngine:
        """The first companion's engine."""
        companion = self.living[0]
        assert companion is not None
        return companion.engine

    async def supervise(self, number: int, crash_at: list[tuple[str, int]]) -> None:
        """Start one again after each of its deaths."""
        while True:
            companion = Companion(
                self._world, self.bus, crash_at=crash_at.pop(0) if crash_at else None, weather=self._weather
            )  # fmt: skip
            self.living[number] = companion
            try:
                await companion.run()
            except Crash:
                self.deaths += 1
            finally:
                self.wrote |= companion.wrote
            self.living[number] = None
            await self._world.clock.sleep(0.5)

    def told(self) -> list[tuple[Any, ...]]:
        """Transition, step and weights of every event, each id once, in order."""
        return [gist(event) for event in self.bus.events()]

    def marks(self) -> Object:
        """The ConfigMap."""
        return self._world.store.peek("ConfigMap", NAMESPACE, "serinus-marks") or {"data": {}}


def gist(event: dict[str, Any]) -> tuple[Any, ...]:
    """What an event tells, without who told it and when."""
    data = event["data"]
    weights = data.get("weights") or {}
    transition = event["type"].split(".")[-2]
    step = (data.get("step") or {}).get("index", 0) if transition == "step" else None
    return (
        transition, (data.get("new") or {}).get("hash"), step,
        (weights.get("before", 0), weights.get("after", 0)) if weights else None,
    )  # fmt: skip


@asynccontextmanager
async def beside(
    world: World, *crash_at: tuple[str, int], replicas: int = 1, weather: Weather = CALM
) -> AsyncIterator[Beside]:
    """Companions live inside the block; the first to start dies at the first of the points, and so on."""
    found = Beside(world, replicas, weather)
    waiting = list(crash_at)
    tasks = [asyncio.create_task(found.supervise(n, waiting)) for n in range(replicas)]
    try:
        await world.until(
            lambda: all(c is not None and c.cache.synced.is_set() for c in found.living),
            within=30,
            what="the companions look",
        )
        yield found
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for companion in found.living:
            if companion is not None:
                found.wrote |= companion.wrote
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def merge(world: World, patch: dict[str, Any], *, status: bool = False) -> None:
    """What another tool writes on the one rollout of the shop."""
    await world.store.merge_patch(KINDS["Rollout"], "shop", "web", patch, status=status)
    world.checker.foreign_write()


def records(bus: SimulatedBus) -> list[Record]:
    """Everything that was published, in order, duplicates included."""
    return list(bus.records)
