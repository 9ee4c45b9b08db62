"""Whether users can reach the new version: the view that alerts are judged by. Pure."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from agent.api.decode import read
from agent.api.meta import Key, Object
from agent.api.names import FIRST_EXPOSED, POD_TEMPLATE_HASH, REVISION
from agent.api.rollout import Rollout
from agent.api.times import parse_time
from agent.engine.port import View
from agent.errors import Refused
from agent.rollout.defaults import max_traffic_weight
from agent.rollout.managed_routes import by_steps
from agent.rollout.replicas import current_set_weight
from agent.rollout.types import Stage, Write
from agent.traffic.types import RouteObjects, Router


def view_of(
    rollout: Object,
    replica_sets: Sequence[Object],
    routes: RouteObjects,
    router: Router | None,
) -> View:
    """The rollout as matching and policy need it.

    A rollout is in progress until its current revision is the stable one, also while it is promoted in
    full: rollback stays possible until then. A spec that cannot be read is not in progress.
    """
    key = Key.of(rollout)
    try:
        typed = read(Rollout, rollout)
    except Refused:
        return View(key=key, rollout=rollout)
    status = typed.status
    current, stable = status.current_pod_hash, status.stable_rs
    new_set = find_revision(replica_sets, current)
    weight = max(recorded_weight(typed), (router and router.canary_weight(typed, routes)) or 0)
    standing = router.managed_routes(typed, routes) if router else ()
    in_progress = bool(current and stable and current != stable and not status.abort)
    return View(
        key=key,
        rollout=rollout,
        in_progress=in_progress,
        exposed=bool(current and stable and current != stable)
        and _is_exposed(typed, new_set, router, weight, standing),
        aborted=status.abort,
        created=_created(new_set),
        first_exposed=_first_exposed(new_set),
        current_hash=current,
        stable_hash=stable,
        revision=_annotation(new_set, REVISION) or typed.metadata.annotation(REVISION),
        canary_weight=weight,
    )


def is_overexposed(rollout: Rollout, routes: RouteObjects, router: Router) -> bool:
    """Whether the routes lead more users to the canary than anything we do asks for.

    What a status records is what was read, a foreign weight included: after an abort it allows nothing, but
    where the weight follows the pods of the stable version down.
    """
    status, strategy = rollout.status, rollout.spec.strategy.canary
    allowed = recorded_weight(rollout)
    if status.abort and not (strategy and strategy.dynamic_stable_scale):
        allowed = 0
    wanted: set[str] = set()
    if status.current_pod_hash != status.stable_rs and not status.abort:
        allowed = (
            max_traffic_weight(rollout)
            if status.promote_full
            else max(allowed, current_set_weight(rollout))
        )
        wanted = {route.name for route in by_steps(rollout) if route.match}
    standing = set(router.managed_routes(rollout, routes))
    return (router.canary_weight(rollout, routes) or 0) > allowed or not standing <= wanted


def exposes(write: Write, rollout: Object, *, routed: bool, weight: int) -> bool:
    """Whether a write that is not about a route lets more users reach the new version.

    Without a router the pods are the weight; with one, a name that traffic follows is re-pointed to it.
    """
    status = rollout.get("status") or {}
    current, stable = status.get("currentPodHash") or "", status.get("stableRS") or ""
    if not current or not stable or current == stable or status.get("abort"):
        return False
    body = write.body if isinstance(write.body, dict) else {}
    if write.stage is Stage.SELECTORS and write.ref.kind == "Service":
        selector = (body.get("spec") or {}).get("selector") or {}
        return selector.get(POD_TEMPLATE_HASH) == current and (weight > 0 or not routed)
    if write.stage is Stage.PODS_UP and write.ref.kind == "ReplicaSet":
        grows = "replicas" in (body.get("spec") or {})
        return not routed and grows and write.ref.name.endswith(f"-{current}")
    return False


def find_revision(replica_sets: Iterable[Object], pod_hash: str) -> Object | None:
    """The ReplicaSet of a pod-template hash."""
    if not pod_hash:
        return None
    for replica_set in replica_sets:
        labels = (replica_set.get("metadata") or {}).get("labels") or {}
        if labels.get(POD_TEMPLATE_HASH) == pod_hash:
            return replica_set
    return None


def recorded_weight(rollout: Rollout) -> int:
    """The canary's weight that the status says was written last."""
    weights = rollout.status.canary.weights
    return weights.canary.weight if weights is not None else 0


def _is_exposed(
    rollout: Rollout,
    new_set: Object | None,
    router: Router | None,
    weight: int,
    standing: tuple[str, ...],
) -> bool:
    strategy, status = rollout.spec.strategy, rollout.status
    if strategy.blue_green is not None:
        return status.blue_green.active_selector == status.current_pod_hash
    if router is not None:
        return weight > 0 or bool(standing) or bool(_special_routes(rollout))
    ready: Any = ((new_set or {}).get("status") or {}).get("readyReplicas")
    return bool(ready)


def _special_routes(rollout: Rollout) -> tuple[str, ...]:
    """Header and mirror routes that the steps up to the current one have set and not taken away."""
    canary, index = rollout.spec.strategy.canary, rollout.status.current_step_index
    if canary is None or index is None:
        return ()
    live: dict[str, bool] = {}
    for step in (canary.steps or ())[: index + 1]:
        for route in (step.set_header_route, step.set_mirror_route):
            if route is not None:
                live[route.name] = bool(route.match)
    return tuple(name for name, is_set in live.items() if is_set)


def _created(new_set: Object | None) -> datetime | None:
    try:
        return parse_time(((new_set or {}).get("metadata") or {})["creationTimestamp"])
    except (KeyError, ValueError):
        return None


def _first_exposed(new_set: Object | None) -> datetime | None:
    text = _annotation(new_set, FIRST_EXPOSED)
    try:
        return parse_time(text) if text else None
    except ValueError:
        return None


def _annotation(obj: Object | None, name: str) -> str:
    annotations = ((obj or {}).get("metadata") or {}).get("annotations") or {}
    return str(annotations.get(name) or "")
