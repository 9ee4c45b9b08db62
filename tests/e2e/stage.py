"""The stage of the process tests: `serinus cluster up` and `serinus run` as processes, and what they talk to."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec

from agent.api.times import format_time_ms
from agent.clock import SystemClock
from agent.cluster.kubernetes import KubernetesCluster, connect
from agent.demo.telegram_stand_in import Telegram, telegram_running
from tests.e2e.announcements import Announcements
from tests.e2e.canary import NAME, NAMESPACE, Canary
from tests.e2e.collector import Collector, Prometheus, a_prometheus, collecting
from tests.e2e.loopback import loopback
from tests.e2e.processes import DEADLINE_SECONDS, Process, free_port, until
from tests.e2e.real import connected, fresh_namespace

BOT_TOKEN: Final = "42:e2e-secret"
TOKEN: Final = "sink-secret"
__all__ = [
    "BOT_TOKEN",
    "NAMESPACE",
    "TOKEN",
    "Stage",
    "StandInStage",
    "firing",
    "gone",
    "staged",
    "staged_on",
]


class Stage(Canary):
    """Everything a scenario uses. Made by `staged`, or on the real servers by `tests.e2e.real_stage`.

    Attributes:
        agent: the process under test; may be killed and started again.
        settings: what the agent's file says; `configure` writes it.
    """

    ready_seconds = DEADLINE_SECONDS

    def __init__(
        self,
        directory: Path,
        cluster: KubernetesCluster,
        told: Announcements,
        telegram: Telegram,
        *,
        kubeconfig: Path,
        namespace: str = NAMESPACE,
        name: str = NAME,
    ) -> None:
        self.directory = directory
        self.telegram = telegram
        self.port = free_port()
        self.settings = self._settings(kubeconfig, namespace)
        path = directory / "serinus.yaml"
        agent = Process("agent", "-m", "agent", "--config", str(path), directory=directory)
        super().__init__(cluster, told, agent, namespace=namespace, name=name)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start_agent(self, **environment: str) -> None:
        """Start the agent (again) and wait until it is ready, or has died of what the environment asks for."""
        await self.agent.start(**environment)

        async def ready_or_dead() -> bool:
            if not self.agent.running:
                return True
            try:
                async with loopback(timeout=2) as http:
                    return (await http.get(f"{self.url}/readyz")).status_code == 200
            except httpx.HTTPError:
                return False

        await until(
            ready_or_dead,
            "the agent is ready",
            deadline_seconds=self.ready_seconds,
            context=self.agent,
        )

    async def post(
        self, path: str, body: bytes, *, token: str = TOKEN, **headers: str
    ) -> httpx.Response:
        """A POST to the agent's door."""
        fields = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", **headers}
        async with loopback(timeout=10) as http:
            return await http.post(self.url + path, content=body, headers=fields)

    async def alert(self, body: Mapping[str, Any]) -> httpx.Response:
        return await self.post("/webhooks/alertmanager", msgspec.json.encode(body))

    def said(self, event: str) -> list[dict[str, Any]]:
        """The agent's log lines of one name."""
        wanted = f'"event":"{event}"'.encode()
        lines = self.agent.log.read_bytes().splitlines() if self.agent.log.exists() else []
        return [msgspec.json.decode(line) for line in lines if wanted in line]

    def configure(self, **sections: Any) -> None:
        """Write the agent's settings, with these sections instead of the same ones; None leaves one out."""
        changed = {**self.settings, **sections}
        self.settings = {name: value for name, value in changed.items() if value is not None}
        (self.directory / "bot-token").write_text(BOT_TOKEN)
        (self.directory / "sink-token").write_text(TOKEN)
        (self.directory / "serinus.yaml").write_bytes(msgspec.yaml.encode(self.settings))

    def _settings(self, kubeconfig: Path, namespace: str) -> dict[str, Any]:
        return {
            # Tests share a cluster: Rollouts of other namespaces have engines of their own.
            "cluster": {"kubeconfig": str(kubeconfig), "namespaces": [namespace]},
            "sink": {
                "port": self.port,
                "tokens": [{"name": "test", "file": str(self.directory / "sink-token")}],
            },
            "engine": {
                "drain_seconds": 0.3,
                # Some of them play Argo's controller.
                "argo_leases": [f"{namespace}/argo-rollouts-controller-lock"],
                "marks_namespace": namespace,
            },
            "commands": {"allowed_sources": ["/ci/*"]},
            "alerts": {"default_namespace": namespace, "ledger_namespace": namespace},
            "telegram": {
                "chat_id": "1",
                "token_file": str(self.directory / "bot-token"),
                "base_url": self.telegram.base_url,
            },
        }


