"""Lanes: one serial line of passes per rollout, many rollouts side by side.

Wakes coalesce: however many come while a pass waits or runs, one more pass answers them all. An idle lane
holds neither a task nor memory.
"""

import asyncio
import contextlib
import contextvars
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

import structlog

from agent.api.meta import Key

log = structlog.get_logger(__name__)

MAX_CAUSES: Final = 8
BESIDE_URGENT: Final = 1
"""Passes side by side while there is something more urgent to do: one, so that nothing stands still for good."""


class Epoch:
    """One pass's right to write. The abort path ends it; the pass asks before every write."""

    __slots__ = ("ended",)

    def __init__(self) -> None:
        self.ended = False


RunPass = Callable[[Key, Epoch, tuple[str, ...]], Awaitable[float | None]]
"""One pass, with the causes of its wakes. Answers seconds until the next one (0: at once), None for "when woken".

During a delay ordinary wakes wait with it: that is what makes it a backoff. It never raises.
"""


class _Lane:
    __slots__ = ("again", "causes", "delay", "epoch", "queued_at", "urgent")

    def __init__(self) -> None:
        self.causes: list[str] = []
        self.again = False
        self.urgent = False
        self.epoch: Epoch | None = None
        self.delay: asyncio.TimerHandle | None = None
        self.queued_at: float | None = None


class Lanes:
    """The lanes of all rollouts.

    Args:
        run_pass: what a lane does when it is woken.
        parallel: how many passes may be under way at the same time.
        urgent: whether there is something more urgent to do.
        waited: called with the seconds that a wake spent in the queue (a metric).
    """

    def __init__(
        self,
        run_pass: RunPass,
        *,
        parallel: int = 64,
        urgent: Callable[[], bool] = lambda: False,
        waited: Callable[[float], None] = lambda _seconds: None,
    ) -> None:
        self._run_pass = run_pass
        self._parallel = parallel
        self._urgent = urgent
        self._waited = waited
        self._lanes: dict[Key, _Lane] = {}
        self._ready: deque[Key] = deque()
        self._running: set[asyncio.Task[None]] = set()
        self._suspended: dict[Key, int] = {}
        self._group: asyncio.TaskGroup | None = None
        self._stopping = False
        self._idle = asyncio.Event()
        self._stopped = asyncio.Event()

    def wake(self, key: Key, cause: str, *, urgent: bool = False) -> None:
        """Have a pass run soon. Never waits. `urgent` does not wait for the end of a backoff."""
        if self._stopping:
            return
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = _Lane()
        if cause not in lane.causes and len(lane.causes) < MAX_CAUSES:
            lane.causes.append(cause)
        if lane.epoch is not None:
            lane.again = True
            lane.urgent = lane.urgent or urgent
        elif lane.delay is not None:
            if urgent:
                lane.delay.cancel()
                self._enqueue(key, lane)
        elif lane.queued_at is None:
            self._enqueue(key, lane)

    def bump(self, key: Key) -> None:
        """End the running pass's right to write (if one runs) and have another look afterwards."""
        lane = self._lanes.get(key)
        if lane is not None and lane.epoch is not None:
            lane.epoch.ended = True
            lane.again = lane.urgent = True

    def bump_all(self) -> None:
        """End every running pass's right to write."""
        for key in tuple(self._lanes):
            self.bump(key)

    @contextlib.contextmanager
    def suspended(self, key: Key) -> Iterator[None]:
        """Start no pass of this rollout inside the block; what was woken meanwhile runs afterwards."""
        self._suspended[key] = self._suspended.get(key, 0) + 1
        self.bump(key)
        try:
            yield
        finally:
            self._suspended[key] -= 1
            if not self._suspended[key]:
                del self._suspended[key]
            self.wake(key, "abort", urgent=True)
            self._start()

    def is_running(self, key: Key) -> bool:
        """Whether a pass of this rollout is under way."""
        lane = self._lanes.get(key)
        return lane is not None and lane.epoch is not None

    @property
    def depth(self) -> int:
        """Lanes that wait or run now."""
        return len(self._lanes)

    async def run(self) -> None:
        """Owns the passes' tasks until `drain` (or cancellation, which cancels them)."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            try:
                self._start()
                await self._stopped.wait()
            finally:
                # Before the passes under way are cancelled: their ends would start those that wait.
                self._group, self._stopping = None, True
                self._cancel_delays()

    async def drain(self, deadline_seconds: float, *, finish_waiting: bool = False) -> bool:
        """Take no more wakes and wait for the passes under way; cancel them at the deadline.

        With `finish_waiting` passes that were woken before still run. Whether all ended by themselves. A
        cancelled pass is safe: what it had decided is decided again from the objects.
        """
        self._stopping = True
        if not finish_waiting:
            self._ready.clear()
        self._cancel_delays()
        clean = True
        try:
            async with asyncio.timeout(deadline_seconds):
                while self._running or (self._ready and self._group is not None):
                    self._idle.clear()
                    await self._idle.wait()
        except TimeoutError:
            clean = False
            for task in self._running:
                task.cancel()
        self._stopped.set()
        return clean

    def _cancel_delays(self) -> None:
        for lane in self._lanes.values():
            if lane.delay is not None:
                lane.delay.cancel()

    def _enqueue(self, key: Key, lane: _Lane) -> None:
        lane.delay = None
        lane.queued_at = asyncio.get_running_loop().time()
        self._ready.append(key)
        self._start()

    def _start(self) -> None:
        held: list[Key] = []
        if self._stopped.is_set():
            return
        while self._group is not None and self._ready and len(self._running) < self._room():
            key = self._ready.popleft()
            if key in self._suspended:
                held.append(key)
                continue
            lane = self._lanes[key]
            lane.epoch = Epoch()
            # A context of its own: what was bound where it was woken says nothing about this lane.
            task = self._group.create_task(
                self._pass(key, lane), name=f"lane {key}", context=contextvars.Context()
            )
            self._running.add(task)
            task.add_done_callback(self._ended)
        self._ready.extend(held)

    def _room(self) -> int:
        return min(self._parallel, BESIDE_URGENT) if self._urgent() else self._parallel

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._idle.set()
        self._start()

    async def _pass(self, key: Key, lane: _Lane) -> None:
        epoch, causes = lane.epoch or Epoch(), tuple(lane.causes)
        lane.causes, lane.again, lane.urgent = [], False, False
        now = asyncio.get_running_loop().time()
        self._waited(now - (now if lane.queued_at is None else lane.queued_at))
        lane.queued_at = None
        delay: float | None = 1.0
        try:
            delay = await self._run_pass(key, epoch, causes)
        except Exception:
            # run_pass answers for its own failures; whatever gets here must not take the others down.
            log.exception("lane.pass_escaped", rollout=str(key))
        finally:
            lane.epoch = None
        self._settle(key, lane, delay)

    def _settle(self, key: Key, lane: _Lane, delay: float | None) -> None:
        if self._stopping:
            self._lanes.pop(key, None)
        elif delay is not None and delay > 0 and not lane.urgent:
            loop = asyncio.get_running_loop()
            lane.delay = loop.call_later(delay, self._enqueue, key, lane)
        elif lane.again or delay is not None:
            self._enqueue(key, lane)
        else:
            del self._lanes[key]
