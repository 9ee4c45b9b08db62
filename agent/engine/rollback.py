"""Taking an aborted version off: the weight, or the selector, by its own small plan.

Users are never sent to a version without ready pods while another has some: what the stable pods cannot carry
yet stays where it is, and the lane lowers it as they come up.
"""

from datetime import datetime
from typing import Any

import msgspec
import structlog

from agent.api.meta import Object, Ref
from agent.api.names import POD_TEMPLATE_HASH
from agent.api.rollout import Rollout
from agent.api.service_roles import service_roles
from agent.clock import Clock
from agent.engine.exposure import find_revision
from agent.engine.observe import Objects, Observer
from agent.engine.raising import lower
from agent.engine.write import Writer, version_of
from agent.errors import Conflict, Forbidden, Invalid, NotFound, Refused, Retry
from agent.rollout.defaults import max_traffic_weight
from agent.traffic.types import Router

log = structlog.get_logger(__name__)


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """How far the rollback came.

    Attributes:
        done: users no longer reach the aborted version by the route.
        shelter: what was re-pointed to stable because the route could not be written; "" when it could.
        refusal: why the route could not be written.
        written_at: when the last of its writes was answered; None when there was none.
    """

    done: bool = False
    shelter: str = ""
    refusal: str = ""
    written_at: datetime | None = None

    @property
    def message(self) -> str:
        """A sentence for people; "" when everything went as usual."""
        if not self.shelter:
            return ""
        return f"the route could not be written ({self.refusal}); {self.shelter} points to stable instead"


class Rollback:
    """Takes the aborted version of a rollout off."""

    def __init__(self, writer: Writer, objects: Objects, observer: Observer, clock: Clock) -> None:
        self._clock = clock
        self._writer = writer
        self._objects = objects
        self._observer = observer

    async def take_off(self, rollout: Object) -> Taken:
        """Do what can be done at once. The Rollout's abort must be stored: that is the fence of this.

        Raises Unavailable or Retry when the API server or others kept it from being done.
        """
        typed = self._observer.typed(rollout)
        if typed is None:
            return Taken(refusal="the Rollout cannot be read")
        strategy = typed.spec.strategy
        if strategy.blue_green is not None:
            return await self._switch_back(typed, strategy.blue_green.active_service)
        router = self._observer.router(rollout)
        if router is None:
            return Taken()
        if self._is_handing_over(typed):
            return Taken(
                refusal="the canary's names lead to the stable version until the stable ones do"
            )
        floor = self._floor(typed)
        if floor > 0:
            routes = self._observer.routes(rollout)
            is_low = (router.canary_weight(typed, routes) or 0) <= floor
            if is_low and not router.managed_routes(typed, routes):
                return Taken()
        times: list[datetime] = []
        try:
            await lower(
                self._writer,
                router,
                self._observer,
                rollout,
                floor,
                trust_cache=True,
                wrote_at=lambda: times.append(self._clock.now()),
            )
        except (Refused, Invalid, Forbidden, NotFound, Retry) as error:
            return await self._shelter(rollout, typed, router, str(error))
        return Taken(done=floor == 0, written_at=max(times, default=None))

    def _is_handing_over(self, rollout: Rollout) -> bool:
        """Whether weight on the canary's names is weight on the stable version.

        So it is from a promotion until the stable names have come over; a new version that is pushed and
        aborted in that time has no weight to take off.
        """
        services, stable = service_roles(rollout), rollout.status.stable_rs
        if not services.canary or not services.stable:
            return False
        namespace = rollout.metadata.namespace
        leads_to = {
            name: _selected(self._objects.get(Ref("Service", namespace, name)))
            for name in (services.canary, services.stable)
        }
        return leads_to[services.canary] == stable and leads_to[services.stable] not in ("", stable)

    def _floor(self, rollout: Rollout) -> int:
        """The weight that must stay: what ready stable pods cannot carry."""
        owned = tuple(self._objects.owned("ReplicaSet", rollout.metadata.uid))
        stable = _available(find_revision(owned, rollout.status.stable_rs))
        canary = _available(find_revision(owned, rollout.status.current_pod_hash))
        if canary == 0:
            return 0
        full = max_traffic_weight(rollout)
        if stable == 0:
            return full
        strategy = rollout.spec.strategy.canary
        if strategy is None or not strategy.dynamic_stable_scale:
            return 0
        wanted = 1 if rollout.spec.replicas is None else rollout.spec.replicas
        return max(0, full - stable * full // max(1, wanted))

    async def _shelter(
        self, rollout: Object, typed: Rollout, router: Router, refusal: str
    ) -> Taken:
        """The route cannot be written: point what it leads to at the stable pods, once."""
        stable_hash = typed.status.stable_rs
        plan = router.plan_shelter(typed, self._observer.routes(rollout), stable_hash)
        try:
            if plan.refusal is None and plan.changes:
                for change in plan.changes:
                    await self._writer.json(change.ref, list(change.patch), urgent=True)
                names = ", ".join(str(change.ref) for change in plan.changes)
                return Taken(shelter=f"the canary subset of {names}", refusal=refusal)
            service = service_roles(typed).canary
            if service and await self._point(typed, service, stable_hash):
                return Taken(shelter=f"Service {service}", refusal=refusal)
        except (Conflict, Invalid, Forbidden, NotFound) as error:
            refusal = f"{refusal}; nor could it be sheltered: {error}"
        log.error("abort.route_refused", refusal=refusal)
        return Taken(refusal=refusal)

    async def _switch_back(self, typed: Rollout, active_service: str) -> Taken:
        """Blue-green: the active Service selects the stable pods again."""
        status = typed.status
        if status.blue_green.active_selector != status.current_pod_hash:
            return Taken()
        owned = tuple(self._objects.owned("ReplicaSet", typed.metadata.uid))
        if not _available(find_revision(owned, status.stable_rs)):
            return Taken(refusal="the stable version has no ready pods yet")
        await self._point(typed, active_service, status.stable_rs)
        return Taken()

    async def _point(self, typed: Rollout, service: str, pod_hash: str) -> bool:
        """Have a Service select one version; whether it does now."""
        ref = Ref("Service", typed.metadata.namespace, service)
        live = await self._writer.get(ref, urgent=True)
        selector: dict[str, Any] = (live.get("spec") or {}).get("selector") or {}
        if selector.get(POD_TEMPLATE_HASH) != pod_hash:
            patch = {
                "metadata": {"resourceVersion": version_of(live)},
                "spec": {"selector": {POD_TEMPLATE_HASH: pod_hash}},
            }
            await self._writer.metadata(ref, patch, urgent=True)
        return True


def _selected(service: Object | None) -> str:
    selector = ((service or {}).get("spec") or {}).get("selector") or {}
    return str(selector.get(POD_TEMPLATE_HASH) or "")


def _available(replica_set: Object | None) -> int:
    return int(((replica_set or {}).get("status") or {}).get("availableReplicas") or 0)
