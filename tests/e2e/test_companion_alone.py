"""The shipped companion on a real API server when nobody carries out what it asks for, and when nobody could."""

import asyncio
from pathlib import Path

import pytest

from tests.e2e.bed.run import Run
from tests.e2e.loopback import loopback
from tests.e2e.manifests import NAME
from tests.e2e.processes import until
from tests.e2e.stage import TOKEN, StandInStage, firing
from tests.e2e.test_companion import DATA, beside, contents, hold_lease, note, renew

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]


async def test_an_abort_that_nobody_carries_out_is_told(tmp_path: Path, bed: Run) -> None:
    async with beside(bed, tmp_path) as (stage, engine):
        await stage.set_image("canary-demo:v2")
        await stage.until_announced("paused")
        engine.kill()
        await engine.wait()
        alert = firing(DATA / "alertmanager-firing-0.34.json", rollout=f"{stage.namespace}/{NAME}")
        assert (await stage.alert(alert)).status_code == 202
        await stage.until_announced("aborted", "unheeded", deadline_seconds=60)
        (unheeded,) = stage.collector.of_type("unheeded")
        assert unheeded["data"]["weights"] == {"before": 20, "after": 20}
        assert await stage.weight() == 20, "it touches no route"
        await until(lambda: _rings(stage), "the alarm", context=stage.agent)
        await engine.start()
        await stage.until_announced("rolledback", deadline_seconds=60)
        assert contents(stage)["unheeded"] == 1


async def _rings(stage: StandInStage) -> bool:
    return any("Not taken off" in message.text for message in stage.telegram.messages)


async def test_it_says_whether_somebody_drives_beside_it(tmp_path: Path, bed: Run) -> None:
    async with beside(bed, tmp_path) as (stage, _engine):

        async def absent() -> bool:
            return "no Argo Rollouts controller lives" in await note(stage)

        await until(absent, "readiness says that there is none", context=stage.agent)
        assert "serinus_other_engine 0.0" in await metrics(stage)
        await hold_lease(stage)
        leader = asyncio.create_task(renew(stage))

        async def lives() -> bool:
            return await note(stage) == "companion: as set"

        await until(lives, "readiness sees it", context=stage.agent)
        assert "serinus_other_engine 1.0" in await metrics(stage)
        leader.cancel()
        await asyncio.gather(leader, return_exceptions=True)
        assert "lease_forbidden" not in stage.agent.output(), "the shipped role shows it"


async def metrics(stage: StandInStage) -> list[str]:
    """The lines of a scrape."""
    headers = {"authorization": f"Bearer {TOKEN}"}
    async with loopback(timeout=5, headers=headers) as http:
        answer = await http.get(f"{stage.url}/metrics")
    assert answer.status_code == 200
    return answer.text.splitlines()
