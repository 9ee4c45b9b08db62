"""A broker or an API server that is killed in the middle of rollouts, and an alert meanwhile: nothing is lost."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec
import pytest

from agent.api.meta import Object
from agent.bus.topics import URGENT
from agent.events.catalogue import ALERT_FIRING
from tests.e2e.alerts import alert, fire
from tests.e2e.announcements import promoted
from tests.e2e.bed import crds
from tests.e2e.bed.kafka import Broker
from tests.e2e.bed.kubernetes import Kubernetes
from tests.e2e.bed.run import Run
from tests.e2e.canary import Canary
from tests.e2e.manifests import indefinite, renamed, short, steps_of
from tests.e2e.processes import until
from tests.e2e.real_stage import RealStage, real_staged

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(200)]

RECOVERY_SECONDS: Final = 90.0
"""Until all is as if nothing had been, once the servers are back."""


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """One of its own, since it is killed."""
    with Broker(tmp_path / "kafka") as broker:
        yield broker


@pytest.fixture
def kubernetes(tmp_path: Path) -> Iterator[Kubernetes]:
    """A control plane of its own, since it is killed."""
    definitions = crds.manifests(crds.files().get(), crds.OWN)
    with Kubernetes(tmp_path / "kubernetes", definitions=definitions) as kubernetes:
        yield kubernetes


class Middle:
    """Two canaries at 20 %: a good one whose steps go on by themselves, a bad one that an alert will be about."""

    def __init__(self, stage: RealStage, good: Canary, bad: Canary) -> None:
        self.stage = stage
        self.good = good
        self.bad = bad

    async def fire(self) -> None:
        """Tell Alertmanager, which tells the agent as soon as it can."""
        made = alert(
            alertname="CanaryBad", rollout=f"{self.bad.namespace}/bad", severity="critical"
        )
        await fire(self.stage.alertmanager, made)

    async def nothing_is_lost(self) -> None:
        """Both end where they must, and all of it was told, once."""
        await self.bad.until_phase("Degraded", deadline_seconds=RECOVERY_SECONDS)
        await self.bad.until_weight(0)
        await self.good.until_promoted(deadline_seconds=RECOVERY_SECONDS)
        for canary in (self.good, self.bad):
            await canary.until_quiet(deadline_seconds=RECOVERY_SECONDS)
        await self.good.until_announced("promoted", deadline_seconds=RECOVERY_SECONDS)
        await self.bad.until_announced("rolledback", deadline_seconds=RECOVERY_SECONDS)
        told = self.stage.told
        expected = promoted(steps_of(short()))
        expected["completed", "", ""] += 1
        assert told.told_once("good") == expected
        bad = told.told_once("bad")
        assert (bad["aborted", "", ""], bad["rolledback", 20, 0]) == (1, 1)
        (event,) = told.of_type("rolledback", "bad")
        assert event["data"]["cause"]["evidence"]["labels"]["alertname"] == "CanaryBad"


@asynccontextmanager
async def in_the_middle(
    directory: Path, kubeconfig: str | Path, bootstrap: str
) -> AsyncIterator[Middle]:
    async with real_staged(directory, kubeconfig, bootstrap) as stage, stage.alerting():
        stage.configure(alerts={"alertmanager": stage.alertmanager})
        await stage.start_agent()
        canaries = [
            await _deployed(stage, "good", short()),
            await _deployed(stage, "bad", indefinite()),
        ]
        for canary in canaries:
            await canary.set_image("web:v2")
        for canary in canaries:
            await canary.until_weight(20)
            await canary.until_announced("weight")
        yield Middle(stage, *canaries)


async def _deployed(stage: RealStage, name: str, objects: list[Object]) -> Canary:
    canary = stage.canary(name)
    await canary.apply(*renamed(objects, stage.namespace, name))
    await canary.until_promoted()
    return canary


async def test_a_broker_that_is_killed_costs_no_event_and_delays_no_rollback(
    tmp_path: Path, bed: Run, broker: Broker
) -> None:
    kubeconfig = (await asyncio.to_thread(bed.part, "kubernetes"))["kubeconfig"]
    async with in_the_middle(tmp_path, kubeconfig, broker.address) as middle:
        await asyncio.to_thread(broker.kill)
        await middle.fire()
        # There is no broker, and yet:
        await middle.bad.until_weight(0)
        await middle.bad.until_phase("Degraded")
        assert middle.stage.told.of_type("aborted", "bad") == []
        await asyncio.to_thread(broker.start)
        await middle.nothing_is_lost()


async def test_an_alert_while_no_api_server_works_is_carried_out_when_one_does(
    tmp_path: Path, bed: Run, kubernetes: Kubernetes
) -> None:
    bootstrap = (await asyncio.to_thread(bed.part, "kafka"))["bootstrap"]
    async with in_the_middle(tmp_path, kubernetes.kubeconfig, bootstrap) as middle:
        await asyncio.to_thread(kubernetes.kill_api_server)
        await middle.fire()
        kafka = middle.stage.kafka

        async def kept() -> bool:
            records = await kafka.records(kafka.name(URGENT))
            events = [msgspec.json.decode(record.value or b"") for record in records]
            return any(event["type"] == ALERT_FIRING for event in events)

        await until(kept, "the alert is on Kafka", context=middle.stage.agent)
        assert await kafka.committed(URGENT) == 0, "and was not carried out"
        await asyncio.to_thread(kubernetes.start_api_server)
        await middle.nothing_is_lost()

        async def committed() -> bool:
            return await kafka.committed(URGENT) == len(await kafka.records(kafka.name(URGENT)))

        await until(committed, "the alert is committed", context=middle.stage.agent)
