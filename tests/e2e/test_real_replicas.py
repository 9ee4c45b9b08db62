"""Replicas on Kafka and a real API server: they share the rollouts, and each of them takes a bad version off."""

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent.bus.topics import INBOX, URGENT
from tests.e2e.announcements import promoted
from tests.e2e.bed.run import Run
from tests.e2e.canary import NAME
from tests.e2e.kafka_stage import PARTITIONS
from tests.e2e.manifests import indefinite, renamed, short, steps_of
from tests.e2e.processes import Process, until
from tests.e2e.real_stage import RealStage, held, shared_staged
from tests.e2e.stage import firing

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(150)]
DATA = Path(__file__).parent / "data"


@asynccontextmanager
async def two_replicas(
    directory: Path, bed: Run, *, session_seconds: float
) -> AsyncIterator[tuple[RealStage, Process, Process]]:
    """The stage, who drives the rollout, and who does not; the stage's doors are those of the last one."""
    async with (
        shared_staged(directory, bed, session_timeout_seconds=session_seconds) as stage,
        stage.replica("one") as one,
    ):
        ports = {one: stage.port}
        async with stage.replica("two") as two:
            ports[two] = stage.port

            async def shared() -> Process | None:
                return stage.owner(one, two)

            owner = await until(shared, "one of two owns the rollout", context=one)
            assert owner is not None
            other = two if owner is one else one
            stage.agent, stage.port = other, ports[other]
            yield stage, owner, other


async def test_when_the_owner_dies_another_replica_finishes_the_rollout(
    tmp_path: Path, bed: Run
) -> None:
    async with two_replicas(tmp_path, bed, session_seconds=3) as (stage, owner, other):
        await stage.apply(*renamed(short(), stage.namespace))
        await stage.until_promoted()
        await stage.set_image(f"{NAME}:v2")
        await stage.until_weight(20)
        owner.kill()
        await stage.until_promoted()
        await stage.until_quiet()
        await stage.until_announced("promoted", "completed")
        assert len(held(other)) == PARTITIONS
        told = stage.told.told_once()
        assert told.pop(("completed", "", "")) == 2, "of both versions"
        expected = promoted(steps_of(short()))
        del expected["completed", "", ""]
        assert told == expected, "as in a run without a death"
        assert await other.terminate() == 0


async def test_who_gets_an_alert_acts_although_another_one_drives_and_hangs(
    tmp_path: Path, bed: Run
) -> None:
    # So long a session that nothing is taken over while the owner hangs.
    async with two_replicas(tmp_path, bed, session_seconds=30) as (stage, owner, other):
        await stage.apply(*renamed(indefinite(), stage.namespace))
        await stage.until_promoted()
        await stage.set_image(f"{NAME}:v2")
        await stage.until_weight(20)
        await stage.until_phase("Paused")
        owner.send_signal(signal.SIGSTOP)
        try:
            alert = firing(
                DATA / "alertmanager-firing-0.34.json", rollout=f"{stage.namespace}/{NAME}"
            )
            answer = await stage.alert(alert)
            assert answer.status_code == 202, answer.text
            await stage.until_weight(0, deadline_seconds=10)
            assert (await stage.status())["abort"] is True
            assert stage.owner(owner, other) is owner, "nobody took over"
        finally:
            owner.send_signal(signal.SIGCONT)
        await stage.until_phase("Degraded")
        await stage.until_announced("aborted", "rolledback")
        await stage.until_quiet()
        told = stage.told.told_once()
        assert (told["aborted", "", ""], told["rolledback", 20, 0]) == (1, 1)


async def test_events_of_others_come_off_the_bus(tmp_path: Path, bed: Run) -> None:
    async with two_replicas(tmp_path, bed, session_seconds=3) as (stage, _, _):
        kafka = stage.kafka
        async with kafka.foreign_producer() as producer:
            await stage.apply(*renamed(indefinite(), stage.namespace))
            await stage.until_promoted()
            await stage.set_image(f"{NAME}:v2")
            await stage.until_phase("Paused")

            async def send(topic: str, command: str, key: bytes) -> None:
                event: dict[str, Any] = {
                    "specversion": "1.0",
                    "id": f"{command}-1",
                    "source": "/ci/pipeline",
                    "type": f"dev.serinus.command.{command}.v1",
                    "time": datetime.now(UTC),
                    "data": {"namespace": stage.namespace, "name": NAME, "actor": "ci"},
                }
                await producer.send_and_wait(
                    kafka.name(topic),
                    msgspec.json.encode(event),
                    key=key,
                    headers=[("content-type", b"application/cloudevents+json")],
                )

            # Whoever consumes it writes the intent: the key need not be the owner's.
            await send(URGENT, "abort", b"some other key")
            await stage.until_phase("Degraded")
            await stage.until_weight(0)
            await stage.until_announced("aborted", "rolledback")
            await send(INBOX, "retry", b"and another one")
            await stage.until_phase("Paused")
            await send(INBOX, "promote", f"{stage.namespace}/{NAME}".encode())
            await stage.until_promoted()
            await stage.until_announced("promoted")
            told = stage.told.told_once()
            assert (told["aborted", "", ""], told["rolledback", 20, 0]) == (1, 1)

            async def nothing_left() -> bool:
                return await kafka.committed(INBOX) == 2 and await kafka.committed(URGENT) == 1

            await until(nothing_left, "all of it is committed", context=stage.agent)


async def test_an_agent_without_its_topics_says_how_to_make_them(tmp_path: Path, bed: Run) -> None:
    async with shared_staged(tmp_path, bed) as stage:
        stage.configure(bus={**stage.settings["bus"], "prefix": "none"})
        await stage.agent.start()
        assert await stage.agent.wait() == 2
        assert "topic none.inbox" in stage.agent.output()
        assert "serinus kafka init" in stage.agent.output()