class StandInStage(Stage):
    """A stage without Kafka and with stand-ins around it.

    Attributes:
        local: the local cluster; None on a real API server.
        collector: gets the announcements by HTTP.
        prometheus: answers with the number that the test sets.
    """

    def __init__(
        self, directory: Path, local: Process | None, cluster: KubernetesCluster, collector: Collector, telegram: Telegram,
        prometheus: Prometheus, *, namespace: str = NAMESPACE, kubeconfig: Path | None = None,
    ) -> None:  # fmt: skip
        super().__init__(
            directory, cluster, collector, telegram,
            kubeconfig=kubeconfig or directory / "kubeconfig", namespace=namespace,
        )  # fmt: skip
        self.local = local
        self.collector = collector
        self.prometheus = prometheus
        self.configure(outlet={"url": collector.url})


@asynccontextmanager
async def staged(directory: Path, *, ready_seconds: float = 0.2) -> AsyncIterator[StandInStage]:
    """A local cluster as a process, a collector of events, a chat, a Prometheus; the agent is not started yet."""
    async with AsyncExitStack() as stack:
        local = Process(
            "cluster", "-m", "agent.cli", "cluster", "up", "--kubeconfig", str(directory / "kubeconfig"),
            "--data", str(directory / "data"), "--ready-seconds", str(ready_seconds), "--never-ready", "*:stuck",
            directory=directory,
        )  # fmt: skip
        await stack.enter_async_context(local)

        async def ready() -> bool:
            return "cluster at" in local.output()

        await until(ready, "the cluster is ready", context=local)
        cluster = await connect(SystemClock(), kubeconfig=directory / "kubeconfig")
        stack.push_async_callback(cluster.aclose)
        collector = await stack.enter_async_context(collecting())
        telegram = await stack.enter_async_context(telegram_running(BOT_TOKEN))
        prometheus = await stack.enter_async_context(a_prometheus())
        stage = StandInStage(directory, local, cluster, collector, telegram, prometheus)
        stack.push_async_callback(gone, stage.agent)
        yield stage


@asynccontextmanager
async def staged_on(kubeconfig: str, directory: Path) -> AsyncIterator[StandInStage]:
    """The same on the real API server of the bed, in a namespace that nobody used before."""
    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(connected(kubeconfig))
        namespace = await stack.enter_async_context(fresh_namespace(cluster))
        collector = await stack.enter_async_context(collecting())
        telegram = await stack.enter_async_context(telegram_running(BOT_TOKEN))
        prometheus = await stack.enter_async_context(a_prometheus())
        stage = StandInStage(
            directory, None, cluster, collector, telegram, prometheus,
            namespace=namespace, kubeconfig=Path(kubeconfig),
        )  # fmt: skip
        stack.push_async_callback(gone, stage.agent)
        yield stage


async def gone(process: Process) -> None:
    """Kill it if it runs."""
    if process.running:
        process.kill()
        await process.wait()


def firing(captured: Path, **labels: str) -> dict[str, Any]:
    """A captured webhook as Alertmanager would send it now: only the time is another, and labels on top."""
    body: dict[str, Any] = msgspec.json.decode(captured.read_bytes())
    body = body.get("body", body)
    now = format_time_ms(datetime.now(UTC))
    alerts = [{**a, "startsAt": now, "labels": {**a["labels"], **labels}} for a in body["alerts"]]
    return {**body, "alerts": alerts}
