"""What rollouts are known by, read from the engine's cache."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import structlog

from agent.api.decode import read
from agent.api.meta import Key, Object
from agent.api.names import ABORT_ON, POD_TEMPLATE_HASH
from agent.api.rollout import Rollout
from agent.engine.port import Engine
from agent.errors import Refused
from agent.traffic.istio_names import resolve
from handlers.alert.matchers import Matcher, parse_matchers
from handlers.alert.matching import Candidate, short_host

log = structlog.get_logger(__name__)


class _Known(NamedTuple):
    """A candidate and what it was made from. `routes`: namespaces and names of its VirtualServices."""

    objects: tuple[Object | None, ...]
    routes: tuple[tuple[str, str], ...]
    candidate: Candidate


class Candidates:
    """One candidate a rollout, kept until its Rollout, its VirtualServices or its ReplicaSets change.

    In a storm the hundredth alert must not read each of a thousand rollouts anew.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._known: dict[str, dict[Key, _Known]] = {}

    def within(self, namespace: str) -> tuple[Candidate, ...]:
        """All of a namespace."""
        before, now = self._known.pop(namespace, {}), dict[Key, _Known]()
        for rollout in self._engine.rollouts(namespace):
            key = Key.of(rollout)
            now[key] = self._current(key, rollout, before.get(key))
        if now:
            self._known[namespace] = now
        return tuple(known.candidate for known in now.values())

    def _current(self, key: Key, rollout: Object, known: _Known | None) -> _Known:
        if known is not None and known.objects[0] is not rollout:
            known = None
        routes = known.routes if known else _routes_of(rollout)
        objects = (
            rollout,
            *(self._engine.find("VirtualService", *name) for name in routes),
            *self._engine.replica_sets(key),
        )
        # The cache never changes an object: it shows another one.
        if known is not None and list(map(id, objects)) == list(map(id, known.objects)):
            return known
        return _Known(objects, routes, candidate(self._engine, rollout))


def candidate(engine: Engine, rollout: Object) -> Candidate:
    """What this rollout is known by; one that cannot be read only by its name."""
    key = Key.of(rollout)
    workloads = {key.name}
    services: set[str] = set()
    try:
        typed = read(Rollout, rollout)
    except Refused:
        return Candidate(key=key, workloads=frozenset(workloads), abort_on=_abort_on(rollout))
    if typed.spec.workload_ref and typed.spec.workload_ref.name:
        workloads.add(typed.spec.workload_ref.name)
    canary, blue_green = typed.spec.strategy.canary, typed.spec.strategy.blue_green
    if canary:
        services |= {canary.canary_service, canary.stable_service}
        if canary.ping_pong:
            services |= {canary.ping_pong.ping_service, canary.ping_pong.pong_service}
        services |= set(_hosts(engine, typed))
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
        abort_on=_abort_on(rollout),
    )


def _routes_of(rollout: Object) -> tuple[tuple[str, str], ...]:
    try:
        return tuple(_virtual_services(read(Rollout, rollout)))
    except Refused:
        return ()


def _virtual_services(rollout: Rollout) -> Iterator[tuple[str, str]]:
    """Namespaces and names of the VirtualServices that carry this rollout's traffic."""
    canary = rollout.spec.strategy.canary
    istio = canary.traffic_routing.istio if canary and canary.traffic_routing else None
    if istio is None:
        return
    named = [
        *(istio.virtual_services or ()),
        *((istio.virtual_service,) if istio.virtual_service else ()),
    ]
    for reference in named:
        yield resolve(reference.name, rollout.metadata.namespace)


def _hosts(engine: Engine, rollout: Rollout) -> Iterator[str]:
    """Hosts of the VirtualServices: Services by their short names."""
    for namespace, name in _virtual_services(rollout):
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


def _abort_on(rollout: Object) -> tuple[Matcher, ...] | None:
    annotations = (rollout.get("metadata") or {}).get("annotations") or {}
    text = annotations.get(ABORT_ON, "")
    if not text:
        return None
    try:
        return parse_matchers(text)
    except Refused as error:
        log.warning(
            "alert.abort_on_unreadable",
            rollout=str(Key.of(rollout)),
            annotation=ABORT_ON,
            error=str(error),
        )
        return None
