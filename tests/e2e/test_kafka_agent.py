"""The shipped agent on a real broker: replicas share the work, and alerts need no broker."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from agent.api.meta import Key
from agent.bus.partition import partition_of
from agent.bus.topics import INBOX, ROLLOUTS, URGENT
from tests.e2e.bed.kafka import Broker
from tests.e2e.kafka_stage import PARTITIONS, KafkaStage
from tests.e2e.kafka_stage import staged as kafka_staged
from tests.e2e.manifests import NAME, annotated, indefinite, page, short
from tests.e2e.processes import Process, free_port, until
from tests.e2e.stage import NAMESPACE, Stage, firing, staged

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(150)]
DATA = Path(__file__).parent / "data"
ROLLOUT = Key(NAMESPACE, NAME)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    broker = Broker(tmp_path / "kafka")
    broker.start()
    yield broker
    broker.kill()


class Replicas:
    """Agents of one stage on one bus."""

    def __init__(self, stage: Stage, kafka: KafkaStage) -> None:
        self.stage = stage
        self.kafka = kafka
        self._config = msgspec.yaml.decode((stage.directory / "serinus.yaml").read_bytes())
        bus = kafka.settings
        self._config["bus"] = {
            "kind": "kafka",
            "brokers": list(bus.brokers),
            "prefix": bus.prefix,
            "group": bus.group,
            "session_timeout_seconds": bus.session_timeout_seconds,
            "publish_seconds": 2,
        }
        # What is announced is read off Kafka here.
        del self._config["outlet"]
        self._config["telegram"]["chat_id"] = ""

    @asynccontextmanager
    async def running(self, name: str) -> AsyncIterator[Process]:
        """One more replica, ready; the first one is also the stage's agent."""
        port = free_port()
        path = self.stage.directory / f"{name}.yaml"
        sink = {**self._config["sink"], "port": port}
        path.write_bytes(msgspec.yaml.encode({**self._config, "sink": sink}))
        process = Process(
            name, "-m", "agent", "--config", str(path), directory=self.stage.directory
        )
        async with process:

            async def ready() -> bool:
                assert process.running, process.tail()
                try:
                    async with httpx.AsyncClient(timeout=2) as http:
                        answer = await http.get(f"http://127.0.0.1:{port}/readyz")
                except httpx.HTTPError:
                    return False
                return answer.status_code == 200

            await until(ready, f"{name} is ready", context=process)
            self.stage.agent, self.stage.port = process, port
            yield process

    def owner(self, *replicas: Process) -> Process | None:
        """Who drives the rollout, by what they say; None while that is not clear."""
        place = partition_of(str(ROLLOUT).encode(), PARTITIONS)
        owners = [replica for replica in replicas if place in held(replica)]
        everything = sorted(number for replica in replicas for number in held(replica))
        return owners[0] if everything == list(range(PARTITIONS)) and len(owners) == 1 else None

    async def announced(self) -> list[dict[str, Any]]:
        """All events on the topic of the rollouts, as they were published."""
        records = await self.kafka.records(self.kafka.name(ROLLOUTS))
        assert all(record.key == str(ROLLOUT).encode() for record in records)
        return [msgspec.json.decode(record.value or b"") for record in records]

    async def until_announced(self, *transitions: str) -> list[dict[str, Any]]:
        async def there() -> list[dict[str, Any]] | None:
            events = await self.announced()
            types = {event["type"] for event in events}
            wanted = {f"dev.serinus.rollout.{name}.v1" for name in transitions}
            return events if wanted <= types else None

        found = await until(there, f"announced: {transitions}", context=self.stage.agent)
        assert found is not None
        return found


def held(replica: Process) -> list[int]:
    shares = re.findall(r'"held":\[([\d,]*)\].*"ownership.changed"', replica.output())
    return [int(number) for number in shares[-1].split(",") if number] if shares else []


@asynccontextmanager
async def on_kafka(directory: Path, broker: Broker) -> AsyncIterator[Replicas]:
    async with staged(directory) as stage, kafka_staged(broker.address) as kafka:
        yield Replicas(stage, kafka)


def under_one_content(events: list[dict[str, Any]]) -> None:
    """I5: an id is announced once or more, always with the same content."""
    contents: dict[str, Any] = {}
    for event in events:
        assert contents.setdefault(event["id"], event) == event


