"""Lanes: serial per rollout, coalesced, bounded. All sleeps are of virtual time."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from agent.api.meta import Key
from agent.engine.lane import Epoch, Lanes

pytestmark = pytest.mark.looptime(start=0)

SHOP = Key("shop", "web")


class Passes:
    """Passes that take `seconds` and answer what `delays` says."""

    def __init__(self, seconds: float = 1.0) -> None:
        self.seconds = seconds
        self.delays: dict[Key, list[float | None]] = {}
        self.runs: list[tuple[float, Key, tuple[str, ...]]] = []
        self.epochs: list[Epoch] = []
        self.under_way: dict[Key, int] = {}
        self.most = 0

    async def __call__(self, key: Key, epoch: Epoch, causes: tuple[str, ...]) -> float | None:
        self.runs.append((asyncio.get_running_loop().time(), key, causes))
        self.epochs.append(epoch)
        self.under_way[key] = self.under_way.get(key, 0) + 1
        assert self.under_way[key] == 1, "two passes of one rollout at the same time"
        self.most = max(self.most, sum(self.under_way.values()))
        await asyncio.sleep(self.seconds)
        self.under_way[key] -= 1
        delays = self.delays.get(key)
        return delays.pop(0) if delays else None

    def times(self, key: Key = SHOP) -> list[float]:
        return [at for at, who, _ in self.runs if who == key]


@asynccontextmanager
async def running(
    passes: Passes, parallel: int = 64, urgent: Callable[[], bool] = lambda: False
) -> AsyncIterator[Lanes]:
    lanes = Lanes(passes, parallel=parallel, urgent=urgent)
    task = asyncio.create_task(lanes.run())
    try:
        yield lanes
    finally:
        await lanes.drain(100)
        await task


async def test_many_wakes_before_a_pass_are_one_pass() -> None:
    passes = Passes()
    async with running(passes) as lanes:
        for cause in ("a", "b", "a", "c"):
            lanes.wake(SHOP, cause)
        await asyncio.sleep(5)
    assert [causes for _, _, causes in passes.runs] == [("a", "b", "c")]


async def test_a_wake_during_a_pass_causes_one_more_pass() -> None:
    passes = Passes()
    async with running(passes) as lanes:
        lanes.wake(SHOP, "first")
        await asyncio.sleep(0.5)
        lanes.wake(SHOP, "second")
        lanes.wake(SHOP, "third")
        await asyncio.sleep(5)
    assert passes.times() == [0.0, 1.0]


async def test_an_idle_lane_holds_neither_task_nor_memory() -> None:
    passes = Passes()
    async with running(passes) as lanes:
        for number in range(100):
            lanes.wake(Key("shop", f"web-{number}"), "start")
        await asyncio.sleep(10)
        assert lanes.depth == 0
        assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("lane")]


async def test_no_more_than_the_allowed_passes_run_side_by_side() -> None:
    passes = Passes()
    async with running(passes, parallel=3) as lanes:
        for number in range(10):
            lanes.wake(Key("shop", f"web-{number}"), "start")
        await asyncio.sleep(10)
    assert passes.most == 3
    assert len(passes.runs) == 10


async def test_beside_what_is_more_urgent_passes_run_one_by_one() -> None:
    passes = Passes()
    abort = True
    async with running(passes, urgent=lambda: abort) as lanes:
        for number in range(10):
            lanes.wake(Key("shop", f"web-{number}"), "start")
        await asyncio.sleep(3.5)
        assert (passes.most, len(passes.runs)) == (1, 4)
        abort = False
        await asyncio.sleep(1)
        assert len(passes.runs) == 10, "all of them at the end of the one"
    assert passes.most == 6


async def test_a_cancelled_end_starts_no_pass_that_waits() -> None:
    passes = Passes()
    lanes = Lanes(passes, parallel=1)
    task = asyncio.create_task(lanes.run())
    for number in range(3):
        lanes.wake(Key("shop", f"web-{number}"), "start")
    await asyncio.sleep(0.5)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await asyncio.sleep(5)
    assert len(passes.runs) == 1


async def test_a_delay_holds_back_ordinary_wakes() -> None:
    passes = Passes(seconds=0)
    passes.delays[SHOP] = [5.0]
    async with running(passes) as lanes:
        lanes.wake(SHOP, "start")
        await asyncio.sleep(1)
        lanes.wake(SHOP, "change")
        await asyncio.sleep(10)
    assert passes.times() == [0.0, 5.0]


async def test_an_urgent_wake_ends_a_delay() -> None:
    passes = Passes(seconds=0)
    passes.delays[SHOP] = [5.0]
    async with running(passes) as lanes:
        lanes.wake(SHOP, "start")
        await asyncio.sleep(1)
        lanes.wake(SHOP, "command", urgent=True)
        await asyncio.sleep(10)
    assert passes.times() == [0.0, 1.0]


async def test_an_urgent_wake_during_a_pass_ends_the_delay_that_this_pass_asks_for() -> None:
    passes = Passes(seconds=1)
    passes.delays[SHOP] = [5.0]
    async with running(passes) as lanes:
        lanes.wake(SHOP, "start")
        await asyncio.sleep(0.5)
        lanes.wake(SHOP, "command", urgent=True)
        await asyncio.sleep(10)
    assert passes.times() == [0.0, 1.0]


async def test_bump_ends_the_right_of_the_running_pass_only() -> None:
    passes = Passes()
    async with running(passes) as lanes:
        lanes.bump(SHOP)
        lanes.wake(SHOP, "start")
        await asyncio.sleep(0.5)
        lanes.bump(SHOP)
        await asyncio.sleep(5)
    assert [epoch.ended for epoch in passes.epochs] == [True, False]


async def test_a_suspended_lane_starts_no_pass_and_makes_up_for_it_afterwards() -> None:
    passes = Passes(seconds=0)
    async with running(passes) as lanes:
        with lanes.suspended(SHOP):
            lanes.wake(SHOP, "change")
            lanes.wake(Key("shop", "other"), "change")
            await asyncio.sleep(3)
            assert passes.times() == []
            assert passes.times(Key("shop", "other")) == [0.0]
        await asyncio.sleep(1)
    assert passes.times() == [3.0]


async def test_a_pass_that_fails_does_not_take_the_others_down() -> None:
    ran: list[Key] = []

    async def run_pass(key: Key, _epoch: Epoch, _causes: tuple[str, ...]) -> float | None:
        ran.append(key)
        if key == SHOP:
            raise RuntimeError("a defect")
        return None

    lanes = Lanes(run_pass)
    task = asyncio.create_task(lanes.run())
    lanes.wake(SHOP, "start")
    lanes.wake(Key("shop", "other"), "start")
    await asyncio.sleep(0.5)
    await lanes.drain(1)
    await task
    assert ran == [SHOP, Key("shop", "other")]


@pytest.mark.parametrize(
    ("deadline", "clean"),
    [(2.0, True), (0.5, False)],
    ids=["a pass that ends in time is waited for", "a pass that does not is cancelled"],
)
async def test_draining(deadline: float, clean: bool) -> None:
    passes = Passes(seconds=1)
    lanes = Lanes(passes)
    task = asyncio.create_task(lanes.run())
    lanes.wake(SHOP, "start")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    lanes.wake(SHOP, "again")
    assert await lanes.drain(deadline) is clean
    await task
    lanes.wake(SHOP, "too late")
    assert passes.times() == [0.0]
