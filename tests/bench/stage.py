"""What is measured on: servers, one agent as a process, and a client that watches what both do."""

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec

from agent.api.meta import Object
from agent.clock import SystemClock
from agent.cluster.cache import Cache
from agent.cluster.kubernetes import KubernetesCluster
from agent.cluster.port import KINDS
from tests.bench import shop
from tests.e2e.bed import crds
from tests.e2e.bed.alertmanager import Alertmanager
from tests.e2e.bed.kafka import Broker
from tests.e2e.bed.kubernetes import Kubernetes
from tests.e2e.collector import Collector, collecting
from tests.e2e.loopback import loopback
from tests.e2e.processes import Process, free_port, until
from tests.e2e.real import connected

NAMESPACE: Final = "bench"
WATCHED: Final = ("Rollout", "VirtualService")
SETTLE_SECONDS: Final = 180.0


@dataclass(frozen=True, kw_only=True)
class Servers:
    """What runs beside the agent. Made by `real` or `local`.

    Attributes:
        kafka: a broker's address, "" for none.
        alertmanager: URL, "" for none.
        sink_port: where Alertmanager expects the agent.
    """

    directory: Path
    kubeconfig: Path
    kafka: str = ""
    alertmanager: str = ""
    sink_port: int


@contextmanager
def real(directory: Path) -> Iterator[Servers]:
    """A real API server with controllers and fake nodes, a real broker, a real Alertmanager."""
    port = free_port()
    definitions = crds.manifests(crds.files().get(), crds.OWN)
    receiver = Alertmanager(
        directory / "alertmanager",
        token="bench",
        webhook=f"http://127.0.0.1:{port}/webhooks/alertmanager",
    )
    with (
        Kubernetes(directory / "kubernetes", definitions=definitions) as kubernetes,
        Broker(directory / "kafka") as broker,
    ):
        receiver.start()
        try:
            yield Servers(
                directory=directory,
                kubeconfig=kubernetes.kubeconfig,
                kafka=broker.address,
                alertmanager=receiver.url,
                sink_port=port,
            )
        finally:
            receiver.server.kill()


@contextmanager
def local(directory: Path) -> Iterator[Servers]:
    """The local cluster's REST API, memory as the bus: for a laptop, and to try the bench itself."""
    yield Servers(directory=directory, kubeconfig=directory / "kubeconfig", sink_port=free_port())


class Seen:
    """When this client first saw each rollout in a state, by its own watches (seconds of time.time())."""

    def __init__(self) -> None:
        self.weight: dict[str, int] = {}
        self.aborted: dict[str, float] = {}
        self.down: dict[str, float] = {}

    def changed(self, ref: Any, _old: Object | None, new: Object | None) -> None:
        """A listener of the cache."""
        if new is None:
            return
        now = time.time()
        if ref.kind == "Rollout" and (new.get("status") or {}).get("abort"):
            self.aborted.setdefault(ref.name, now)
        if ref.kind == "VirtualService":
            weight = new["spec"]["http"][0]["route"][1]["weight"]
            if weight == 0 and self.weight.get(ref.name):
                self.down.setdefault(ref.name, now)
            self.weight[ref.name] = weight

    def forget(self) -> None:
        """Begin anew."""
        self.aborted.clear()
        self.down.clear()


