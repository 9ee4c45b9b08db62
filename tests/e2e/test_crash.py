"""kill -9 between two writes: the same end, every transition announced, none under two ids."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec
import pytest

from agent.api.times import format_time_ms
from agent.engine.crash_points import CRASH_POINTS
from tests.e2e.announcements import promoted
from tests.e2e.bed.run import Run
from tests.e2e.canary import NAME
from tests.e2e.collector import a_prometheus
from tests.e2e.manifests import everything, renamed, short, steps_of
from tests.e2e.processes import until
from tests.e2e.real_stage import RealStage, shared_staged
from tests.e2e.stage import firing, staged

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(300),
]
DATA = Path(__file__).parent / "data"

UNREACHED: Final = "after-done-status"
"""A weight is told when it was read back, with the next status (tests/simulation/test_interleavings.py)."""
ABORT: Final = [point for point in CRASH_POINTS if point.startswith("abort-")]
UP: Final = [point for point in CRASH_POINTS if point not in (*ABORT, UNREACHED)]

DEATHS: Final = 25
SESSION_SECONDS: Final = 2.0
"""Kafka gives the partitions of a killed agent to the next one after this time."""
SLOW_SECONDS: Final = 90.0
"""For what goes on while the agent dies more than once."""


class Kubelet:
    """Starts the agent again whenever it has died, each time to die at the next point that is left."""

    def __init__(self, stage: RealStage, points: list[str]) -> None:
        self._stage = stage
        self._left = list(points)
        self._next = ""
        self.died: list[str] = []

    @property
    def done(self) -> bool:
        """Whether it has died at all of them, and lives."""
        return not self._left and not self._next and self._stage.agent.running

    async def run(self) -> None:
        while True:
            self._next = self._left.pop(0) if self._left else ""
            crash = {"SERINUS_CRASH_AT": self._next} if self._next else {}
            await self._stage.start_agent(**crash)
            # An event loop of its own has no signal of a child's end that would be simpler than asking.
            while self._stage.agent.running:
                await asyncio.sleep(0.02)
            code = await self._stage.agent.wait()
            assert (code, bool(self._next)) == (-9, True), self._stage.agent.tail()
            self.died.append(self._next)


@asynccontextmanager
async def _dying_at(stage: RealStage, points: list[str]) -> AsyncIterator[Kubelet]:
    """In the middle of everything, until the agent has died at each of these points."""
    assert await stage.agent.terminate() == 0
    kubelet = Kubelet(stage, points)
    task = asyncio.create_task(kubelet.run(), name="kubelet")
    try:
        yield kubelet
        assert not task.done(), task.exception()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert kubelet.died == points


@asynccontextmanager
async def _deployed(directory: Path, bed: Run) -> AsyncIterator[RealStage]:
    """The first version is out, by an agent that is well."""
    async with (
        shared_staged(directory, bed, session_timeout_seconds=SESSION_SECONDS) as stage,
        a_prometheus() as prometheus,
    ):
        await stage.start_agent()
        await stage.apply(*renamed(everything(prometheus.url), stage.namespace))
        await stage.until_promoted()
        await stage.until_quiet()
        yield stage


async def _weights(stage: RealStage) -> list[int]:
    """The canary's weight on all routes."""
    routes = [stage, stage.canary(f"{NAME}-two")]
    return [await route.weight() for route in routes]


async def test_deaths_at_every_point_on_the_way_up_change_nothing(tmp_path: Path, bed: Run) -> None:
    runs = 0
    async with _deployed(tmp_path, bed) as stage, _dying_at(stage, UP) as kubelet:
        while not kubelet.done:
            assert runs < len(UP), f"died at {kubelet.died} only"
            runs += 1
            await stage.set_image(f"{NAME}:v{runs + 1}")
            await stage.until_phase("Paused", deadline_seconds=SLOW_SECONDS)
            await _promote_until_taken(stage, f"promote-{runs}")
            await stage.until_promoted(deadline_seconds=SLOW_SECONDS)
        await stage.until_quiet()
        assert await _weights(stage) == [0, 0]
        told = stage.told.told_once()
        one = promoted(steps_of(everything("")))
        expected = Counter({what: runs * times for what, times in one.items()})
        # The first deploy says no more than that it is done.
        expected["completed", "", ""] += 1
        assert told == expected, f"{runs} versions went out"


