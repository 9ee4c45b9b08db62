"""What rollouts are known by, read from the engine's cache."""

from collections.abc import Iterable, Iterator
from typing import Any

import structlog

from agent.api.decode import read
from agent.api.names import ABORT_ON, POD_TEMPLATE_HASH
from agent.api.rollout import Rollout
from agent.engine.port import Engine, View
from agent.errors import Refused
from agent.traffic.istio_names import resolve
from handlers.alert.matchers import Matcher, parse_matchers
from handlers.alert.matching import Candidate, short_host

log = structlog.get_logger(__name__)


def candidates(engine: Engine, views: Iterable[View]) -> Iterator[Candidate]:
    """One candidate a rollout; a rollout that cannot be read matches by its name only."""
    for view in views:
        yield candidate(engine, view)


def candidate(engine: Engine, view: View) -> Candidate:
    """What this rollout is known by."""
    key = view.key
    workloads = {key.name}
    services: set[str] = set()
    try:
        rollout = read(Rollout, view.rollout)
    except Refused:
        return Candidate(key=key, workloads=frozenset(workloads), abort_on=_abort_on(view))
    if rollout.spec.workload_ref and rollout.spec.workload_ref.name:
        workloads.add(rollout.spec.workload_ref.name)
    canary, blue_green = rollout.spec.strategy.canary, rollout.spec.strategy.blue_green
    if canary:
        services |= {canary.canary_service, canary.stable_service}
        if canary.ping_pong:
            services |= {canary.ping_pong.ping_service, canary.ping_pong.pong_service}
        services |= set(_hosts(engine, rollout))
    if blue_green:
        services |= {blue_green.active_service, blue_green.preview_service}
    return Candidate(
        key=key,
        services=frozenset(services - {""}),
        workloads=frozenset(workloads),
        replica_sets={
            rs["metadata"]["name"]: (rs["metadata"].get("labels") or {}).get(POD_TEMPLATE_HASH, "")
            for rs in engine.replica_sets(key)
        },
        abort_on=_abort_on(view),
    )


def _hosts(engine: Engine, rollout: Rollout) -> Iterator[str]:
    """Hosts of the VirtualServices that carry this rollout's traffic: Services by their short names."""
    canary = rollout.spec.strategy.canary
    istio = canary.traffic_routing.istio if canary and canary.traffic_routing else None
    if istio is None:
        return
    named = [
        *(istio.virtual_services or ()),
        *((istio.virtual_service,) if istio.virtual_service else ()),
    ]
    for reference in named:
        namespace, name = resolve(reference.name, rollout.metadata.namespace)
        found = engine.find("VirtualService", namespace, name)
        spec: dict[str, Any] = (found or {}).get("spec") or {}
        hosts = list(spec.get("hosts") or ())
        for protocol in ("http", "tls", "tcp"):
            for rule in spec.get(protocol) or ():
                targets = rule.get("route") or ()
                hosts.extend(
                    (target.get("destination") or {}).get("host", "") for target in targets
                )
        for host in map(str, hosts):
            if host and host != "*":
                yield short_host(host, rollout.metadata.namespace) or host


def _abort_on(view: View) -> tuple[Matcher, ...] | None:
    annotations = (view.rollout.get("metadata") or {}).get("annotations") or {}
    text = annotations.get(ABORT_ON, "")
    if not text:
        return None
    try:
        return parse_matchers(text)
    except Refused as error:
        log.warning(
            "alert.abort_on_unreadable",
            rollout=str(view.key),
            annotation=ABORT_ON,
            error=str(error),
        )
        return None
