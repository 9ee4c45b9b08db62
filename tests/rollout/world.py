"""A world in memory for scenarios: objects, a router that does what it is told, pods that are there at once.

Decisions are carried out in the order of `act`; time stands still until the scenario moves it.
"""

import copy
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from agent.api.meta import Object, Ref
from agent.api.names import POD_TEMPLATE_HASH
from agent.api.rollout import Rollout
from agent.api.times import parse_time
from agent.cluster.local import patches
from agent.rollout.decide import decide
from agent.rollout.types import Decision, Observation, Policy, Stage, Write
from agent.traffic.types import (
    Claim,
    Desired,
    FieldError,
    RouteChange,
    RouteObjects,
    RoutePlan,
    Router,
)

ROUTE = Ref("Route", "default", "route")
MAX_PASSES = 200


class RecordingRouter(Router):
    """A router of any kind whose route is one object with one number."""

    def __init__(self, name: str) -> None:
        self.name = name

    def references(self, rollout: Rollout) -> tuple[Ref, ...]:
        del rollout
        return (ROUTE,)

    def validate(self, rollout: Rollout, objects: RouteObjects) -> tuple[FieldError, ...]:
        del rollout, objects
        return ()

    def canary_weight(self, rollout: Rollout, objects: RouteObjects) -> int | None:
        del rollout
        weight: int = objects[ROUTE]["weight"]
        return weight

    def claims(self, rollout: Rollout, objects: RouteObjects) -> tuple[Claim, ...]:
        del rollout, objects
        return ()

    def plan(self, rollout: Rollout, objects: RouteObjects, desired: Desired) -> RoutePlan:
        del rollout
        now = objects[ROUTE]["weight"]
        if desired.canary_weight is None or desired.canary_weight == now:
            return RoutePlan()
        after = {**objects[ROUTE], "weight": desired.canary_weight}
        patch = (
            {"op": "test", "path": "/weight", "value": now},
            {"op": "replace", "path": "/weight", "value": desired.canary_weight},
        )
        change = RouteChange(
            ref=ROUTE,
            direction="lower" if desired.canary_weight < now else "raise",
            before=objects[ROUTE],
            after=after,
            patch=patch,
            reason="scenario",
        )
        return RoutePlan(changes=(change,))


ROUTERS: dict[str, Router] = {
    name: RecordingRouter(name)
    for name in (
        "smi",
        "nginx",
        "alb",
        "ambassador",
        "appMesh",
        "traefik",
        "apisix",
        "example/plugin",
    )
}


