"""Aborts at once: few side by side, in order, and none that keeps the others waiting."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from agent.api.meta import Key
from agent.engine.aborts import AT_ONCE, SLOW_SECONDS, Aborts
from agent.engine.port import Outcome
from agent.events.catalogue import Cause, Expect

pytestmark = pytest.mark.looptime(start=0)

CAUSE = Cause(kind="alert", summary="too many errors")
KEYS = [Key("shop", f"web-{number}") for number in range(5 * AT_ONCE)]


class Runs:
    """Runs whose intent takes `seconds`, and as long the weight."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.slow: set[Key] = set()
        self.begun: list[Key] = []
        self.off: dict[Key, float] = {}
        self.under_way = self.most = 0

    def begin(self, key: Key, _cause: Cause, _expect: Expect | None) -> "Run":
        return Run(self, key)


class Run:
    def __init__(self, runs: Runs, key: Key) -> None:
        self._runs = runs
        self._key = key

    async def write_intent(self) -> Outcome:
        runs = self._runs
        runs.begun.append(self._key)
        runs.under_way += 1
        runs.most = max(runs.most, runs.under_way)
        # Here and below: virtual time.
        await asyncio.sleep(100 if self._key in runs.slow else runs.seconds)
        return Outcome(result="done")

    async def take_off(self, *, announce: bool) -> None:
        assert announce
        await asyncio.sleep(self._runs.seconds)
        self._runs.off[self._key] = asyncio.get_running_loop().time()
        self._runs.under_way -= 1


@asynccontextmanager
async def aborting(runs: Runs) -> AsyncIterator[Aborts]:
    async with asyncio.TaskGroup() as group:
        yield Aborts(runs.begin, spawn=group.create_task)


async def test_in_a_storm_few_run_side_by_side_and_the_first_is_over_first() -> None:
    runs = Runs(seconds=0.1)
    async with aborting(runs) as aborts:
        outcomes = await asyncio.gather(*(aborts.abort(key, CAUSE, None) for key in KEYS))
        assert aborts.busy, "the last weights are on their way"
    assert [outcome.result for outcome in outcomes] == ["done"] * len(KEYS)
    assert (aborts.busy, runs.most) == (False, AT_ONCE)
    assert runs.begun == KEYS
    ends = [runs.off[key] for key in KEYS]
    assert ends[:AT_ONCE] == [pytest.approx(0.2)] * AT_ONCE, "not at the end of the storm"
    assert ends[-1] == pytest.approx(1.0)


async def test_those_that_hang_keep_nobody_waiting_for_long() -> None:
    runs = Runs(seconds=0.1)
    runs.slow = set(KEYS[:AT_ONCE])
    async with aborting(runs) as aborts:
        await asyncio.gather(
            *(aborts.abort(key, CAUSE, None) for key in KEYS), return_exceptions=True
        )
    assert set(runs.off) == set(KEYS[AT_ONCE:])
    assert runs.off[KEYS[AT_ONCE]] == pytest.approx(SLOW_SECONDS + 0.2)
    assert max(runs.off.values()) == pytest.approx(SLOW_SECONDS + 0.8)
