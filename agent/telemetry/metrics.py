"""Prometheus metrics: every one has its name here, once."""

from collections.abc import Iterable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from agent.bus.metrics import BusMeter, Watched
from agent.engine.metrics import Meter
from agent.engine.ownership import Ownership
from agent.engine.port import Engine

SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics(Meter, BusMeter):
    """What one process counts, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.events = self._counter(
            "events_received", "Events by type, door and outcome", "type", "door", "outcome"
        )
        self.dead_letters = self._counter("dead_letters", "Records that could not be used", "topic")
        self.alerts = self._counter("alerts", "Alerts by what they did", "outcome")
        self.commands = self._counter("commands", "Commands by outcome", "command", "outcome")
        self.deployments = self._counter("deployments", "Deployment events by outcome", "outcome")
        self.telegram = self._counter(
            "telegram_messages", "Messages by kind and outcome", "kind", "outcome"
        )
        self._measurements = self._counter(
            "measurements", "Measurements by provider and phase", "provider", "phase"
        )
        self._passes = self._counter("passes", "Passes by result", "result")
        self._writes = self._counter("writes", "Writes to the cluster", "kind", "verb", "result")
        self._announced = self._counter(
            "announcements", "Announcements by transition and result", "transition", "result"
        )
        self._recorded = self._counter(
            "kubernetes_events", "Core Events on rollouts and analysis runs by result", "result"
        )
        self._drifts = self._counter(
            "foreign_weights", "Weights that somebody else changed, by direction", "direction"
        )
        self._unheeded = self._counter(
            "aborts_unheeded", "Aborts that the engine beside us did not carry out in time"
        )
        self._write_seconds = self._histogram("write_seconds", "Duration of a write to the cluster")
        self._wait_seconds = self._histogram("wake_wait_seconds", "From a wake to its pass")
        self._abort_seconds = self._histogram(
            "abort_seconds", "From the decision of an abort to the route's write"
        )
        self._bus_published = self._counter(
            "bus_published", "Publications by topic and result", "topic", "result"
        )
        self._bus_consumed = self._counter(
            "bus_consumed", "Records received by topic and result", "topic", "result"
        )
        self._bus_unreadable = self._counter(
            "bus_unreadable", "Records that could not be read off the bus", "topic", "reason"
        )
        self._bus_rebalances = self._counter(
            "bus_rebalances", "Times a group shared its partitions out", "topic"
        )
        self._bus_rebuilt = self._counter(
            "bus_rebuilt", "Clients that were replaced, by part and reason", "part", "reason"
        )
        self._publish_seconds = self._histogram(
            "bus_publish_seconds", "Until a publication was acknowledged or given up"
        )
        self._elections = self._counter(
            "lease_changes", "Times that we acquired, lost or released the lease", "change"
        )
        self._owner = Gauge(
            "serinus_owner", "Whether this process drives rollouts", registry=self.registry
        )
        self.other_engine = Gauge(
            "serinus_other_engine",
            "Whether another engine (an Argo Rollouts controller) lives; NaN when it cannot be told",
            registry=self.registry,
        )
        self.loop_lag = Gauge(
            "serinus_loop_lag_seconds", "How late the event loop ran", registry=self.registry
        )
        self.skew = Gauge(
            "serinus_api_skew_seconds", "API server's clock minus ours", registry=self.registry
        )

    def observe_rollouts(self, engine: Engine) -> None:
        """Export weight and state of every rollout at each scrape."""
        self.registry.register(_Rollouts(engine))

    def observe_owner(self, owner: Ownership) -> None:
        """Export at each scrape whether this process drives."""
        self._owner.set_function(lambda: float(owner.holds()))

    def measured(self, provider: str, phase: str) -> None:
        """A measurement was made."""
        self._measurements.labels(provider, phase).inc()

    def elected(self, change: str) -> None:
        """The lease was acquired, lost or released."""
        self._elections.labels(change).inc()

    def observe_bus(self, bus: Watched) -> None:
        """Export at each scrape how far behind the bus is."""
        self.registry.register(_Bus(bus))

    def expose(self) -> tuple[bytes, str]:
        """The text for a scrape and its content type."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST

    # agent.engine.metrics.Meter

    def wrote(self, kind: str, verb: str, result: str, seconds: float) -> None:
        self._writes.labels(kind, verb, result).inc()
        self._write_seconds.observe(seconds)

    def passed(self, result: str) -> None:
        self._passes.labels(result).inc()

    def waited(self, seconds: float) -> None:
        self._wait_seconds.observe(seconds)

    def aborted(self, seconds: float) -> None:
        self._abort_seconds.observe(seconds)

    def unheeded(self) -> None:
        self._unheeded.inc()

    def drifted(self, direction: str) -> None:
        self._drifts.labels(direction).inc()

    def announced(self, transition: str, result: str) -> None:
        self._announced.labels(transition, result).inc()

    def recorded(self, result: str) -> None:
        self._recorded.labels(result).inc()

    # agent.bus.metrics.BusMeter

    def published(self, topic: str, result: str, seconds: float) -> None:
        self._bus_published.labels(topic, result).inc()
        self._publish_seconds.observe(seconds)

    def consumed(self, topic: str, result: str) -> None:
        self._bus_consumed.labels(topic, result).inc()

    def unreadable(self, topic: str, reason: str) -> None:
        self._bus_unreadable.labels(topic, reason).inc()

    def rebalanced(self, topic: str) -> None:
        self._bus_rebalances.labels(topic).inc()

    def rebuilt(self, part: str, reason: str) -> None:
        self._bus_rebuilt.labels(part, reason).inc()

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"serinus_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str) -> Histogram:
        return Histogram(f"serinus_{name}", text, buckets=SECONDS, registry=self.registry)


class _Rollouts:
    """Gauges read off the cache when they are asked for: no series outlives its rollout."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def collect(self) -> Iterable[Metric]:
        labels = ["namespace", "name"]
        weight = GaugeMetricFamily(
            "serinus_rollout_weight", "Weight of the canary in percent", labels=labels
        )
        exposed = GaugeMetricFamily(
            "serinus_rollout_exposed", "Whether users reach the new version", labels=labels
        )
        for view in self._engine.views():
            weight.add_metric([*view.key], view.canary_weight)
            exposed.add_metric([*view.key], float(view.exposed))
        yield weight
        yield exposed


class _Bus:
    """Gauges read off the bus when they are asked for: a partition that went has no series."""

    def __init__(self, bus: Watched) -> None:
        self._bus = bus

    def collect(self) -> Iterable[Metric]:
        labels = ["topic", "partition"]
        lag = GaugeMetricFamily(
            "serinus_bus_lag_records", "Records of our partitions that are not done", labels=labels
        )
        held = GaugeMetricFamily(
            "serinus_bus_held_records",
            "Records of our partitions that an open transaction holds back",
            labels=labels,
        )
        oldest = GaugeMetricFamily(
            "serinus_bus_oldest_seconds", "Age of the oldest record under way", labels=labels
        )
        silent = GaugeMetricFamily(
            "serinus_bus_silent_seconds", "Since brokers last answered a fetch", labels=["topic"]
        )
        for entry in self._bus.backlog():
            lag.add_metric([entry.topic, str(entry.partition)], entry.records)
            held.add_metric([entry.topic, str(entry.partition)], entry.held)
            oldest.add_metric([entry.topic, str(entry.partition)], entry.oldest_seconds)
        for topic, seconds in self._bus.silent_seconds().items():
            silent.add_metric([topic], seconds)
        yield from (lag, held, oldest, silent)
