"""What a rollout of the present template will write to each route object, step by step. PURE.

The production plans run one after the other over the given objects, as if every pod were ready and nobody
intervened; nothing is read from a clock or a cluster.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec

from agent.api.decode import read
from agent.api.meta import Key, Object, Ref
from agent.api.rollout import CanaryStatus, Rollout, RolloutStatus
from agent.api.service_roles import service_roles, swapped
from agent.errors import Refused
from agent.rollout import defaults, managed_routes, replicas, shapes, steps, validation
from agent.rollout.decide import not_driven
from agent.rollout.hashes import pod_template_hash
from agent.rollout.sharing import sharing_errors
from agent.traffic.routers import router_of
from agent.traffic.routing import routing_of
from agent.traffic.types import Desired, FieldError, RouteChange, RouteObjects, Router

STABLE: str = "stable"
"""Stands for the hash of the stable version where no status tells it."""


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """One moment of the rollout.

    Attributes:
        kind: `begin` (names come over), `step`, `promote` (all traffic), `finish` (names come over, back to
            the stable names), `abort` (what one abort writes when every step was done).
        index: of a step.
        text: of a step, as Argo's clients write it; else what happens beside the routes.
        weight: the canary's weight from here on, in percent.
        changes: in the order of their writes; empty when the moment touches no route object.
        refusal: why the routes cannot be written here.
    """

    kind: Literal["begin", "step", "promote", "finish", "abort"]
    weight: int
    index: int | None = None
    text: str = ""
    changes: tuple[RouteChange, ...] = ()
    refusal: FieldError | None = None


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """A whole rollout. `errors`: why it would be refused, by field; `router`: "" for pod counts alone."""

    key: Key
    router: str = ""
    errors: tuple[FieldError, ...] = ()
    stages: tuple[Stage, ...] = ()

    @property
    def is_refused(self) -> bool:
        return bool(self.errors) or any(stage.refusal for stage in self.stages)


def preview(
    manifest: Object,
    routes: RouteObjects,
    rivals: Iterable[Object],
    routers: Mapping[str, Router],
) -> Preview:
    """What this Rollout will write.

    Args:
        manifest: the Rollout; its status, when there is one, tells the stable version.
        routes: the route objects that exist.
        rivals: the other Rollouts that exist.
    """
    key = Key.of(manifest)
    try:
        shapes.check_rollout(manifest)
        rollout = read(Rollout, manifest)
    except Refused as error:
        return Preview(key=key, errors=(FieldError(error.field, error.detail),))
    router = router_of(routing_of(rollout), routers)
    errors = [*validation.validate(rollout), *not_driven(rollout, routers)]
    errors += _steps_not_driven(rollout)
    if router is None:
        return Preview(key=key, errors=tuple(errors))
    if not errors:
        errors += router.validate(rollout, routes)
        errors += sharing_errors(rollout, router, routes, rivals, routers)
    walk = _Walk(rollout, router, routes)
    walk.play()
    return Preview(key=key, router=router.name, errors=tuple(errors), stages=tuple(walk.stages))


class _Walk:
    """The objects while the rollout goes on."""

    def __init__(self, rollout: Rollout, router: Router, routes: RouteObjects) -> None:
        self._router = router
        self._routes = dict(routes)
        status = rollout.status
        self._new = pod_template_hash(rollout.spec.template or {}, status.collision_count)
        stable = status.stable_rs if status.stable_rs != self._new else ""
        self._stable = stable or STABLE
        self._rollout = msgspec.structs.replace(
            rollout,
            status=RolloutStatus(
                stable_rs=self._stable,
                current_pod_hash=self._new,
                collision_count=status.collision_count,
                canary=CanaryStatus(stable_ping_pong=status.canary.stable_ping_pong),
            ),
        )
        self.stages: list[Stage] = []

    def play(self) -> None:
        listed = defaults.canary_of(self._rollout).steps or []
        gone = managed_routes.gone(self._rollout)
        stable_hash = None if self._stable == STABLE else self._stable
        self._add(
            "begin",
            Desired(canary_weight=0, canary_hash=self._new, stable_hash=stable_hash, managed=gone),
        )
        for index, step in enumerate(listed):
            self._at(index)
            desired = Desired(
                canary_weight=replicas.current_set_weight(self._rollout),
                managed=managed_routes.by_steps(self._rollout),
            )
            self._add("step", desired, index=index, text=steps.describe(step))
        self._at(len(listed))
        full = defaults.max_traffic_weight(self._rollout)
        wanted = managed_routes.by_steps(self._rollout) if listed else ()
        self._add("promote", Desired(canary_weight=full, managed=wanted))
        exposed, rollout = dict(self._routes), self._rollout
        text = ""
        if service_roles(rollout).swap:
            text = "ping and pong change their roles"
            self._set_canary(stable_ping_pong=swapped(rollout))
        else:
            self._add("finish", Desired(stable_hash=self._new))
        self._add("finish", Desired(canary_weight=0, managed=gone), text=text)
        if self._router.plan(self._rollout, self._routes, Desired(canary_weight=0)).changes:
            # What marks a route while a canary is out goes once its weights are back.
            self._add("finish", Desired(canary_weight=0, managed=gone))
        self._routes, self._rollout = exposed, rollout
        self._add("abort", Desired(canary_weight=0, managed=gone))

    def _set_canary(self, **fields: Any) -> None:
        canary = msgspec.structs.replace(self._rollout.status.canary, **fields)
        status = msgspec.structs.replace(self._rollout.status, canary=canary)
        self._rollout = msgspec.structs.replace(self._rollout, status=status)

    def _at(self, index: int) -> None:
        status = msgspec.structs.replace(self._rollout.status, current_step_index=index)
        self._rollout = msgspec.structs.replace(self._rollout, status=status)

    def _add(
        self,
        kind: Literal["begin", "step", "promote", "finish", "abort"],
        desired: Desired,
        *,
        index: int | None = None,
        text: str = "",
    ) -> None:
        plan = self._router.plan(self._rollout, self._routes, desired)
        for change in plan.changes:
            self._routes[change.ref] = change.after
        before = self.stages[-1].weight if self.stages else 0
        weight = before if desired.canary_weight is None else desired.canary_weight
        self.stages.append(
            Stage(
                kind=kind,
                weight=weight,
                index=index,
                text=text,
                changes=plan.changes,
                refusal=plan.refusal,
            )
        )


def references(manifest: Object, routers: Mapping[str, Router]) -> tuple[Ref, ...]:
    """The route objects that a Rollout names; none when it cannot be read."""
    try:
        rollout = read(Rollout, manifest)
    except Refused:
        return ()
    router = router_of(routing_of(rollout), routers)
    return router.references(rollout) if router else ()


def _steps_not_driven(rollout: Rollout) -> list[FieldError]:
    listed = defaults.canary_of(rollout).steps or []
    return [
        FieldError(
            f"spec.strategy.canary.steps[{index}]", "this step type is not driven by Serinus yet"
        )
        for index, step in enumerate(listed)
        if steps.step_type(step) is None
    ]
