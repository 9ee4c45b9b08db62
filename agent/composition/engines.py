"""The engine that the settings ask for: one that drives while no other does, or a companion."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from agent.analysis.providers.instant import instant
from agent.analysis.providers.port import Provider
from agent.analysis.providers.registry import plugin_problems, providers
from agent.bus.topics import ROLLOUTS
from agent.composition.around import Around
from agent.composition.mode_events import ModeEvents
from agent.engine.companion.driver import Driver
from agent.engine.companion.engine import CompanionEngine
from agent.engine.companion.store import MarkStore
from agent.engine.crash_points import from_environment
from agent.engine.engine import RolloutEngine
from agent.engine.measure import AnalysisDriver
from agent.engine.options import Options
from agent.engine.other_engine import OtherEngine
from agent.engine.ownership import Ownership
from agent.engine.shares import ShareMeter
from agent.engine.switch import Driving, Switch
from agent.rollout.decide import decide
from agent.rollout.types import Policy


@dataclass(frozen=True, kw_only=True)
class Engines:
    """What drives or accompanies.

    Attributes:
        engine: the one that the doors know.
        analysis: measures and judges; None where Argo does.
        shares: confirms weights by the requests; None where Argo drives.
        driver: watches who drives beside a companion; None where this process may drive.
        note: for readiness, what this process does if not what the settings ask for; "" when it does.
    """

    engine: Switch | CompanionEngine
    analysis: AnalysisDriver | None
    shares: ShareMeter | None
    driver: Driver | None
    note: Callable[[], str]


def engines(around: Around) -> Engines:
    """By engine.mode."""
    if around.settings.engine.mode == "companion":
        return _accompanying(around)
    return _driving(around)


def _accompanying(around: Around) -> Engines:
    companion, other = _companion(around), _other(around)
    driver = Driver(other, around.clock)
    around.cache.on_change(companion.changed)
    around.cache.on_change(other.changed)
    around.metrics.other_engine.set_function(driver.gauge)
    return Engines(
        engine=companion, analysis=None, shares=None, driver=driver, note=lambda: driver.note
    )


def _driving(around: Around) -> Engines:
    settings = around.settings.engine
    driving = Driving(around.ownership)
    known = _providers(around)
    engine = RolloutEngine(
        around.cluster,
        around.cache,
        around.clock,
        decide,
        around.routers,
        options=options(around, plugin_problems(known)),
        bus=around.wiring.bus,
        subscribers=around.subscribers,
        ownership=driving,
        announces=around.ownership,
        reach=from_environment(),
        meter=around.metrics,
    )
    other = _other(around)
    around.metrics.other_engine.set_function(lambda: float(bool(other.why)))
    switch = Switch(
        engine,
        _companion(around),
        other,
        driving,
        MarkStore(around.cluster, settings.marks_namespace),
        around.clock,
        ModeEvents(around.wiring.bus, around.clock, settings.source).tell,
    )
    analysis = _analysis(around, driving, known)
    around.cache.on_change(switch.changed)
    around.cache.on_change(analysis.changed)
    shares = ShareMeter(
        around.cluster,
        around.cache,
        around.clock,
        instant(around.http, around.settings.prometheus.address, around.clock),
        around.routers,
        owns=driving.owns,
        least=around.settings.prometheus.confirm_requests,
    )
    return Engines(
        engine=switch, analysis=analysis, shares=shares, driver=None, note=lambda: switch.note
    )


def _other(around: Around) -> OtherEngine:
    settings = around.settings.engine
    return OtherEngine(
        around.cluster,
        around.clock,
        leases=settings.argo_leases,
        quiet_seconds=settings.argo_quiet_seconds,
    )


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


def _providers(around: Around) -> dict[str, Provider]:
    prometheus = around.settings.prometheus
    return providers(
        around.http,
        {
            "prometheus_address": prometheus.address,
            "prometheus_check_freshness": prometheus.check_freshness,
        },
        around.cluster,
    )


def _analysis(
    around: Around, ownership: Ownership, known: Mapping[str, Provider]
) -> AnalysisDriver:
    settings = around.settings
    analysis = AnalysisDriver(
        around.cluster,
        around.cache,
        around.clock,
        known,
        compat=settings.engine.compat,
        missing=settings.engine.missing_data,
        counted=around.metrics.measured,
        recorded=around.metrics.recorded,
        owns=ownership.owns,
    )
    ownership.on_change(analysis.wake_all)
    return analysis


def options(around: Around, plugins: Mapping[str, str] | None = None) -> Options:
    """The settings of an engine, and the metric providers of third parties that it may find in templates."""
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
            plugins=plugins or {},
        ),
        dump_directory=Path(engine.dump_directory) if engine.dump_directory else None,
        shutdown_seconds=engine.shutdown_seconds,
    )