class World:
    """One Rollout and all that belongs to it.

    Attributes:
        unhealthy: images whose pods never become available.
        decisions: every decision that was carried out.
        on_write: called before each write with the write; scenarios check invariants there.
    """

    def __init__(
        self,
        rollout: Object,
        *,
        start: datetime,
        services: Iterable[str] = (),
        templates: Iterable[Object] = (),
        unhealthy: Iterable[str] = (),
        policy: Policy | None = None,
    ) -> None:
        self.now = start
        self.policy = policy or Policy(drain_seconds=0, compat="argo")
        self.unhealthy = set(unhealthy)
        meta = {
            "name": "demo",
            "namespace": "default",
            "uid": "uid-demo",
            "generation": 1,
            "resourceVersion": "1",
        }
        self.rollout: Object = {
            **copy.deepcopy(rollout),
            "metadata": {**meta, **rollout.get("metadata", {})},
        }
        self.objects: dict[Ref, Object] = {ROUTE: {"weight": 0}}
        for name in services:
            self.objects[Ref("Service", "default", name)] = {
                "metadata": {"name": name},
                "spec": {"selector": {"app": "demo"}},
            }
        for template in templates:
            self.objects[Ref("AnalysisTemplate", "default", template["metadata"]["name"])] = (
                template
            )
        self.routers: Mapping[str, Router] = ROUTERS
        self.route_kinds: tuple[str, ...] = ("Route",)
        self.decisions: list[Decision] = []
        self.on_write: Callable[[Write], None] = lambda _write: None
        self.wake_at: datetime | None = None

    def of(self, kind: str) -> tuple[Object, ...]:
        return tuple(obj for ref, obj in self.objects.items() if ref.kind == kind)

    def observe(self) -> Observation:
        return Observation(
            now=self.now,
            rollout=self.rollout,
            replica_sets=self.of("ReplicaSet"),
            services={ref.name: obj for ref, obj in self.objects.items() if ref.kind == "Service"},
            analysis_runs=self.of("AnalysisRun"),
            templates={
                ref: obj for ref, obj in self.objects.items() if ref.kind == "AnalysisTemplate"
            },
            routes={ref: obj for ref, obj in self.objects.items() if ref.kind in self.route_kinds},
            policy=self.policy,
        )

    def settle(self) -> None:
        """Passes until nothing changes while the clock stands still."""
        for _ in range(MAX_PASSES):
            self.pods_follow()
            before = copy.deepcopy((self.rollout, self.objects))
            self.one_pass()
            self.pods_follow()
            if (self.rollout, self.objects) == before:
                return
        raise AssertionError(f"not settled after {MAX_PASSES} passes: {self.decisions[-1]}")

    def one_pass(self) -> Decision:
        decision = decide(self.observe(), self.routers)
        self.decisions.append(decision)
        self.wake_at = decision.wake_at
        fenced = False
        for write in sorted(decision.writes, key=lambda item: item.stage):
            if write.stage > Stage.FENCE and not fenced:
                self._fence(decision)
                fenced = True
            self._write(write)
        if not fenced:
            self._fence(decision)
        return decision

    def until(self, end: datetime) -> None:
        """Move the clock to `end`, passing by every moment at which a decision wants to look again."""
        while self.wake_at is not None and self.now < self.wake_at < end:
            self.now = self.wake_at
            self.settle()
        self.now = end

    def after(self, seconds: float) -> None:
        """Let time pass, then settle."""
        self.until(self.now + timedelta(seconds=seconds))
        self.settle()

    def _fence(self, decision: Decision) -> None:
        self.rollout = {**self.rollout, "status": copy.deepcopy(decision.status)}

    def _write(self, write: Write) -> None:
        self.on_write(write)
        if write.verb == "create":
            body = copy.deepcopy(write.body)
            body["metadata"].setdefault("creationTimestamp", self.now.isoformat())
            assert write.ref not in self.objects, f"{write.ref} exists"
            self.objects[write.ref] = body
            if write.ref.kind == "AnalysisRun":
                body["status"] = {"phase": "Running"}
            return
        if write.verb == "delete":
            del self.objects[write.ref]
            return
        is_rollout = write.ref.kind == "Rollout"
        target = self.rollout if is_rollout else self.objects[write.ref]
        changed = (
            patches.merge(target, write.body)
            if write.verb == "merge"
            else patches.apply(target, write.body)
        )
        if is_rollout:
            self.rollout = changed
            return
        self.objects[write.ref] = changed
        if write.ref.kind == "AnalysisRun" and changed["spec"].get("terminate"):
            self._conclude(write.ref, "Successful", "")

    def _conclude(self, ref: Ref, phase: str, message: str) -> None:
        run = self.objects[ref]
        if run["status"]["phase"] == "Running":
            self.objects[ref] = {**run, "status": {"phase": phase, "message": message}}

    def analysis(self, phase: str, message: str = "", kind: str = "") -> None:
        """All unfinished runs (of a kind) end."""
        for run in self.of("AnalysisRun"):
            if not kind or run["metadata"]["labels"]["rollout-type"] == kind:
                self._conclude(
                    Ref("AnalysisRun", "default", run["metadata"]["name"]), phase, message
                )

    def pods_follow(self) -> None:
        """Pods come and go as their ReplicaSets want."""
        for ref, obj in list(self.objects.items()):
            if ref.kind != "ReplicaSet":
                continue
            count = obj["spec"]["replicas"]
            healthy = image_of(obj) not in self.unhealthy
            ready = count if healthy else 0
            status = {"replicas": count, "readyReplicas": ready, "availableReplicas": ready}
            self.objects[ref] = {**obj, "status": status}

    # What people and tools do.

    def edit(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Change the spec as a user would."""
        spec = copy.deepcopy(self.rollout["spec"])
        change(spec)
        meta = {
            **self.rollout["metadata"],
            "generation": self.rollout["metadata"]["generation"] + 1,
        }
        self.rollout = {**self.rollout, "spec": spec, "metadata": meta}

    def set_image(self, image: str) -> None:
        def change(spec: dict[str, Any]) -> None:
            spec["template"]["spec"]["containers"][0]["image"] = image

        self.edit(change)

    def patch(self, patch: dict[str, Any]) -> None:
        """A merge patch on the Rollout, status included."""
        merged = patches.merge(self.rollout, patch)
        if merged["spec"] != self.rollout["spec"]:
            merged["metadata"] = {
                **merged["metadata"],
                "generation": merged["metadata"]["generation"] + 1,
            }
        self.rollout = merged

    # What is seen.

    @property
    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = self.rollout.get("status") or {}
        return status

    @property
    def weight(self) -> int:
        weight: int = self.objects[ROUTE]["weight"]
        return weight

    def images(self) -> dict[str, str]:
        """Pod-template hash to image."""
        return {
            rs["metadata"]["labels"][POD_TEMPLATE_HASH]: image_of(rs)
            for rs in self.of("ReplicaSet")
        }

    def pods(self) -> dict[str, int]:
        """Image to wanted pods, without zeros."""
        return {
            image_of(rs): rs["spec"]["replicas"]
            for rs in self.of("ReplicaSet")
            if rs["spec"]["replicas"]
        }

    def announced(self) -> list[str]:
        """Transitions in the order in which they were announced."""
        return [item.transition for decision in self.decisions for item in decision.announce]


def image_of(replica_set: Object) -> str:
    image: str = replica_set["spec"]["template"]["spec"]["containers"][0]["image"]
    return image


def at(text: str) -> datetime:
    return parse_time(text)