async def test_when_the_owner_dies_another_replica_finishes_the_rollout(
    tmp_path: Path, broker: Broker
) -> None:
    async with on_kafka(tmp_path, broker) as replicas:
        stage = replicas.stage
        async with replicas.running("one") as one, replicas.running("two") as two:

            async def shared() -> Process | None:
                return replicas.owner(one, two)

            owner = await until(shared, "one of two owns the rollout", context=one)
            assert owner is not None
            other = two if owner is one else one
            await stage.apply(*short())
            await stage.until_promoted()
            await stage.set_image("canary-demo:v2")
            await stage.until_weight(20)
            owner.kill()
            stage.agent = other
            await stage.until_promoted()
            events = await replicas.until_announced("started", "weight", "promoted", "completed")
            assert await other.terminate() == 0
        under_one_content(events)
        weights = [
            event["data"]["weights"].get("after", 0)
            for event in {e["id"]: e for e in events}.values()
            if event["type"] == "dev.serinus.rollout.weight.v1"
        ]
        raised = [weight for weight in weights if weight]
        assert raised[:2] == [20, 60], "as in a run without a death"
        assert len(set(weights)) == len(weights), f"each once: {weights}"


async def test_an_alert_takes_the_canary_off_while_no_broker_works(
    tmp_path: Path, broker: Broker
) -> None:
    async with on_kafka(tmp_path, broker) as replicas:
        stage = replicas.stage
        async with replicas.running("one") as one:
            await stage.apply(
                *annotated(page(stage.prometheus.url, speed=20), **{"abort-on": 'app="checkout"'})
            )
            await stage.until_promoted()
            await stage.set_image("canary-demo:v2")
            await stage.until_weight(10)
            await asyncio.to_thread(broker.kill)
            answer = await stage.alert(firing(DATA / "alertmanager-firing-0.25.json"))
            assert answer.status_code == 202, answer.text
            await stage.until_weight(0, deadline_seconds=5)
            await stage.until_phase("Degraded")
            await asyncio.to_thread(broker.start)
            events = await replicas.until_announced("aborted", "rolledback")
            under_one_content(events)
            assert await one.terminate() == 0


async def test_events_of_others_come_off_the_bus(tmp_path: Path, broker: Broker) -> None:
    async with on_kafka(tmp_path, broker) as replicas:
        stage, kafka = replicas.stage, replicas.kafka
        async with (
            replicas.running("one"),
            replicas.running("two"),
            kafka.foreign_producer() as producer,
        ):
            await stage.apply(*indefinite())
            await stage.until_promoted()
            await stage.set_image("canary-demo:v2")
            await stage.until_phase("Paused")

            async def send(topic: str, command: str, key: bytes) -> None:
                event = {
                    "specversion": "1.0",
                    "id": f"{command}-1",
                    "source": "/ci/pipeline",
                    "type": f"dev.serinus.command.{command}.v1",
                    "time": datetime.now(UTC),
                    "data": {"namespace": NAMESPACE, "name": NAME, "actor": "ci"},
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
            await send(INBOX, "retry", b"and another one")
            await stage.until_phase("Paused")
            await send(INBOX, "promote", str(ROLLOUT).encode())
            await stage.until_promoted()
            events = await replicas.until_announced("aborted", "rolledback", "completed")
            under_one_content(events)

            async def nothing_left() -> bool:
                return await kafka.committed(INBOX) == 2 and await kafka.committed(URGENT) == 1

            await until(nothing_left, "all of it is committed", context=stage.agent)


async def test_an_agent_without_its_topics_says_how_to_make_them(
    tmp_path: Path, broker: Broker
) -> None:
    async with staged(tmp_path) as stage:
        config = msgspec.yaml.decode((tmp_path / "serinus.yaml").read_bytes())
        config["bus"] = {"kind": "kafka", "brokers": [broker.address], "prefix": "none"}
        (tmp_path / "serinus.yaml").write_bytes(msgspec.yaml.encode(config))
        await stage.agent.start()
        assert await stage.agent.wait() == 2
        assert "topic none.inbox" in stage.agent.output()
        assert "serinus kafka init" in stage.agent.output()
