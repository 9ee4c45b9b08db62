"""Candidates for a lease on a virtual clock: machines that can stall, lines that can break."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import msgspec

from agent.api.meta import Key, Object
from agent.clock import LoopClock
from agent.cluster.local.store import LocalCluster
from agent.cluster.port import KINDS, Kind
from agent.engine.lease import LeaseOwner, Terms
from agent.errors import Unavailable

T = TypeVar("T")

EPOCH = datetime(2026, 5, 1, 10, tzinfo=UTC)
LEASE = KINDS["Lease"]
WEB = Key("shop", "web")
TERMS = Terms(name="serinus", namespace="ops", identity="")


class Machine:
    """A clock of its own: it may be hours off, run faster, and the process on it may stand still."""

    def __init__(self, *, skew: timedelta = timedelta(0), rate: float = 1.0) -> None:
        self._loop = LoopClock(EPOCH + skew)
        self._rate = rate
        self._moves = asyncio.Event()
        self._moves.set()

    def now(self) -> datetime:
        return self._loop.now()

    def monotonic(self) -> float:
        return self._loop.monotonic() * self._rate

    async def sleep(self, seconds: float) -> None:
        await self._loop.sleep(seconds / self._rate)
        await self.moves()

    def stop(self) -> None:
        """As SIGSTOP does."""
        self._moves.clear()

    def go(self) -> None:
        """As SIGCONT does."""
        self._moves.set()

    async def moves(self) -> None:
        """Wait while it stands still; a deadline that passes meanwhile is noticed afterwards only."""
        while not self._moves.is_set():
            try:
                await self._moves.wait()
            except asyncio.CancelledError:
                await self._moves.wait()
                raise


class Line(LocalCluster):
    """One process's line to the cluster of all."""

    def __init__(self, store: LocalCluster, machine: Machine, rng: random.Random) -> None:
        self._store = store
        self._machine = machine
        self._rng = rng
        self.latency = 0.01
        self.error: Exception | None = None
        self.loses_answers = False
        self.answer_seconds = 0.0
        self.writes = 0

    async def get(self, kind: Kind, namespace: str, name: str, **options: Any) -> Object:
        return await self._over(lambda: self._store.get(kind, namespace, name))

    async def create(self, kind: Kind, obj: Object) -> Object:
        self.writes += 1
        return await self._over(lambda: self._store.create(kind, obj), writes=True)

    async def merge_patch(self, *args: Any, **options: Any) -> Object:
        self.writes += 1
        del options["urgent"]
        return await self._over(lambda: self._store.merge_patch(*args, **options), writes=True)

    async def _over(self, call: Callable[[], Awaitable[T]], *, writes: bool = False) -> T:
        if (error := self.error) is not None:
            await self._machine.sleep(self._delay())
            raise error
        # What was sent is carried out, although the sender may stop waiting for it.
        answer = await asyncio.shield(asyncio.ensure_future(self._arriving(call)))
        await self._machine.sleep(self._delay() + self.answer_seconds)
        if writes and self.loses_answers:
            raise Unavailable("simulated: the answer was lost")
        return answer

    async def _arriving(self, call: Callable[[], Awaitable[T]]) -> T:
        await asyncio.sleep(self._delay())
        return await call()

    def _delay(self) -> float:
        return self._rng.uniform(0, self.latency)


class Replica:
    """A process that wants the lease."""

    def __init__(
        self,
        store: LocalCluster,
        name: str,
        rng: random.Random | None = None,
        *,
        machine: Machine | None = None,
        **options: Any,
    ) -> None:
        self.machine = machine or Machine()
        self.line = Line(store, self.machine, rng or random.Random(name))
        self.changes: list[str] = []
        terms = msgspec.structs.replace(TERMS, identity=name)
        self.owner = LeaseOwner(
            self.line, self.machine, terms, counted=self.changes.append, **options
        )
        self.heard: list[tuple[float, bool]] = []
        now = asyncio.get_running_loop().time
        self.owner.on_change(lambda: self.heard.append((now(), self.owner.owns(WEB))))
        self._task: asyncio.Task[None] | None = None
        self._end = asyncio.Event()

    def start(self) -> None:
        self._end.clear()
        self._task = asyncio.create_task(self._live())

    async def _live(self) -> None:
        async with asyncio.TaskGroup() as group, self.owner.campaigning(group):
            await self._end.wait()

    async def stop(self) -> None:
        """SIGTERM."""
        self._end.set()
        assert self._task is not None
        await self._task
        self._task = None

    async def kill(self) -> None:
        """SIGKILL: nothing it does reaches the cluster any more."""
        self.line.error = Unavailable("simulated: dead")
        self.machine.go()
        await self.stop()
        self.changes.clear()


@asynccontextmanager
async def running(*replicas: Replica) -> AsyncIterator[None]:
    for replica in replicas:
        replica.start()
        await asyncio.sleep(1)
    try:
        yield
    finally:
        for replica in replicas:
            if replica._task is not None:
                await replica.stop()


def spec(store: LocalCluster) -> dict[str, Any]:
    lease = store.peek("Lease", "ops", "serinus")
    assert lease is not None
    found: dict[str, Any] = lease["spec"]
    return found


async def until_owner(replica: Replica, within: float = 30) -> float:
    """Seconds until it drives."""
    began = asyncio.get_running_loop().time()
    async with asyncio.timeout(within):
        while not replica.owner.holds():
            await asyncio.sleep(0.01)
    return asyncio.get_running_loop().time() - began


def calm(replica: Replica) -> None:
    replica.machine.go()
    replica.line.error = None
    replica.line.loses_answers = False
    replica.line.latency = 0.05
