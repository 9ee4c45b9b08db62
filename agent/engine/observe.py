"""Observe: one rollout and everything that decisions about it depend on, from the cache.

The cache overlays the API server's answers to our own writes until the watch delivers them, so no pass ever
runs on objects older than the lane's last write.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final, Protocol

import msgspec

from agent.api.decode import read
from agent.api.meta import Key, Object, Ref
from agent.api.names import COMPAT, FREEZE, ROUTE_STATUS
from agent.api.rollout import Rollout
from agent.engine.exposure import is_overexposed
from agent.engine.neighbours import Neighbours
from agent.errors import Refused
from agent.rollout.types import Observation, Policy
from agent.traffic.routers import router_of
from agent.traffic.routing import routing_of
from agent.traffic.types import Router

Routers = Mapping[str, Router]
"""Routers by the member of spec.strategy.canary.trafficRouting that configures them."""

MAX_TEMPLATES: Final = 256
"""Bound of the walk over templates that refer to templates."""


class Objects(Protocol):
    """What the engine asks of the cache; agent.cluster.cache.Cache is one."""

    def get(self, ref: Ref) -> Object | None: ...

    def owned(self, kind: str, uid: str) -> Iterable[Object]:
        """The objects of a kind whose controller is `uid`."""
        ...

    def list(self, kind: str, namespace: str | None = None) -> Iterable[Object]: ...

    def observe_write(self, obj: Object) -> None:
        """Show this answer of the API server until the watch is as far."""
        ...

    def observe_delete(self, ref: Ref) -> None:
        """Show this object as gone."""
        ...


class Observer:
    """Builds observations.

    Args:
        policy: the settings; annotations of the Rollout and its namespace refine them.
    """

    def __init__(self, objects: Objects, routers: Routers, policy: Policy) -> None:
        self._objects = objects
        self._routers = routers
        self._policy = policy
        self._typed: dict[Key, tuple[str, str, Rollout | None]] = {}
        self._neighbours = Neighbours(self._named)

    def changed(self, ref: Ref, new: Object | None) -> tuple[Key, ...]:
        """The cache shows a change (None: gone); other rollouts to which it makes a difference."""
        if ref.kind == "Rollout" and new is None:
            self._typed.pop(Key(ref.namespace, ref.name), None)
        return self._neighbours.changed(ref, new)

    def observe(self, key: Key, now: datetime) -> Observation | None:
        """Everything known about this rollout; None when it does not exist."""
        rollout = self._objects.get(Ref("Rollout", *key))
        if rollout is None:
            return None
        uid = str(rollout["metadata"].get("uid", ""))
        references = self.references(rollout)
        owned = {
            kind: tuple(sorted(self._objects.owned(kind, uid), key=_name))
            for kind in ("ReplicaSet", "AnalysisRun", "Experiment")
        }
        return Observation(
            now=now,
            rollout=rollout,
            replica_sets=owned["ReplicaSet"],
            analysis_runs=owned["AnalysisRun"],
            experiments=owned["Experiment"],
            services=self._services(key, rollout),
            templates=self._templates(key.namespace, rollout),
            routes=self.routes(rollout) | self._existing(self._neighbours.beside(references)),
            rivals=tuple(
                self._existing(
                    Ref("Rollout", *rival) for rival in self._neighbours.rivals(key)
                ).values()
            ),
            policy=self.policy(rollout),
        )

    def rollout(self, key: Key) -> Object | None:
        """The Rollout as the cache shows it now."""
        return self._objects.get(Ref("Rollout", *key))

    def typed(self, rollout: Object) -> Rollout | None:
        """The Rollout as a struct (cached by uid and resourceVersion); None when it cannot be read."""
        metadata = rollout["metadata"]
        key, version = Key.of(rollout), str(metadata.get("resourceVersion", ""))
        uid = str(metadata.get("uid", ""))
        known = self._typed.get(key)
        if known is not None and version and known[:2] == (uid, version):
            return known[2]
        try:
            typed: Rollout | None = read(Rollout, rollout)
        except Refused:
            typed = None
        self._typed[key] = (uid, version, typed)
        return typed

    def router(self, rollout: Object) -> Router | None:
        """The router that the spec configures, when it is one of ours."""
        typed = self.typed(rollout)
        return router_of(routing_of(typed), self._routers) if typed else None

    def references(self, rollout: Object) -> tuple[Ref, ...]:
        """The route objects that this rollout's router reads."""
        router, typed = self.router(rollout), self.typed(rollout)
        return router.references(typed) if router is not None and typed is not None else ()

    def routes(self, rollout: Object) -> dict[Ref, Object]:
        """The route objects of this rollout that exist."""
        return self._existing(self.references(rollout))

    def _named(self, rollout: Object) -> tuple[Ref, ...]:
        namespace = Key.of(rollout).namespace
        services = (Ref("Service", namespace, name) for name in service_names(rollout))
        return (*services, *self.references(rollout))

    def _existing(self, refs: Iterable[Ref]) -> dict[Ref, Object]:
        found = ((ref, self._objects.get(ref)) for ref in refs)
        return {ref: obj for ref, obj in found if obj is not None}

    def is_overexposed(self, key: Key, changed: Ref) -> bool:
        """Whether a route object that has just changed exposes users to more than we ask for."""
        rollout = self.rollout(key)
        if rollout is None or changed not in self.references(rollout):
            return False
        router, typed = self.router(rollout), self.typed(rollout)
        if router is None or typed is None:
            return False
        return is_overexposed(typed, self.routes(rollout), router)

    def policy(self, rollout: Object) -> Policy:
        """The settings with what annotations say about this rollout."""
        annotations = rollout["metadata"].get("annotations") or {}
        policy = self._policy
        if annotations.get(COMPAT) in ("safe", "argo"):
            policy = msgspec.structs.replace(policy, compat=annotations[COMPAT])
        if annotations.get(ROUTE_STATUS) in ("required", "ignored"):
            policy = msgspec.structs.replace(policy, route_status=annotations[ROUTE_STATUS])
        namespace = self._objects.get(Ref("Namespace", "", Key.of(rollout).namespace)) or {}
        freeze = ((namespace.get("metadata") or {}).get("annotations") or {}).get(FREEZE, "")
        if freeze and freeze != "false":
            policy = msgspec.structs.replace(policy, frozen=True)
        return policy

    def _services(self, key: Key, rollout: Object) -> dict[str, Object]:
        found = (
            (name, self._objects.get(Ref("Service", key.namespace, name)))
            for name in service_names(rollout)
        )
        return {name: obj for name, obj in found if obj is not None}

    def _templates(self, namespace: str, rollout: Object) -> dict[Ref, Object]:
        templates: dict[Ref, Object] = {}
        waiting = list(template_refs(rollout.get("spec") or {}, namespace))
        seen = set(waiting)
        while waiting and len(seen) <= MAX_TEMPLATES:
            ref = waiting.pop(0)
            template = self._objects.get(ref)
            if template is None:
                continue
            templates[ref] = template
            for nested in template_refs(template.get("spec") or {}, namespace):
                if nested not in seen:
                    seen.add(nested)
                    waiting.append(nested)
        return templates


