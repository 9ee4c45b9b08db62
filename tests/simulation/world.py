"""A cluster that goes on living, and processes of the agent in it that may die at any moment."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from agent.api.meta import Key, Object, Ref
from agent.api.names import POD_TEMPLATE_HASH
from agent.clock import LoopClock
from agent.cluster.cache import Cache
from agent.cluster.local.store import LocalCluster
from agent.cluster.local.workloads import Workloads
from agent.cluster.port import KINDS, Kind
from agent.engine.engine import RolloutEngine
from agent.engine.lease import LeaseOwner
from agent.engine.level import LevelCheck, no_alerts
from agent.engine.options import Options
from agent.engine.passes import Decide
from agent.errors import SerinusError
from agent.rollout.decide import decide
from agent.rollout.types import Policy
from agent.traffic.routers import ROUTERS
from tests.simulation.bus import SimulatedBus
from tests.simulation.faults import CALM, Connection, Crash, Weather
from tests.simulation.gateway import GatewayController
from tests.simulation.invariants import GATEWAY_KINDS, Checker
from tests.simulation.manifests import KEY, ROUTE, weights_of
from tests.simulation.narrate import narrate

EPOCH: Final = datetime(2026, 5, 1, 10, tzinfo=UTC)
CACHED: Final = (
    "Rollout", "ReplicaSet", "Service", "VirtualService", "DestinationRule", "HTTPRoute", "GRPCRoute", "AnalysisRun",
    "Experiment", "AnalysisTemplate", "ClusterAnalysisTemplate", "Namespace",
)  # fmt: skip


class Shares:
    """agent.engine.ownership.Ownership of one process; the world says who owns what."""

    def __init__(self, world: "World", number: int) -> None:
        self._world = world
        self._number = number
        self._callbacks: list[Callable[[], None]] = []

    def owns(self, key: Key) -> bool:
        """Whether this process drives, or (during a rebalance) believes that it does."""
        return self.holds()

    def holds(self) -> bool:
        """The one rollout, or nothing."""
        return self._number in self._world.owners

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call back after a rebalance."""
        self._callbacks.append(callback)

    @asynccontextmanager
    async def campaigning(self, group: asyncio.TaskGroup) -> AsyncIterator[None]:
        """Nothing to do: see LeaseOwner."""
        yield

    def changed(self) -> None:
        """A rebalance happened."""
        for callback in self._callbacks:
            callback()


