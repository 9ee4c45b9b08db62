"""The stage of the process tests: `serinus cluster up` and `serinus run` as processes, and what they talk to."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import msgspec

from agent.api.meta import Object
from agent.api.times import format_time_ms
from agent.clock import SystemClock
from agent.cluster.kubernetes import KubernetesCluster, connect
from agent.cluster.port import KINDS
from agent.demo.telegram_stand_in import Telegram, telegram_running
from tests.e2e.collector import Collector, Prometheus, a_prometheus, collecting
from tests.e2e.processes import Process, free_port, until
from tests.e2e.real import connected, fresh_namespace

BOT_TOKEN = "42:e2e-secret"
TOKEN = "sink-secret"
NAMESPACE = "demo"


class Stage:
    """Everything a scenario uses. Made by `staged`.

    Attributes:
        local: the local cluster; None on a real API server.
        cluster: the client of the test itself, through the same REST API.
        agent: the process under test; may be killed and started again.
    """

    def __init__(
        self, directory: Path, local: Process | None, cluster: KubernetesCluster, collector: Collector, telegram: Telegram,
        prometheus: Prometheus, *, namespace: str = NAMESPACE, kubeconfig: Path | None = None,
    ) -> None:  # fmt: skip
        self.directory = directory
        self.namespace = namespace
        self.kubeconfig = kubeconfig or directory / "kubeconfig"
        self.local = local
        self.cluster = cluster
        self.collector = collector
        self.telegram = telegram
        self.prometheus = prometheus
        self.port = free_port()
        self.agent = Process(
            "agent", "-m", "agent", "--config", str(self._configure()), directory=directory
        )

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
                async with httpx.AsyncClient(timeout=2) as http:
                    return (await http.get(f"{self.url}/readyz")).status_code == 200
            except httpx.HTTPError:
                return False

        await until(ready_or_dead, "the agent is ready", context=self.agent)

    async def apply(self, *objects: Object) -> None:
        for obj in objects:
            await self.cluster.create(KINDS[obj["kind"]], obj)

    async def rollout(self) -> Object:
        listing = await self.cluster.list(KINDS["Rollout"], self.namespace)
        return listing.items[0]

    async def status(self) -> dict[str, Any]:
        status: dict[str, Any] = (await self.rollout()).get("status") or {}
        return status

    async def weight(self) -> int:
        """The canary's weight on the VirtualService."""
        (service,) = (await self.cluster.list(KINDS["VirtualService"], self.namespace)).items
        stable, canary = service["spec"]["http"][0]["route"]
        assert stable["weight"] + canary["weight"] == 100, "I8: weights sum to 100"
        weight: int = canary["weight"]
        return weight

    async def set_image(self, image: str) -> None:
        rollout = await self.rollout()
        template = rollout["spec"]["template"]["spec"]["containers"][0]
        patch = {"spec": {"template": {"spec": {"containers": [{**template, "image": image}]}}}}
        await self.cluster.merge_patch(
            KINDS["Rollout"], self.namespace, rollout["metadata"]["name"], patch
        )

    async def until_phase(self, phase: str, *, deadline_seconds: float = 40.0) -> dict[str, Any]:
        """Wait for the phase on the observed generation; the status then."""

        async def there() -> dict[str, Any] | None:
            rollout = await self.rollout()
            status: dict[str, Any] = rollout.get("status") or {}
            observed = status.get("observedGeneration") == str(rollout["metadata"]["generation"])
            return status if observed and status.get("phase") == phase else None

        found = await until(
            there, f"phase {phase}", deadline_seconds=deadline_seconds, context=self.agent
        )
        assert found is not None
        return found

    async def until_promoted(self, *, deadline_seconds: float = 60.0) -> None:
        """Wait until the spec's version is stable, Healthy, and the routes are back at weight 0."""

        async def there() -> bool:
            rollout = await self.rollout()
            status = rollout.get("status") or {}
            # What the route shows is announced with the status that records it.
            weights = (status.get("canary") or {}).get("weights") or {}
            return (
                status.get("observedGeneration") == str(rollout["metadata"]["generation"])
                and status.get("phase") == "Healthy"
                and status.get("stableRS") == status.get("currentPodHash")
                and not (weights.get("canary") or {}).get("weight")
                and await self.weight() == 0
            )

        await until(there, "promoted", deadline_seconds=deadline_seconds, context=self.agent)

    async def until_weight(self, weight: int, *, deadline_seconds: float = 30.0) -> None:
        async def there() -> bool:
            return await self.weight() == weight

        await until(
            there, f"weight {weight}", deadline_seconds=deadline_seconds, context=self.agent
        )

    async def post(
        self, path: str, body: bytes, *, token: str = TOKEN, **headers: str
    ) -> httpx.Response:
        """A POST to the agent's door."""
        fields = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", **headers}
        async with httpx.AsyncClient(timeout=10) as http:
            return await http.post(self.url + path, content=body, headers=fields)

    async def alert(self, body: Mapping[str, Any]) -> httpx.Response:
        return await self.post("/webhooks/alertmanager", msgspec.json.encode(body))

    async def until_announced(self, *transitions: str, deadline_seconds: float = 20.0) -> None:
        async def there() -> bool:
            return all(self.collector.of_type(name) for name in transitions)

        await until(
            there,
            f"announced: {transitions}",
            deadline_seconds=deadline_seconds,
            context=self.agent,
        )

    async def until_quiet(self) -> None:
        """Wait until the outbox is empty."""

        async def there() -> bool:
            conditions = (await self.status()).get("conditions") or ()
            return not any(item["type"] == "SerinusOutbox" for item in conditions)

        await until(there, "the outbox is empty", context=self.agent)

    def _configure(self) -> Path:
        (self.directory / "bot-token").write_text(BOT_TOKEN)
        (self.directory / "sink-token").write_text(TOKEN)
        config = {
            "cluster": {"kubeconfig": str(self.kubeconfig), "namespaces": [self.namespace]},
            "sink": {
                "port": self.port,
                "tokens": [{"name": "test", "file": str(self.directory / "sink-token")}],
            },
            "engine": {"drain_seconds": 0.3},
            "commands": {"allowed_sources": ["/ci/*"]},
            "alerts": {"default_namespace": self.namespace, "ledger_namespace": self.namespace},
            "telegram": {
                "chat_id": "1",
                "token_file": str(self.directory / "bot-token"),
                "base_url": self.telegram.base_url,
            },
            "outlet": {"url": self.collector.url},
        }
        path = self.directory / "serinus.yaml"
        path.write_bytes(msgspec.yaml.encode(config))
        return path


@asynccontextmanager
async def staged(directory: Path, *, ready_seconds: float = 0.2) -> AsyncIterator[Stage]:
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
        stage = Stage(directory, local, cluster, collector, telegram, prometheus)
        stack.push_async_callback(_gone, stage.agent)
        yield stage


@asynccontextmanager
async def staged_on(kubeconfig: str, directory: Path) -> AsyncIterator[Stage]:
    """The same on the real API server of the bed, in a namespace that nobody used before."""
    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(connected(kubeconfig))
        namespace = await stack.enter_async_context(fresh_namespace(cluster))
        collector = await stack.enter_async_context(collecting())
        telegram = await stack.enter_async_context(telegram_running(BOT_TOKEN))
        prometheus = await stack.enter_async_context(a_prometheus())
        stage = Stage(
            directory, None, cluster, collector, telegram, prometheus,
            namespace=namespace, kubeconfig=Path(kubeconfig),
        )  # fmt: skip
        stack.push_async_callback(_gone, stage.agent)
        yield stage


async def _gone(process: Process) -> None:
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
