"""The stage where nothing is a stand-in but the chat: agents on a real API server, Kafka and Alertmanager.

Pods are KWOK's. Each stage has a namespace, topics and groups of its own, so that many share one bed.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec

from agent.api.meta import Key
from agent.bus.partition import partition_of
from agent.bus.topics import ROLLOUTS
from agent.cluster.kubernetes import KubernetesCluster
from agent.demo.telegram_stand_in import Telegram, telegram_running
from tests.e2e.announcements import Announcements
from tests.e2e.bed.alertmanager import Alertmanager
from tests.e2e.bed.run import Run
from tests.e2e.canary import NAME, Canary
from tests.e2e.kafka_stage import PARTITIONS, KafkaStage
from tests.e2e.kafka_stage import staged as kafka_staged
from tests.e2e.loopback import loopback
from tests.e2e.processes import Process, free_port, until
from tests.e2e.real import connected, fresh_namespace
from tests.e2e.stage import BOT_TOKEN, TOKEN, Stage, gone


class RealStage(Stage):
    """Made by `real_staged`. The agent is not started yet.

    Attributes:
        kafka: the topics, from outside.
        alertmanager: address of the Alertmanager whose webhook is the agent's sink; "" when there is none.
    """

    # An agent whose predecessor was killed gets its share when Kafka knows that.
    ready_seconds = 40.0

    def __init__(
        self,
        directory: Path,
        cluster: KubernetesCluster,
        told: Announcements,
        telegram: Telegram,
        kafka: KafkaStage,
        *,
        kubeconfig: Path,
        namespace: str,
    ) -> None:
        super().__init__(
            directory, cluster, told, telegram, kubeconfig=kubeconfig, namespace=namespace
        )
        self.kafka = kafka
        self.alertmanager = ""
        bus = kafka.settings
        self.configure(
            alerts={"ledger_namespace": namespace},
            bus={
                "kind": "kafka",
                "brokers": list(bus.brokers),
                "prefix": bus.prefix,
                "group": bus.group,
                "session_timeout_seconds": bus.session_timeout_seconds,
                "publish_seconds": 2,
            },
        )

    def canary(self, name: str) -> Canary:
        """Another rollout in the namespace."""
        return Canary(self.cluster, self.told, self.agent, namespace=self.namespace, name=name)

    @asynccontextmanager
    async def replica(self, name: str, *, port: int = 0) -> AsyncIterator[Process]:
        """One more agent, ready; from then on the stage's doors are its doors."""
        port = port or free_port()
        path = self.directory / f"{name}.yaml"
        sink = {**self.settings["sink"], "port": port}
        path.write_bytes(msgspec.yaml.encode({**self.settings, "sink": sink}))
        process = Process(name, "-m", "agent", "--config", str(path), directory=self.directory)
        async with process:

            async def ready() -> bool:
                assert process.running, process.tail()
                try:
                    async with loopback(timeout=2) as http:
                        answer = await http.get(f"http://127.0.0.1:{port}/readyz")
                except httpx.HTTPError:
                    return False
                return answer.status_code == 200

            await until(
                ready, f"{name} is ready", deadline_seconds=self.ready_seconds, context=process
            )
            self.agent, self.port = process, port
            yield process

    def owner(self, *replicas: Process, name: str = NAME) -> Process | None:
        """Who drives a rollout, by what they say; None while that is not clear."""
        place = partition_of(str(Key(self.namespace, name)).encode(), PARTITIONS)
        owners = [replica for replica in replicas if place in held(replica)]
        everything = sorted(number for replica in replicas for number in held(replica))
        return owners[0] if everything == list(range(PARTITIONS)) and len(owners) == 1 else None

    @asynccontextmanager
    async def alerting(self) -> AsyncIterator[str]:
        """A real Alertmanager that tells the agent at the present port, and is asked by those started later."""
        server = Alertmanager(
            self.directory / "alertmanager",
            token=TOKEN,
            webhook=f"{self.url}/webhooks/alertmanager",
        )
        try:
            await asyncio.to_thread(server.start)
            self.alertmanager = server.url
            yield server.url
        finally:
            await asyncio.to_thread(server.server.kill)


def held(replica: Process) -> list[int]:
    shares = re.findall(r'"held":\[([\d,]*)\].*"ownership.changed"', replica.output())
    return [int(number) for number in shares[-1].split(",") if number] if shares else []


@asynccontextmanager
async def real_staged(
    directory: Path, kubeconfig: str | Path, bootstrap: str, **bus: Any
) -> AsyncIterator[RealStage]:
    """A namespace, topics and a chat; what is announced is read off Kafka. The agent is not started yet.

    Args:
        bus: changes of the bus' settings.
    """
    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(connected(kubeconfig))
        namespace = await stack.enter_async_context(fresh_namespace(cluster))
        kafka = await stack.enter_async_context(kafka_staged(bootstrap, **bus))
        told = await stack.enter_async_context(kafka.reading(ROLLOUTS))
        telegram = await stack.enter_async_context(telegram_running(BOT_TOKEN))
        stage = RealStage(
            directory,
            cluster,
            told,
            telegram,
            kafka,
            kubeconfig=Path(kubeconfig),
            namespace=namespace,
        )

        async def end_agent() -> None:
            await gone(stage.agent)

        stack.push_async_callback(end_agent)
        yield stage


@asynccontextmanager
async def shared_staged(directory: Path, bed: Run, **bus: Any) -> AsyncIterator[RealStage]:
    """A stage on the servers that all tests share."""
    kubernetes = await asyncio.to_thread(bed.part, "kubernetes")
    kafka = await asyncio.to_thread(bed.part, "kafka")
    places = kubernetes["kubeconfig"], kafka["bootstrap"]
    async with real_staged(directory, *places, **bus) as stage:
        yield stage
