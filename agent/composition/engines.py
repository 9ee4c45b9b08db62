"""The engine that the settings ask for: one that drives while no other does, or a companion."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agent.analysis.providers.registry import providers
from agent.bus.topics import ROLLOUTS
from agent.composition.around import Around
from agent.composition.mode_events import ModeEvents
from agent.engine.companion.engine import CompanionEngine
from agent.engine.companion.store import MarkStore
from agent.engine.crash_points import from_environment
from agent.engine.engine import RolloutEngine
from agent.engine.measure import AnalysisDriver
from agent.engine.options import Options
from agent.engine.other_engine import OtherEngine
from agent.engine.ownership import Ownership
from agent.engine.switch import Driving, Switch
from agent.rollout.decide import decide
from agent.rollout.types import Policy


@dataclass(frozen=True, kw_only=True)
class Engines:
    """What drives or accompanies.

    Attributes:
        engine: the one that the doors know.
        analysis: measures and judges; None where Argo does.
        note: for readiness, what this process does if not what the settings ask for; "" when it does.
    """

    engine: Switch | CompanionEngine
    analysis: AnalysisDriver | None
    note: Callable[[], str]


def engines(around: Around) -> Engines:
    """By engine.mode."""
    if around.settings.engine.mode == "companion":
        companion = _companion(around)
        around.cache.on_change(companion.changed)
        return Engines(engine=companion, analysis=None, note=lambda: "companion: as set")
    return _driving(around)


def _driving(around: Around) -> Engines:
    settings = around.settings.engine
    driving = Driving(around.ownership)
    engine = RolloutEngine(
        around.cluster,
        around.cache,
        around.clock,
        decide,
        around.routers,
        options=options(around),
        bus=around.wiring.bus,
        subscribers=around.subscribers,
        ownership=driving,
        announces=around.ownership,
        reach=from_environment(),
        meter=around.metrics,
    )
    other = OtherEngine(
        around.cluster,
        around.clock,
        leases=settings.argo_leases,
        quiet_seconds=settings.argo_quiet_seconds,
    )
    switch = Switch(
        engine,
        _companion(around),
        other,
        driving,
        MarkStore(around.cluster, settings.marks_namespace),
        around.clock,
        ModeEvents(around.wiring.bus, around.clock, settings.source).tell,
    )
    analysis = _analysis(around, driving)
    around.cache.on_change(switch.changed)
    around.cache.on_change(analysis.changed)
    return Engines(engine=switch, analysis=analysis, note=lambda: switch.note)


def _companion(around: Around) -> CompanionEngine:
    settings = around.settings
    namespaces = frozenset(settings.cluster.namespaces)
    return CompanionEngine(
        around.cluster,
        around.cache,
        around.clock,
        around.routers,
        marks_namespace=settings.engine.marks_namespace,
        in_scope=lambda namespace: not namespaces or namespace in namespaces,
        options=options(around),
        bus=around.wiring.bus,
        subscribers=around.subscribers,
        ownership=around.ownership,
        reach=from_environment(),
        meter=around.metrics,
    )


def _analysis(around: Around, ownership: Ownership) -> AnalysisDriver:
    settings = around.settings
    analysis = AnalysisDriver(
        around.cluster,
        around.cache,
        around.clock,
        providers(
            around.http,
            {
                "prometheus_address": settings.prometheus.address,
                "prometheus_check_freshness": settings.prometheus.check_freshness,
            },
        ),
        compat=settings.engine.compat,
        missing=settings.engine.missing_data,
        counted=around.metrics.measured,
        owns=ownership.owns,
    )
    ownership.on_change(analysis.wake_all)
    return analysis


def options(around: Around) -> Options:
    """The settings of an engine."""
    engine = around.settings.engine
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