async def test_deaths_at_every_point_on_the_way_down_change_nothing(
    tmp_path: Path, bed: Run
) -> None:
    runs = 0
    async with _deployed(tmp_path, bed) as stage, _dying_at(stage, ABORT) as kubelet:
        while not kubelet.done:
            assert runs < len(ABORT), f"died at {kubelet.died} only"
            runs += 1
            await stage.set_image(f"{NAME}:v{runs + 1}")
            await stage.until_weight(20, deadline_seconds=SLOW_SECONDS)
            alert = firing(
                DATA / "alertmanager-firing-0.34.json", rollout=f"{stage.namespace}/{NAME}"
            )
            await _tell_until_taken(stage, alert)
            status = await stage.until_phase("Degraded", deadline_seconds=SLOW_SECONDS)
            await stage.until_weight(0)
            assert status["abort"] is True
            assert "CanaryBad" in status["message"]
            # It would count against the next version, too.
            over = [{**each, "status": "resolved"} for each in alert["alerts"]]
            await _tell_until_taken(stage, {**alert, "status": "resolved", "alerts": over})
        await stage.until_quiet()
        assert await _weights(stage) == [0, 0]
        told = stage.told.told_once()
        assert told["aborted", "", ""] == runs
        assert told["rolledback", 20, 0] == runs
        assert told["promoted", "", ""] == 0
        for event in stage.told.of_type("rolledback"):
            # Also where another process ended what the one that died had begun.
            evidence = event["data"]["cause"]["evidence"]
            assert evidence["labels"]["alertname"] == "CanaryBad"


async def _tell_until_taken(stage: RealStage, webhook: dict[str, Any]) -> None:
    """Post as Alertmanager does: again until somebody takes it."""
    await _until_taken(lambda: stage.alert(webhook), stage)


async def _promote_until_taken(stage: RealStage, event_id: str) -> None:
    status = await stage.status()
    event = {
        "specversion": "1.0",
        "id": event_id,
        "source": "/ci/test",
        "type": "dev.serinus.command.promote.v1",
        "time": format_time_ms(datetime.now(UTC)),
        "data": {
            "namespace": stage.namespace,
            "name": NAME,
            "actor": "ann",
            "expect": {"stepIndex": 1, "pauseStartTime": status["pauseConditions"][0]["startTime"]},
        },
    }
    body = msgspec.json.encode(event)
    headers = {"Content-Type": "application/cloudevents+json"}
    await _until_taken(lambda: stage.post("/", body, **headers), stage)


async def _until_taken(send: Callable[[], Awaitable[httpx.Response]], stage: RealStage) -> None:
    async def taken() -> bool:
        try:
            return (await send()).status_code == 202
        except httpx.HTTPError:
            return False

    await until(taken, "it is taken", deadline_seconds=SLOW_SECONDS, context=stage.agent)


@pytest.mark.parametrize("seed", range(2))
async def test_fifty_deaths_at_random(tmp_path: Path, seed: int) -> None:
    """25 in each of two runs: versions go out one after the other while the process is killed at any moment."""
    rng = random.Random(seed)
    async with staged(tmp_path, ready_seconds=0.05) as stage:
        await stage.start_agent()
        await stage.apply(*short())
        await stage.until_promoted()
        version, kills = 1, 0
        while kills < DEATHS:
            version += 1
            await stage.set_image(f"canary-demo:v{version}")
            while kills < DEATHS and not await stage.is_promoted():
                # The moment of death is what is random here.
                await asyncio.sleep(rng.uniform(0.05, 1.2))
                stage.agent.kill()
                await stage.agent.wait()
                kills += 1
                await stage.start_agent()
            await stage.until_promoted()
        await stage.until_quiet()
        told = stage.told.told_once()
        runs = version - 1
        for step in range(4):
            assert told["step", step, ""] == runs
        for before, after in ((0, 20), (20, 60), (60, 100), (100, 0)):
            assert told["weight", before, after] == runs, told
        assert told["promoted", "", ""] == runs
        assert told["completed", "", ""] == runs + 1
        assert told["aborted", "", ""] == 0
