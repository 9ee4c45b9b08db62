"""kill -9 between two writes: the same end, every transition announced, none under two ids."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec
import pytest

from agent.api.times import format_time_ms
from agent.engine.crash_points import CRASH_POINTS
from tests.e2e.manifests import NAME, indefinite, page, short
from tests.e2e.processes import until
from tests.e2e.stage import NAMESPACE, LocalStage, firing, staged

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]
DATA = Path(__file__).parent / "data"

NOT_ON_THIS_ROAD: Final = {
    "between-lowers": "needs two VirtualServices (tests/simulation/test_routes.py)",
    "between-raises": "needs two VirtualServices (tests/simulation/test_interleavings.py)",
    "after-analysis": "needs an analysis step (test_a_death_of_an_analysis_is_survived)",
    "after-done-status": "the weight is announced when it was read back, with the next status",
    "intent-before-write": "needs a command (test_a_death_of_a_command_is_survived)",
    "intent-after-write": "needs a command (test_a_death_of_a_command_is_survived)",
}
ABORT: Final = [point for point in CRASH_POINTS if point.startswith("abort-")]
UP: Final = [point for point in CRASH_POINTS if point not in (*ABORT, *NOT_ON_THIS_ROAD)]

PROMOTED: Final = Counter(
    {
        ("completed", "", ""): 2,
        ("started", "", ""): 1,
        ("weight", 0, 20): 1, ("weight", 20, 60): 1, ("weight", 60, 100): 1, ("weight", 100, 0): 1,
        ("step", 0, ""): 1, ("step", 1, ""): 1, ("step", 2, ""): 1, ("step", 3, ""): 1,
        ("paused", "", ""): 2,
        ("resumed", "", ""): 2,
        ("promoted", "", ""): 1,
    }
)  # fmt: skip
"""What a run of the short manifests tells, each once; the first deploy adds one `completed`."""


def _essence(event: dict[str, Any]) -> tuple[Any, ...]:
    """What an event says, without ids and times."""
    transition = event["type"].split(".")[-2]
    data = event["data"]
    if transition in ("weight", "rolledback"):
        weights = data["weights"]
        return transition, weights.get("before", 0), weights.get("after", 0)
    if transition == "step":
        return transition, data["step"].get("index", 0), ""
    return transition, "", ""


def _told_once(stage: LocalStage) -> Counter[tuple[Any, ...]]:
    """The transitions that were announced; none under two ids, no id with two contents."""
    contents: dict[str, bytes] = {}
    for event, body in zip(stage.collector.events, stage.collector.bodies, strict=True):
        assert contents.setdefault(event["id"], body) == body, f"id {event['id']} has two contents"
    by_id = {event["id"]: event for event in stage.collector.events}
    return Counter(_essence(event) for event in by_id.values())


@asynccontextmanager
async def _supervised(stage: LocalStage, point: str) -> AsyncIterator[None]:
    """An agent that kills itself at a point, once, and is started again as a kubelet would."""
    deaths: list[int] = []

    async def watch() -> None:
        while True:
            await asyncio.sleep(0.02)
            if not stage.agent.running:
                deaths.append(await stage.agent.wait())
                await stage.start_agent()

    await stage.start_agent(SERINUS_CRASH_AT=point)
    task = asyncio.create_task(watch(), name="kubelet")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert deaths == [-9], "the process died once, at its point"


@pytest.mark.parametrize("point", UP)
async def test_a_death_on_the_way_up_changes_nothing(tmp_path: Path, point: str) -> None:
    # The first visits of some belong to the deploy of v1.
    visits = {
        "after-fence": 4,
        "relay-before-publish": 3,
        "relay-after-publish": 3,
        "relay-after-removal": 2,
    }
    async with staged(tmp_path) as stage, _supervised(stage, f"{point}:{visits.get(point, 1)}"):
        await stage.apply(*short())
        await stage.until_promoted()
        await stage.set_image("canary-demo:v2")
        await stage.until_promoted()
        await stage.until_quiet()
        assert _told_once(stage) == PROMOTED


async def _exposed(stage: LocalStage) -> None:
    await stage.apply(*short())
    await stage.until_promoted()
    await stage.set_image("canary-demo:v2")
    await stage.until_weight(20)


async def _alert_until_taken(stage: LocalStage) -> None:
    """Post as Alertmanager does: again until somebody takes it."""
    alert = firing(DATA / "alertmanager-firing-0.34.json", rollout=f"{NAMESPACE}/{NAME}")

    async def taken() -> bool:
        try:
            return (await stage.alert(alert)).status_code == 202
        except httpx.HTTPError:
            return False

    await until(taken, "the alert is taken", context=stage.agent)


@pytest.mark.parametrize("point", ABORT)
async def test_a_death_on_the_way_down_changes_nothing(tmp_path: Path, point: str) -> None:
    async with staged(tmp_path) as stage, _supervised(stage, point):
        await _exposed(stage)
        await _alert_until_taken(stage)
        await stage.until_phase("Degraded")
        await stage.until_weight(0)
        await stage.until_announced("aborted", "rolledback")
        await stage.until_quiet()
        told = _told_once(stage)
        assert told["aborted", "", ""] == 1
        assert told["rolledback", 20, 0] == 1
        status = await stage.status()
        assert status["abort"] is True
        assert "CanaryBad" in status["message"]


async def test_a_death_of_an_analysis_is_survived(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage, _supervised(stage, "after-analysis"):
        await stage.apply(*page(stage.prometheus.url, speed=60))
        await stage.until_promoted()
        await stage.set_image("canary-demo:v2")
        await stage.until_promoted()
        await stage.until_announced("analysis", "promoted")
        assert len(stage.collector.of_type("analysis")) == 1


@pytest.mark.parametrize("point", ["intent-before-write", "intent-after-write"])
async def test_a_death_of_a_command_is_survived(tmp_path: Path, point: str) -> None:
    """Whoever sends a command sends it again until it is taken; it counts once."""
    async with staged(tmp_path) as stage, _supervised(stage, point):
        await stage.apply(*indefinite())
        await stage.until_promoted()
        await stage.set_image("canary-demo:v2")
        await stage.until_weight(20)
        await stage.until_announced("paused")
        await _promote_until_taken(stage)
        await stage.until_promoted()
        await stage.until_quiet()
        told = _told_once(stage)
        assert (told["step", 1, ""], told["promoted", "", ""]) == (1, 1)


async def _promote_until_taken(stage: LocalStage) -> None:
    status = await stage.status()
    start = status["pauseConditions"][0]["startTime"]
    event = {
        "specversion": "1.0",
        "id": "promote-1",
        "source": "/ci/test",
        "type": "dev.serinus.command.promote.v1",
        "time": format_time_ms(datetime.now(UTC)),
        "data": {
            "namespace": NAMESPACE,
            "name": NAME,
            "actor": "ann",
            "expect": {"stepIndex": 1, "pauseStartTime": start},
        },
    }

    async def taken() -> bool:
        body = msgspec.json.encode(event)
        try:
            answer = await stage.post("/", body, **{"Content-Type": "application/cloudevents+json"})
        except httpx.HTTPError:
            return False
        return answer.status_code == 202

    await until(taken, "the command is taken", context=stage.agent)


@pytest.mark.parametrize("seed", range(2))
async def test_fifty_deaths_at_random(tmp_path: Path, seed: int) -> None:
    """25 in each of two runs: versions go out one after the other while the process is killed at any moment."""
    rng = random.Random(seed)
    async with staged(tmp_path, ready_seconds=0.05) as stage:
        await stage.start_agent()
        await stage.apply(*short())
        await stage.until_promoted()
        version, kills = 1, 0
        while kills < 25:
            version += 1
            await stage.set_image(f"canary-demo:v{version}")
            for _ in range(5):
                await asyncio.sleep(
                    rng.uniform(0.05, 1.2)
                )  # the moment of death is what is random here
                stage.agent.kill()
                await stage.agent.wait()
                kills += 1
                await stage.start_agent()
            await stage.until_promoted()
        await stage.until_quiet()
        told = _told_once(stage)
        runs = version - 1
        for step in range(4):
            assert told["step", step, ""] == runs
        for before, after in ((0, 20), (20, 60), (60, 100), (100, 0)):
            assert told["weight", before, after] == runs, told
        assert told["promoted", "", ""] == runs
        assert told["completed", "", ""] == runs + 1
        assert told["aborted", "", ""] == 0