def service_names(rollout: Object) -> tuple[str, ...]:
    """The Services that a Rollout's spec names."""
    strategy = (rollout.get("spec") or {}).get("strategy") or {}
    canary, blue_green = strategy.get("canary") or {}, strategy.get("blueGreen") or {}
    ping_pong = canary.get("pingPong") or {}
    names = (
        canary.get("canaryService"), canary.get("stableService"),
        ping_pong.get("pingService"), ping_pong.get("pongService"),
        blue_green.get("activeService"), blue_green.get("previewService"),
    )  # fmt: skip
    return tuple(dict.fromkeys(str(name) for name in names if name))


def named_by(rollout: Object) -> tuple[Ref, ...]:
    """The Services, templates and workload that a Rollout's spec names, existing or not."""
    namespace, spec = Key.of(rollout).namespace, rollout.get("spec") or {}
    services = (Ref("Service", namespace, name) for name in service_names(rollout))
    workload = spec.get("workloadRef") or {}
    workloads = (
        (Ref(str(workload.get("kind", "")), namespace, str(workload["name"])),)
        if workload.get("name")
        else ()
    )
    return (*services, *template_refs(spec, namespace), *workloads)


def template_refs(spec: Any, namespace: str) -> Iterator[Ref]:
    """Every analysis template that a spec refers to, wherever in it.

    Steps, background and blue-green analyses name theirs by `templates[].templateName`, experiments by
    `analyses[].templateName`; `clusterScope` says which of the two kinds is meant.
    """
    if isinstance(spec, dict):
        name = spec.get("templateName")
        if isinstance(name, str) and name:
            cluster = spec.get("clusterScope") is True
            yield (
                Ref("ClusterAnalysisTemplate", "", name)
                if cluster
                else Ref("AnalysisTemplate", namespace, name)
            )
        for member, value in spec.items():
            # The pod template is the largest part of a spec and never names one.
            if member != "template":
                yield from template_refs(value, namespace)
    elif isinstance(spec, list):
        for item in spec:
            yield from template_refs(item, namespace)


def _name(obj: Object) -> str:
    return str(obj["metadata"].get("name", ""))
