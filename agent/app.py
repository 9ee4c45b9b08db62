"""The composition root: the only place where everything is wired together, started and stopped in order."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from agent.analysis.providers.registry import providers
from agent.api.meta import Key
from agent.bus.inbox import Handle, Inbox
from agent.bus.make import Wiring
from agent.bus.port import Bus
from agent.bus.topics import ROLLOUTS
from agent.clock import Clock, SystemClock
from agent.cluster.cache import Cache
from agent.cluster.kubernetes import KubernetesCluster, connect
from agent.cluster.port import Cluster
from agent.election import Election
from agent.engine.crash_points import from_environment
from agent.engine.engine import RolloutEngine
from agent.engine.measure import AnalysisDriver
from agent.engine.options import Options
from agent.events.catalogue import (
    ALERT_FIRING,
    ALERT_RESOLVED,
    DEPLOYMENT_REQUESTED,
    DEPLOYMENT_SYNCED,
)
from agent.events.decode import from_http
from agent.http import Http
from agent.http_server import serving
from agent.intake import Intake
from agent.rollout.decide import decide
from agent.rollout.types import Policy
from agent.router_plugins import added_kinds, installed_routers
from agent.settings import Settings, secret
from agent.sink import RawDoor, Sink, Token
from agent.telemetry.metrics import Metrics
from handlers.alert import AlertHandler, ConfigMapLedger, Rules
from handlers.alert import translate as alertmanager_webhook
from handlers.alert.alertmanager import AlertmanagerSource
from handlers.command import BY_TYPE, CommandHandler
from handlers.deployment import DeploymentHandler
from handlers.deployment import translate as argocd_webhook
from handlers.kubernetes import TYPES as KUBERNETES_TYPES
from handlers.kubernetes import KubernetesHandler
from handlers.telegram import Client, TelegramHandler
from handlers.timer import PING, TimerHandler

log = structlog.get_logger(__name__)

KINDS: Final = ("Rollout", "ReplicaSet", "Service", "AnalysisRun", "AnalysisTemplate")
OPTIONAL_KINDS: Final = (
    "ClusterAnalysisTemplate", "Experiment", "VirtualService", "DestinationRule", "HTTPRoute", "GRPCRoute",
    "TCPRoute", "TLSRoute", "Namespace",
)  # fmt: skip
"""A cluster without Istio or Gateway API, or a role without cluster-wide rights, is no reason not to start."""
LAG_SECONDS: Final = 0.5
SYNC_WARN_SECONDS: Final = 10.0
TELEGRAM_DRAIN_SECONDS: Final = 3.0

DOORS: Final = (
    RawDoor("/webhooks/alertmanager", "alertmanager", alertmanager_webhook),
    RawDoor("/webhooks/argocd", "argocd", argocd_webhook),
)


@dataclass(kw_only=True)
class Agent:
    """A running agent, for those who embed it."""

    port: int
    engine: RolloutEngine
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
    http = Http()
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
        optional = (*OPTIONAL_KINDS, *added_kinds(routers))
        self.cache = Cache(
            cluster,
            (*KINDS, *optional),
            clock,
            namespaces=settings.cluster.namespaces or None,
            optional=frozenset(optional),
        )
        self._wiring = Wiring(settings, clock, http, meter=self._metrics)
        self.bus = self._wiring.bus
        self._election = Election(
            settings.ownership, cluster, clock, self._wiring.owner, self._metrics.elected
        )
        owner = self._election.owner
        self._metrics.observe_owner(owner)
        # The subscriber is known to the engine before Telegram knows the engine.
        self._telegram: TelegramHandler | None = None
        subscribers = (self._to_telegram,) if settings.telegram.chat_id else ()
        self.engine = RolloutEngine(
            cluster,
            self.cache,
            clock,
            decide,
            routers,
            options=self._options(),
            bus=self.bus,
            subscribers=subscribers,
            ownership=owner,
            reach=from_environment(),
            meter=self._metrics,
        )
        self._metrics.observe_rollouts(self.engine)
        self._driver = AnalysisDriver(
            cluster,
            self.cache,
            clock,
            providers(
                http,
                {
                    "prometheus_address": settings.prometheus.address,
                    "prometheus_check_freshness": settings.prometheus.check_freshness,
                },
            ),
            compat=settings.engine.compat,
            missing=settings.engine.missing_data,
            counted=self._metrics.measured,
            owns=owner.owns,
        )
        owner.on_change(self._driver.wake_all)
        if self._wiring.kafka is not None:
            self._metrics.observe_bus(self._wiring.kafka)
        self.cache.on_change(self.engine.changed)
        self.cache.on_change(self._driver.changed)
        self._alerts = self._make_alerts()
        self.engine.use_level_check(self._alerts.level_check)
        self._telegram = self._make_telegram()
        self._inbox = Inbox(
            self.bus,
            self._table(),
            counted=self._count_event,
            buried=lambda topic: self._metrics.dead_letters.labels(topic).inc(),
        )
        self._intake = Intake(self.bus, self._inbox.dispatch, counted=self._count_event)

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
            analysis = group.create_task(self._driver.run(), name="analysis")
            stack.push_async_callback(self._end_analysis, analysis)
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

    async def _end_analysis(self, task: asyncio.Task[None]) -> None:
        await self._driver.stop(self._settings.engine.shutdown_seconds / 2)
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
        tokens = [
            Token(
                token.name,
                secret(file=token.file, env=token.env, field=f"sink.tokens[{index}]"),
                token.doors,
            )
            for index, token in enumerate(self._settings.sink.tokens)
        ]
        return Sink(
            self._intake.accept,
            self._clock,
            doors=DOORS,
            tokens=tokens,
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
            metrics=self._metrics.expose,
            max_body=self._settings.sink.max_body_bytes,
        )

    def _options(self) -> Options:
        engine = self._settings.engine
        return Options(
            source=engine.source,
            topic=ROLLOUTS,
            policy=Policy(
                drain_seconds=engine.drain_seconds,
                compat=engine.compat,
                frozen=engine.frozen,
                hold_timeout_seconds=engine.hold_timeout_seconds,
                correction_seconds=engine.correction_seconds,
                listener_seconds=engine.listener_seconds,
                route_status=engine.route_status,
            ),
            dump_directory=Path(engine.dump_directory) if engine.dump_directory else None,
            shutdown_seconds=engine.shutdown_seconds,
        )

    def _make_alerts(self) -> AlertHandler:
        alerts = self._settings.alerts
        source = (
            AlertmanagerSource(self._http, alerts.alertmanager)
            if alerts.alertmanager
            else ConfigMapLedger(self._cluster, namespace=alerts.ledger_namespace)
        )
        rules = Rules(
            namespace_labels=tuple(alerts.namespace_labels),
            default_namespace=alerts.default_namespace,
            extra_labels=tuple(alerts.extra_labels),
        )
        return AlertHandler(
            self.engine,
            source,
            self._clock,
            rules=rules,
            slack_seconds=alerts.slack_seconds,
            counted=lambda outcome: self._metrics.alerts.labels(outcome).inc(),
        )

    def _make_telegram(self) -> TelegramHandler | None:
        telegram = self._settings.telegram
        if not telegram.chat_id:
            return None
        token = secret(
            file=telegram.token_file, env=telegram.token_env, field="telegram.token_file"
        )
        client = Client(
            self._http.post,
            token=token,
            chat_id=telegram.chat_id,
            thread_id=telegram.thread_id,
            base_url=telegram.base_url,
        )
        return TelegramHandler(
            self.engine,
            client,
            self._clock,
            counted=lambda kind, outcome: self._metrics.telegram.labels(kind, outcome).inc(),
        )

    def _table(self) -> dict[str, Handle]:
        """Event types and their handlers: a new source is a handler and a line here."""
        settings = self._settings
        deployments = DeploymentHandler(
            self.engine,
            self._clock,
            destinations=settings.deployments.destinations,
            counted=lambda outcome: self._metrics.deployments.labels(outcome).inc(),
        )
        commands = CommandHandler(
            self.engine,
            self._clock,
            allowed_sources=settings.commands.allowed_sources,
            counted=lambda command, outcome: self._metrics.commands.labels(command, outcome).inc(),
        )
        kubernetes, timer = KubernetesHandler(self.engine), TimerHandler(self.engine)
        return {
            ALERT_FIRING: self._alerts.firing,
            ALERT_RESOLVED: self._alerts.resolved,
            DEPLOYMENT_SYNCED: deployments.synced,
            DEPLOYMENT_REQUESTED: deployments.requested,
            **dict.fromkeys(BY_TYPE, commands.handle),
            **dict.fromkeys(KUBERNETES_TYPES, kubernetes.changed),
            PING: timer.tick,
        }

    def _count_event(self, event_type: str, door: str, outcome: str) -> None:
        self._metrics.events.labels(event_type, door, outcome).inc()