class Process:
    """One process of the agent; it ends by its death."""

    def __init__(self, world: "World", number: int, crash_at: tuple[str, int] | None) -> None:
        self._world = world
        self._crash_at = crash_at
        self._killed = asyncio.Event()
        self.reached: Counter[str] = Counter()
        self.connection = Connection(
            world.store,
            world.clock,
            world.rng,
            world.weather,
            writes=self._writes,
            wrote=self._wrote,
            read=world.checker.read,
        )
        self.shares = world.ownership(number, self.connection)
        self.cache = Cache(self.connection, CACHED, world.clock)
        self.engine = RolloutEngine(
            self.connection,
            self.cache,
            world.clock,
            world.decide,
            ROUTERS,
            options=Options(
                policy=world.policy,
                seed=world.rng.randrange(1 << 30),
                dump_directory=world.dump_directory,
            ),
            bus=world.bus,
            ownership=self.shares,
            reach=self._reach,
        )
        self.engine.use_level_check(world.level_check)
        self.cache.on_change(self.engine.changed)

    async def run(self) -> None:
        """Live; raises Crash at the death."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._die(), name="death")
                group.create_task(self.cache.run(), name="cache")
                await self.cache.synced.wait()
                async with self.shares.campaigning(group):
                    await self.engine.run()
        except BaseExceptionGroup as errors:
            self.connection.dead = True
            if errors.subgroup(lambda error: not isinstance(error, Crash | BaseExceptionGroup)):
                raise
            raise Crash from None

    def kill(self) -> None:
        """From now on nothing that this process does reaches the store."""
        self.connection.dead = True
        self._killed.set()

    async def _die(self) -> None:
        await self._killed.wait()
        raise Crash

    def _writes(self, kind: Kind, name: str) -> None:
        """Before each write (core Events aside): a test may refuse it here."""
        if kind.kind != "Event":
            self._world.refuse(kind.kind, name)
            self._world.at("before-write")

    def _wrote(
        self, connection: Connection, verb: str, kind: Kind, namespace: str, name: str
    ) -> None:
        """After each write, before its answer: a test may end the process here."""
        self._world.checker.wrote(connection, verb, kind, namespace, name)
        if kind.kind != "Event":
            self._reach("after-write")

    def _reach(self, point: str) -> None:
        self.reached[point] += 1
        self._world.at(point)
        if self.connection.dead or self._crash_at == (point, self.reached[point]):
            self.kill()
            raise Crash(point)


class World:
    """Store, pods, clock, bus and checker; and the processes that live now.

    Args:
        replicas: how many processes; the first one owns everything at the beginning.
        level_check: what the processes ask before a raise.
        decide: the pure core, or something that fails where a test wants it to.
        route_kind: of the route object `shop/web` that is looked at; for an HTTPRoute a controller answers.
    """

    is_verbose = False
    """Whether everything that is stored is printed (replay of one seed)."""

    def __init__(
        self,
        seed: int,
        *,
        weather: Weather = CALM,
        ready_seconds: float = 1.0,
        replicas: int = 1,
        policy: Policy | None = None,
        level_check: LevelCheck = no_alerts,
        decide: Decide = decide,
        dump_directory: Path | None = None,
        route_kind: str = ROUTE.kind,
    ) -> None:
        self.route = Ref(route_kind, ROUTE.namespace, ROUTE.name)
        self.decide = decide
        self.dump_directory = dump_directory
        self.rng = random.Random(seed)
        self.weather = weather
        self.policy = policy or Policy(drain_seconds=1.0, compat="argo")
        self.clock = LoopClock(EPOCH)
        self.store = LocalCluster(self.clock)
        self.workloads = Workloads(self.store, self.clock, ready_seconds=ready_seconds)
        self.checker = Checker(self.store, self.clock, self.route)
        self.bus = SimulatedBus(self.clock, self.rng, weather, self.checker.published.add)
        self.level_check = level_check
        self.gateway = GatewayController(
            self.store,
            self.clock,
            random.Random(f"gateway {seed}"),
            kinds=GATEWAY_KINDS,
            wrote=self.checker.remember,
        )
        self.crashes = 0
        self.reached: Counter[str] = Counter()
        self.owners = {0}
        self.processes: list[Process | None] = [None] * replicas
        self.background: list[asyncio.Future[Any]] = []
        self.refuse: Callable[[str, str], None] = lambda _kind, _name: None
        """Called with kind and name before each write; what it raises is the server's answer."""
        self._at: dict[tuple[str, int], Callable[[], None]] = {}
        self._reached: Counter[str] = Counter()

    async def apply(self, *objects: Object) -> None:
        """Create objects as their user."""
        for obj in objects:
            await self.store.create(KINDS[obj["kind"]], obj)
        self.checker.remember()

    @asynccontextmanager
    async def alive(self, *crash_at: tuple[str, int]) -> AsyncIterator["World"]:
        """Pods and processes live inside the block; after each death a new process comes up.

        The first process to start dies at the first of the crash points, the next to start at the second,
        and so on.
        """
        waiting = list(crash_at)
        told = ("Rollout", "ReplicaSet", "Service", self.route.kind) if World.is_verbose else ()
        gateways = [self.gateway] if self.route.kind == "HTTPRoute" else []
        tasks = [
            *(asyncio.create_task(narrate(self.store, self.clock, kind)) for kind in told),
            asyncio.create_task(self.workloads.run(), name="workloads"),
            *(asyncio.create_task(item.run(), name="gateway") for item in gateways),
            *(
                asyncio.create_task(self._supervise(number, waiting), name=f"process {number}")
                for number in range(len(self.processes))
            ),
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

    async def _supervise(self, number: int, crash_at: list[tuple[str, int]]) -> None:
        while True:
            process = Process(self, number, crash_at.pop(0) if crash_at else None)
            self.processes[number] = process
            try:
                await process.run()
            except Crash:
                self.crashes += 1
            finally:
                self.reached += process.reached
            self.processes[number] = None
            await self.clock.sleep(self.rng.uniform(0.1, 1.5))

    def ownership(self, number: int, connection: Connection) -> Shares | LeaseOwner:
        """Who owns: the world says so."""
        return Shares(self, number)

    def crash(self) -> None:
        """One process dies."""
        living = [process for process in self.processes if process is not None]
        if living:
            self.rng.choice(living).kill()

    def rebalance(self, *owners: int) -> None:
        """From now on these processes believe that they own everything."""
        self.owners = set(owners)
        for process in self.processes:
            if process is not None and isinstance(process.shares, Shares):
                process.shares.changed()

    def when(self, point: str, time: int, happening: Callable[[], None]) -> None:
        """Do this when any process reaches a point for the n-th time, before it goes on."""
        self._at[point, time] = happening

    def at(self, point: str) -> None:
        """A process is at this point."""
        self._reached[point] += 1
        happening = self._at.pop((point, self._reached[point]), None)
        if happening is not None:
            happening()

    def reached_points(self) -> Counter[str]:
        """How often the processes have passed each crash point so far."""
        return Counter(self._reached)

    async def deliver(self, ask: Callable[[RolloutEngine], Awaitable[Any]]) -> Any:
        """Hand an event to some process, again and again until one has acknowledged it."""
        while True:
            process = self.rng.choice(self.processes)
            if process is not None and process.cache.synced.is_set():
                try:
                    return await ask(process.engine)
                except (SerinusError, Crash):
                    pass
                except asyncio.CancelledError:
                    task = asyncio.current_task()
                    if task is not None and task.cancelling():
                        raise
            await self.clock.sleep(0.2)

    @property
    def engine(self) -> RolloutEngine:
        """The engine of the first process."""
        process = self.processes[0]
        assert process is not None
        return process.engine

    async def until(
        self, holds: Callable[[], bool], *, within: float, what: str, every: float = 0.05
    ) -> None:
        """Wait for a condition on the store."""
        ends = self.clock.monotonic() + within
        while not holds():
            if self.clock.monotonic() > ends:
                raise AssertionError(
                    f"not within {within} s: {what}; status {self.status()}; "
                    f"weight {self.weight()}; violations {self.checker.violations}"
                )
            await self.clock.sleep(every)

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
        """The canary's weight in the route object."""
        route = self.store.peek(*self.route)
        assert route is not None
        return weights_of(route, self.rollout())[1]

    def selected(self, service: str) -> str:
        """The pod-template hash that a Service selects."""
        found = self.store.peek("Service", KEY.namespace, service) or {}
        selector = (found.get("spec") or {}).get("selector") or {}
        return str(selector.get(POD_TEMPLATE_HASH, ""))

    def violations(self) -> list[str]:
        """Everything that is broken so far."""
        return [*self.checker.violations, *self.bus.violations()]