class Stage:
    """One agent, its cluster, and what this client sees. Made by `staged`.

    Attributes:
        stand_in: the local cluster, None with a real API server.
    """

    def __init__(
        self, servers: Servers, cluster: KubernetesCluster, cache: Cache, collector: Collector
    ) -> None:
        self.servers = servers
        self.stand_in: Process | None = None
        self.cluster = cluster
        self.cache = cache
        self.collector = collector
        self.seen = Seen()
        cache.on_change(self.seen.changed)
        self.url = f"http://127.0.0.1:{servers.sink_port}"
        self.agent = Process(
            "agent",
            *("-m", "agent", "--config", str(self._configure())),
            directory=servers.directory,
        )
        self.http = loopback(timeout=30, base_url=self.url)

    @property
    def pid(self) -> int:
        """Of the agent."""
        return self.agent.pid

    async def start_agent(self) -> None:
        """Start it (again), ready and owner."""
        await self.agent.start()

        async def drives() -> bool:
            assert self.agent.running, self.agent.tail()
            with contextlib.suppress(httpx.HTTPError):
                ready = await self.http.get("/readyz")
                metrics = await self.http.get("/metrics")
                return ready.is_success and bool(re.search(r"(?m)^serinus_owner 1", metrics.text))
            return False

        await until(drives, "the agent drives", deadline_seconds=60, context=self.agent)

    async def until(self, holds: Callable[[], bool], what: str, seconds: float = 60) -> None:
        """Wait for something that this client can see."""

        async def there() -> bool:
            return holds()

        await until(there, what, deadline_seconds=seconds, context=self.agent)

    def phases(self, names: Sequence[str]) -> set[str]:
        """The phases of these rollouts; "" where the agent has not seen the last change."""
        found = set()
        for name in names:
            obj = self.cache.get(_rollout(name)) or {"metadata": {}}
            status = obj.get("status") or {}
            current = status.get("observedGeneration") == str(obj["metadata"].get("generation"))
            found.add(str(status.get("phase", "")) if current else "")
        return found

    async def healthy(self, names: Sequence[str], *, replicas: int = 1) -> None:
        """Make rollouts and wait until all are Healthy."""
        await shop.create(self.cluster, NAMESPACE, names, replicas=replicas)
        await self.until(
            lambda: self.phases(names) == {"Healthy"}, f"{len(names)} healthy", SETTLE_SECONDS
        )

    async def exposed(self, names: Sequence[str], image: str) -> None:
        """A new version of each, that stands at its weight."""
        await shop.set_image(self.cluster, NAMESPACE, names, image)
        await self.until(
            lambda: (
                self.phases(names) == {"Paused"}
                and all(self.seen.weight.get(name) == shop.WEIGHT for name in names)
            ),
            f"{len(names)} exposed",
            SETTLE_SECONDS,
        )
        self.seen.forget()

    def _configure(self) -> Path:
        servers = self.servers
        config: dict[str, Any] = {
            "cluster": {"kubeconfig": str(servers.kubeconfig), "namespaces": [NAMESPACE]},
            "sink": {"port": servers.sink_port},
            "ownership": {"namespace": NAMESPACE},
            "alerts": {"default_namespace": NAMESPACE, "ledger_namespace": NAMESPACE},
            "outlet": {"url": self.collector.url},
        }
        if servers.kafka:
            config["bus"] = {"kind": "kafka", "brokers": [servers.kafka], "create_topics": True}
        path = servers.directory / "serinus.yaml"
        path.write_bytes(msgspec.yaml.encode(config))
        return path


def _rollout(name: str) -> Any:
    from agent.api.meta import Ref

    return Ref("Rollout", NAMESPACE, name)


@asynccontextmanager
async def staged(servers: Servers) -> AsyncIterator[Stage]:
    """A stage whose agent runs and drives."""
    async with AsyncExitStack() as stack:
        stand_in = None
        if not servers.kubeconfig.exists():
            stand_in = await _local_cluster(servers, stack)
        cluster = await stack.enter_async_context(connected(servers.kubeconfig))
        await cluster.create(KINDS["Namespace"], {"metadata": {"name": NAMESPACE}})
        cache = Cache(cluster, WATCHED, SystemClock(), namespaces=[NAMESPACE])
        collector = await stack.enter_async_context(collecting())
        stage = Stage(servers, cluster, cache, collector)
        stage.stand_in = stand_in
        stack.push_async_callback(stage.http.aclose)
        following = asyncio.create_task(cache.run(), name="the client's watches")
        stack.callback(following.cancel)
        await cache.synced.wait()
        await stage.start_agent()
        stack.push_async_callback(stage.agent.wait)
        stack.callback(stage.agent.kill)
        yield stage


async def _local_cluster(servers: Servers, stack: AsyncExitStack) -> Process:
    process = Process(
        "cluster",
        *("-m", "agent.cli", "cluster", "up", "--kubeconfig", str(servers.kubeconfig)),
        *("--ready-seconds", "0.1"),
        directory=servers.directory,
    )
    await stack.enter_async_context(process)

    async def ready() -> bool:
        return "cluster at" in process.output()

    await until(ready, "the local cluster is up", context=process)
    return process
