"""A cluster that goes on living, and processes of the agent in it that may die at any moment."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from agent.api.meta import Object
from agent.bus.port import Receive, Record
from agent.clock import Clock, LoopClock
from agent.cluster.cache import Cache
from agent.cluster.local.store import LocalCluster
from agent.cluster.local.workloads import Workloads
from agent.cluster.port import KINDS
from agent.engine.engine import Options, RolloutEngine
from agent.engine.raising import LevelCheck, no_alerts
from agent.errors import SerinusError, Unavailable
from agent.rollout.decide import decide
from agent.rollout.types import Policy
from agent.traffic.routers import ROUTERS
from tests.simulation.faults import CALM, Connection, Crash, Weather
from tests.simulation.invariants import Checker
from tests.simulation.manifests import KEY, ROUTE

EPOCH: Final = datetime(2026, 5, 1, 10, tzinfo=UTC)
CACHED: Final = (
    "Rollout", "ReplicaSet", "Service", "VirtualService", "DestinationRule", "AnalysisRun",
    "Experiment", "AnalysisTemplate", "ClusterAnalysisTemplate", "Namespace",
)  # fmt: skip


class SimulatedBus:
    """agent.bus.port.Bus that keeps what was published."""

    durable = True

    def __init__(self, clock: Clock, rng: random.Random, weather: Weather) -> None:
        self._clock = clock
        self._rng = rng
        self._weather = weather
        self.records: list[Record] = []

    async def publish(self, record: Record) -> None:
        await self._clock.sleep(self._rng.uniform(0.001, 0.01))
        if self._rng.random() < self._weather.unavailable:
            raise Unavailable("simulated: the bus does not answer")
        self.records.append(record)
        if self._rng.random() < self._weather.lost_answer:
            raise Unavailable("simulated: the acknowledgement was lost")

    async def consume(self, topics: Any, receive: Receive) -> None:
        raise NotImplementedError

    async def aclose(self) -> None:
        """Nothing to close."""

    def events(self) -> list[dict[str, Any]]:
        """The announced events, each id once, in the order of their first publication."""
        seen: dict[str, dict[str, Any]] = {}
        for record in self.records:
            event = msgspec.json.decode(record.value or b"")
            seen.setdefault(event["id"], event)
        return list(seen.values())

    def violations(self) -> list[str]:
        """I5: one id, one content."""
        by_id: dict[str, bytes] = {}
        broken = []
        for record in self.records:
            body = record.value or b""
            event_id = msgspec.json.decode(body)["id"]
            if by_id.setdefault(event_id, body) != body:
                broken.append(f"I5 {event_id} was published with two contents")
        return broken


class Process:
    """One process of the agent; it ends by `stop` or by its death."""

    def __init__(
        self,
        world: "World",
        *,
        crash_at: tuple[str, int] | None,
        level_check: LevelCheck,
    ) -> None:
        self._crash_at = crash_at
        self._seen: Counter[str] = Counter()
        self.reached = self._seen
        clock = world.clock
        self.connection = Connection(
            world.store,
            clock,
            world.rng,
            world.weather,
            wrote=world.checker.wrote,
            read=world.checker.read,
        )
        self.cache = Cache(self.connection, CACHED, clock)
        self.engine = RolloutEngine(
            self.connection,
            self.cache,
            clock,
            decide,
            ROUTERS,
            options=Options(policy=world.policy, seed=world.rng.randrange(1 << 30)),
            bus=world.bus,
            level_check=level_check,
            reach=self._reach,
        )
        self.cache.on_change(self.engine.changed)

    async def run(self) -> None:
        """Live until stopped; raises Crash at the death."""
        try:
            async with asyncio.TaskGroup() as group:
                cache = group.create_task(self.cache.run())
                await self.cache.synced.wait()
                await self.engine.run()
                cache.cancel()
        except BaseExceptionGroup as errors:
            self.connection.dead = True
            if errors.subgroup(lambda error: not isinstance(error, Crash | BaseExceptionGroup)):
                raise
            raise Crash from None

    def kill(self) -> None:
        """From now on nothing that this process does reaches the store."""
        self.connection.dead = True

    def _reach(self, point: str) -> None:
        self._seen[point] += 1
        if self.connection.dead or self._crash_at == (point, self._seen[point]):
            self.kill()
            raise Crash(point)


class World:
    """Store, pods, clock, bus and checker; and the process that runs now, if one does."""

    def __init__(
        self,
        seed: int,
        *,
        weather: Weather = CALM,
        ready_seconds: float = 1.0,
        policy: Policy | None = None,
        level_check: LevelCheck = no_alerts,
    ) -> None:
        self.rng = random.Random(seed)
        self.weather = weather
        self.policy = policy or Policy(drain_seconds=1.0, compat="argo")
        self.clock = LoopClock(EPOCH)
        self.store = LocalCluster(self.clock)
        self.workloads = Workloads(self.store, self.clock, ready_seconds=ready_seconds)
        self.checker = Checker(self.store, self.clock)
        self.bus = SimulatedBus(self.clock, self.rng, weather)
        self.level_check = level_check
        self.crashes = 0
        self.reached: Counter[str] = Counter()
        self.process: Process | None = None

    async def apply(self, *objects: Object) -> None:
        """Create objects as their user."""
        for obj in objects:
            await self.store.create(KINDS[obj["kind"]], obj)
        self.checker.remember()

    @asynccontextmanager
    async def alive(self, *crash_at: tuple[str, int]) -> Any:
        """Pods and processes live inside the block; after each death a new process comes up.

        The first process dies at the first of the crash points, its successor at the second, and so on.
        """
        tasks = [
            asyncio.create_task(self.workloads.run(), name="workloads"),
            asyncio.create_task(self._supervise(list(crash_at)), name="supervisor"),
        ]
        try:
            yield self
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _supervise(self, crash_at: list[tuple[str, int]]) -> None:
        while True:
            self.process = Process(
                self,
                crash_at=crash_at.pop(0) if crash_at else None,
                level_check=self.level_check,
            )
            try:
                await self.process.run()
            except Crash:
                self.crashes += 1
            finally:
                self.reached += self.process.reached
            self.process = None
            await self.clock.sleep(self.rng.uniform(0.1, 1.5))

    def crash(self) -> None:
        """The process dies at its next request."""
        if self.process is not None:
            self.process.kill()

    async def deliver(self, ask: Callable[[RolloutEngine], Awaitable[Any]]) -> Any:
        """Hand an event to the process, again and again until one has acknowledged it."""
        while True:
            process = self.process
            if process is not None and process.cache.synced.is_set():
                try:
                    return await ask(process.engine)
                except SerinusError:
                    pass
                except asyncio.CancelledError:
                    task = asyncio.current_task()
                    if task is not None and task.cancelling():
                        raise
            await self.clock.sleep(0.2)

    async def until(self, holds: Callable[[], bool], *, within: float, what: str) -> None:
        """Wait for a condition on the store."""
        ends = self.clock.monotonic() + within
        while not holds():
            if self.clock.monotonic() > ends:
                raise AssertionError(
                    f"not within {within} s: {what}; status {self.status()}; "
                    f"weight {self.weight()}; violations {self.checker.violations}"
                )
            await self.clock.sleep(0.05)

    # A look at the store.

    def rollout(self) -> Object:
        """The Rollout."""
        found = self.store.peek("Rollout", *KEY)
        assert found is not None
        return found

    def status(self) -> dict[str, Any]:
        """Its status."""
        status: dict[str, Any] = self.rollout().get("status") or {}
        return status

    def weight(self) -> int:
        """The canary's weight in the VirtualService."""
        route = self.store.peek(*ROUTE)
        assert route is not None
        primary = next(item for item in route["spec"]["http"] if item["name"] == "primary")
        return int(primary["route"][1].get("weight") or 0)

    def violations(self) -> list[str]:
        """Everything that is broken so far."""
        return [*self.checker.violations, *self.bus.violations()]
