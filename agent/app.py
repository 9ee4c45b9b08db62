"""The composition root: the only place where everything is wired together, started and stopped in order."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import structlog

from agent.analysis.providers.job import RUN_UID
from agent.api.meta import Key
from agent.bus.inbox import Inbox
from agent.bus.make import Wiring
from agent.bus.port import Bus
from agent.clock import Clock, SystemClock
from agent.cluster.cache import Cache
from agent.cluster.kubernetes import KubernetesCluster, connect
from agent.cluster.port import Cluster
from agent.composition.around import Around
from agent.composition.doors import RAW_DOORS, alert_handler, table, telegram_handler, tokens
from agent.composition.engines import engines
from agent.election import Election
from agent.engine.companion.engine import CompanionEngine
from agent.engine.measure import AnalysisDriver
from agent.engine.observe import Routers
from agent.engine.switch import Switch
from agent.events.decode import from_http
from agent.http import Http
from agent.http_server import serving
from agent.intake import Intake
from agent.router_plugins import added_kinds, installed_routers
from agent.settings import OwnershipSettings, Settings
from agent.sink import Sink
from agent.telemetry.metrics import Metrics
from handlers.telegram import TelegramHandler

log = structlog.get_logger(__name__)

COMPANION_KINDS: Final = ("Rollout", "ReplicaSet", "AnalysisRun")
KINDS: Final = (*COMPANION_KINDS, "Service", "AnalysisTemplate")
ROUTES: Final = (
    "VirtualService", "DestinationRule", "HTTPRoute", "GRPCRoute", "TCPRoute", "TLSRoute",
)  # fmt: skip
OPTIONAL_KINDS: Final = (*ROUTES, "ClusterAnalysisTemplate", "Experiment", "Namespace", "Job")
"""A cluster without Istio or Gateway API, or a role without cluster-wide rights, is no reason not to start."""
LABELS: Final = {"Job": RUN_UID}
"""Of these kinds only objects with a label are followed: the Jobs of AnalysisRuns."""
LAG_SECONDS: Final = 0.5
SYNC_WARN_SECONDS: Final = 10.0
TELEGRAM_DRAIN_SECONDS: Final = 3.0


@dataclass(kw_only=True)
class Agent:
    """A running agent, for those who embed it."""

    port: int
    engine: Switch | CompanionEngine
    cache: Cache
    bus: Bus
    metrics: Metrics


@asynccontextmanager
async def running(
    settings: Settings, *, cluster: Cluster | None = None, clock: Clock | None = None
) -> AsyncIterator[Agent]:
    """An agent that works while the context lasts, and stops in order when it ends.

    Args:
        cluster: instead of the one that the settings name.

    Raises Refused for settings that cannot work, Unavailable when the cluster cannot be reached.
    """
    clock = clock or SystemClock()
    http = Http(ca_file=settings.http.ca_file)
    owned: KubernetesCluster | None = None
    if cluster is None:
        path = Path(settings.cluster.kubeconfig) if settings.cluster.kubeconfig else None
        owned = await connect(clock, kubeconfig=path, context=settings.cluster.context)
        cluster = owned
    try:
        async with _Parts(settings, cluster, clock, http).running() as agent:
            yield agent
    finally:
        await http.aclose()
        if owned is not None:
            await owned.aclose()


class _Parts:
    """All parts of one agent, and the order in which they start and stop."""

    def __init__(self, settings: Settings, cluster: Cluster, clock: Clock, http: Http) -> None:
        self._settings = settings
        self._cluster = cluster
        self._clock = clock
        self._http = http
        self._metrics = Metrics()
        routers = installed_routers()
        self.cache = _cache(settings, cluster, clock, routers)
        self._wiring = Wiring(settings, clock, http, meter=self._metrics)
        self.bus = self._wiring.bus
        self._election = Election(
            _ownership(settings), cluster, clock, self._wiring.owner, self._metrics.elected
        )
        self._metrics.observe_owner(self._election.owner)
        # The subscriber is known to the engine before Telegram knows the engine.
        self._telegram: TelegramHandler | None = None
        around = self._around = Around(
            settings=settings,
            cluster=cluster,
            cache=self.cache,
            clock=clock,
            http=http,
            metrics=self._metrics,
            wiring=self._wiring,
            ownership=self._election.owner,
            routers=routers,
            subscribers=(self._to_telegram,) if settings.telegram.chat_id else (),
        )
        self._engines = engines(around)
        self.engine = self._engines.engine
        self._metrics.observe_rollouts(self.engine)
        if self._wiring.kafka is not None:
            self._metrics.observe_bus(self._wiring.kafka)
        self._alerts = alert_handler(around, self.engine)
        self.engine.use_level_check(self._alerts.level_check)
        self._telegram = telegram_handler(around, self.engine)
        self._inbox = Inbox(
            self.bus,
            table(around, self.engine, self._alerts),
            counted=self._count_event,
            buried=lambda topic: self._metrics.dead_letters.labels(topic).inc(),
        )
        self._intake = Intake(self.bus, self._inbox.dispatch, clock, counted=self._count_event)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Agent]:
        """Cache first, then the engine on a full cache, and only then work through the doors.

        At the end: not ready, doors shut, records received and committed, passes ended, announcements out,
        then the rest. Bounded.
        """
        sink = self._settings.sink
        async with asyncio.TaskGroup() as group, AsyncExitStack() as stack:
            stack.callback(log.info, "agent.stopped")
            stack.push_async_callback(self.bus.aclose)
            doors = await stack.enter_async_context(AsyncExitStack())
            self._own(group, stack, self.cache.run(), "cache")
            # Probes are answered from the start; events are, once the agent is ready.
            port = await doors.enter_async_context(
                serving(self._sink().app, host=sink.host, port=sink.port)
            )
            log.info("agent.listening", host=sink.host, port=port)
            await self._wiring.start()
            await self._until_synced()
            await stack.enter_async_context(self._election.campaigning(group))
            self._own(group, stack, self._alerts.run(), "alerts")
            self._own(group, stack, self._watch_loop(), "loop lag")
            if self._telegram is not None:
                telegram = group.create_task(self._telegram.run(), name="telegram")
                stack.push_async_callback(self._end_telegram, self._telegram, telegram)
            if self._engines.analysis is not None:
                driver = self._engines.analysis
                analysis = group.create_task(driver.run(), name="analysis")
                stack.push_async_callback(self._end_analysis, driver, analysis)
            if self._engines.shares is not None:
                self._own(group, stack, self._engines.shares.run(), "shares")
            if self._engines.driver is not None:
                self._own(group, stack, self._engines.driver.run(), "driver")
            engine = group.create_task(self.engine.run(), name="engine")
            stack.push_async_callback(self._end_engine, engine)
            records = group.create_task(self._receive(), name="records")
            stack.push_async_callback(self._end_records, records)
            stack.push_async_callback(doors.aclose)
            stack.callback(self._not_ready)
            self._intake.open = True
            log.info("agent.ready", port=port)
            yield Agent(
                port=port, engine=self.engine, cache=self.cache, bus=self.bus, metrics=self._metrics
            )

    async def _until_synced(self) -> None:
        while not self.cache.synced.is_set():
            try:
                async with asyncio.timeout(SYNC_WARN_SECONDS):
                    await self.cache.synced.wait()
            except TimeoutError:
                log.warning("agent.waits_for_cluster", kinds=self.cache.unsynced())

    def _not_ready(self) -> None:
        self._intake.open = False
        log.info("agent.stopping")

    async def _receive(self) -> None:
        """The records of the bus, until cancelled; without topics of ours there are none."""
        if self._wiring.consumed:
            await self.bus.consume(self._wiring.consumed, self._inbox.receive)

    async def _end_records(self, task: asyncio.Task[None]) -> None:
        # It ends in order, each step with a deadline of its own, so there is none here.
        task.cancel()
        await asyncio.wait({task})

    async def _end_engine(self, task: asyncio.Task[None]) -> None:
        self.engine.stop()
        await asyncio.wait({task}, timeout=self._settings.engine.shutdown_seconds + 2)
        task.cancel()

    async def _end_telegram(self, handler: TelegramHandler, task: asyncio.Task[None]) -> None:
        await handler.drain(TELEGRAM_DRAIN_SECONDS)
        task.cancel()

    async def _end_analysis(self, driver: AnalysisDriver, task: asyncio.Task[None]) -> None:
        await driver.stop(self._settings.engine.shutdown_seconds / 2)
        await asyncio.wait({task}, timeout=2)
        task.cancel()

    def _own(
        self,
        group: asyncio.TaskGroup,
        stack: AsyncExitStack,
        work: Coroutine[None, None, None],
        name: str,
    ) -> None:
        """A task that ends with the agent."""
        stack.callback(group.create_task(work, name=name).cancel)

    async def _to_telegram(self, key: Key, body: bytes) -> None:
        del key
        if self._telegram is not None:
            for event in from_http([("content-type", "application/cloudevents+json")], body):
                self._telegram.take(event)

    async def _watch_loop(self) -> None:
        """How late the loop runs: everything else is late by as much."""
        while True:
            before = self._clock.monotonic()
            await self._clock.sleep(LAG_SECONDS)
            self._metrics.loop_lag.set(max(0.0, self._clock.monotonic() - before - LAG_SECONDS))
            skew = getattr(self._cluster, "skew_seconds", 0.0)
            self._metrics.skew.set(skew)

    def _sink(self) -> Sink:
        return Sink(
            self._intake.accept,
            self._clock,
            doors=RAW_DOORS,
            tokens=tokens(self._around),
            checks={
                "cluster": lambda: (
                    ""
                    if self.cache.synced.is_set()
                    else f"waits for {', '.join(self.cache.unsynced())}"
                ),
                "bus": self._wiring.missing,
                "ownership": self._election.missing,
                "engine": lambda: "" if self._intake.open else "starting or stopping",
            },
            notes={"engine": self._engines.note},
            metrics=self._metrics.expose,
            max_body=self._settings.sink.max_body_bytes,
        )

    def _count_event(self, event_type: str, door: str, outcome: str) -> None:
        self._metrics.events.labels(event_type, door, outcome).inc()


def _ownership(settings: Settings) -> OwnershipSettings:
    """A companion needs no Lease: its marks let no two replicas tell the same."""
    if settings.engine.mode == "companion":
        return msgspec.structs.replace(settings.ownership, kind="none")
    return settings.ownership


def _cache(settings: Settings, cluster: Cluster, clock: Clock, routers: Routers) -> Cache:
    """The kinds that an engine of this mode looks at."""
    is_companion = settings.engine.mode == "companion"
    kinds = COMPANION_KINDS if is_companion else KINDS
    optional = (*(ROUTES if is_companion else OPTIONAL_KINDS), *added_kinds(routers))
    return Cache(
        cluster,
        (*kinds, *optional),
        clock,
        namespaces=settings.cluster.namespaces or None,
        optional=frozenset(optional),
        labels=LABELS,
    )
