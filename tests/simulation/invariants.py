"""The invariants of the design, checked after every single write to the store."""

import copy
from collections import Counter
from typing import Any

from agent.api.meta import Object, Ref
from agent.api.names import HOLDS, POD_TEMPLATE_HASH, PREFIX, ROUTE_STATUS
from agent.clock import Clock
from agent.cluster.local.store import LocalCluster
from agent.cluster.port import Kind
from agent.engine import outbox
from tests.simulation.faults import Connection
from tests.simulation.manifests import (
    KEY,
    ROLLOUT,
    ROUTE,
    backends_of,
    roles_of,
    rules_of,
    weights_of,
)

GATEWAY_KINDS = ("HTTPRoute", "GRPCRoute")
ROUTE_KINDS = ("VirtualService", *GATEWAY_KINDS)
IN_PROGRESS = "rollouts.argoproj.io/gatewayapi-canary"
RACE_SECONDS = 0.5
"""A write that was under way when an abort or a hold was stored may still land this much later."""
LATE_SECONDS = 0.2
"""What a process knows of pods may be this old: the watch's lag, and a pass."""
FENCE_SECONDS = 0.05
"""A guarded write may be under way this long after somebody else wrote the Rollout: two half latencies."""
WRITE_SECONDS = 0.03
"""One latency: each write of the same pass behind its fence takes so much more."""


class Checker:
    """Watches every write of the processes and of everybody else."""

    def __init__(self, store: LocalCluster, clock: Clock, route: Ref = ROUTE) -> None:
        self._watched = route
        self._store = store
        self._clock = clock
        self._last: dict[Ref, Object] = {}
        self._confirmed: dict[Connection, str] = {}
        self._behind: Counter[Connection] = Counter()
        self._superseded: dict[str, float] = {}
        self.stored: dict[str, str] = {}
        """Every entry that ever stood in the outbox."""
        self.published: set[str] = set()
        """Ids that the bus has accepted."""
        self._stopped_at: float | None = None
        self._foreign_route_at = float("-inf")
        self._scaled_at: dict[str, float] = {}
        self._first_write = False
        self.violations: list[str] = []
        """What was broken, in order; each begins with the virtual time and the invariant's number.

        Collected, not raised: inside a write the engine would take it for an error of the cluster.
        """
        self.weights: list[int] = []
        """The canary's weights in the order in which they were stored, without repetitions."""

    def remember(self) -> None:
        """Take everything in the store as given."""
        for kind in ("Rollout", *ROUTE_KINDS, "Service", "ReplicaSet"):
            for obj in self._store.peek_all(kind):
                self._last[_ref(obj)] = obj

    def foreign_write(self) -> None:
        """Somebody else wrote the Rollout: an abort of theirs counts from now."""
        before = self._last[ROLLOUT]
        self._superseded[str(before["metadata"]["resourceVersion"])] = self._clock.monotonic()
        self.remember()
        self._note_stop(self._rollout_now())

    def foreign_route(self) -> None:
        """Somebody else wrote a route: what is under way to the pods was decided before."""
        self._foreign_route_at = self._clock.monotonic()
        self.remember()

    def read(self, connection: Connection, kind: Kind, obj: Object) -> None:
        """A process read an object past its cache."""
        if kind.kind == "Rollout" and obj["metadata"]["name"] == KEY.name:
            self._confirmed[connection] = str(obj["metadata"]["resourceVersion"])
            self._behind[connection] = 0

    def wrote(
        self, connection: Connection, verb: str, kind: Kind, namespace: str, name: str
    ) -> None:
        """A process wrote an object."""
        ref = Ref(kind.kind, namespace, name)
        before, after = self._last.get(ref), self._store.peek(*ref)
        if after is not None:
            self._last[ref] = after
        if self._is_of_another(ref, after or before):
            return
        if kind.kind == "Rollout" and after is not None:
            self.read(connection, kind, after)
            self._rollout(before, after)
        elif kind.kind in ROUTE_KINDS and before is not None and after is not None:
            self._route(connection, ref, before, after)
        elif kind.kind == "Service" and before is not None and after is not None:
            self._service(connection, before, after)
        elif kind.kind == "ReplicaSet":
            self._replica_set(connection, before, after)
        self._behind[connection] += kind.kind != "Rollout"

    def _is_of_another(self, ref: Ref, obj: Object | None) -> bool:
        """Whether a Rollout, ReplicaSet or Service is not that of the rollout which is watched, nor a route for it."""
        roles = roles_of(self._rollout_now())
        if obj is None or ref.kind not in ROUTE_KINDS:
            names = {"Rollout": (KEY.name,), "Service": roles}
            is_set = ref.kind == "ReplicaSet" and not ref.name.startswith(f"{KEY.name}-")
            return is_set or ref.name not in names.get(ref.kind, (ref.name,))
        return not set(roles) <= set(backends_of(_rule(obj, "primary")))

    # One kind each.

    def _rollout(self, before: Object | None, after: Object) -> None:
        if before is not None:
            self._same("I7 the spec is the user's", before.get("spec"), after.get("spec"))
            self._same("I7 labels and annotations are the user's", _users(before), _users(after))
            self._superseded[str(before["metadata"]["resourceVersion"])] = self._clock.monotonic()
            self._outbox(before, after)
        self._note_stop(after)

    def _outbox(self, before: Object, after: Object) -> None:
        """Entries come with what they announce and leave after they were published."""
        was, now = _entries(before), _entries(after)
        for entry in now:
            known = self.stored.setdefault(entry.id, entry.event)
            self._check(known == entry.event, f"I5 the entry {entry.id} has changed")
        left = {entry.id for entry in was} - {entry.id for entry in now}
        lost = sorted(left - self.published)
        self._check(not lost, f"I5 {lost} left the outbox before it was published")
        old, new = before.get("status") or {}, after.get("status") or {}
        if new.get("abort") and not old.get("abort"):
            added = [entry.transition for entry in now if entry not in was]
            self._check("aborted" in added, f"I5 an abort is stored with {added}")

    def _note_stop(self, rollout: Object) -> None:
        if not _stopped(rollout):
            self._stopped_at = None
        elif self._stopped_at is None:
            self._stopped_at = self._clock.monotonic()

    def _route(self, connection: Connection, ref: Ref, before: Object, after: Object) -> None:
        managed = _managed(self._rollout_now())
        self._same(
            "I7 only weights of the named route and managed routes",
            _unweighted(before, managed),
            _unweighted(after, managed),
        )
        for name in ("primary", *(name for name in managed if _stands(after, name))):
            weights = backends_of(_rule(after, name))
            total = sum(weights.values())
            # A rule to the canary alone has no shares.
            self._check(
                total == 100 or len(weights) == 1, f"I8 weights of {ref.name}/{name} sum to {total}"
            )
        rollout = self._rollout_now()
        old, new = weights_of(before, rollout)[1], weights_of(after, rollout)[1]
        if ref == self._watched and (not self.weights or self.weights[-1] != new):
            self.weights.append(new)
        for name in managed:
            if _stands(after, name) and not _stands(before, name):
                self._managed_route(connection, name)
        if new <= old:
            return
        self._fenced(connection, f"a raise to {new}")
        if ref.kind in GATEWAY_KINDS and not self._raced():
            ignored = (rollout["metadata"].get("annotations") or {}).get(ROUTE_STATUS) == "ignored"
            taken_up = ignored or _taken_up(before)
            self._check(taken_up, f"I1 raised to {new}, and nobody has taken up what was there")
        if self._selected(roles_of(rollout)[1]) != (rollout.get("status") or {}).get(
            "currentPodHash"
        ):
            return  # weight on these names is not (yet) weight on the new version
        if self._stopped_at is not None:
            late = self._clock.monotonic() - self._stopped_at
            self._check(
                late <= RACE_SECONDS, f"I1 raised to {new}, {late:.3f} s after it was stopped"
            )
        status = rollout.get("status") or {}
        allowed = _allowed_weight(rollout)
        self._check(
            new <= allowed,
            f"I1 raised to {new}, step {status.get('currentStepIndex')} allows {allowed}",
        )
        self._pods_ready(status.get("currentPodHash", ""), f"I1 raised to {new}")

    def _managed_route(self, connection: Connection, name: str) -> None:
        what = f"the route '{name}'"
        self._fenced(connection, what)
        rollout = self._rollout_now()
        status = rollout.get("status") or {}
        if self._stopped_at is not None:
            late = self._clock.monotonic() - self._stopped_at
            self._check(late <= RACE_SECONDS, f"I1 {what}, {late:.3f} s after it was stopped")
        steps = rollout["spec"]["strategy"]["canary"].get("steps") or []
        asked = steps[: (status.get("currentStepIndex") or 0) + 1]
        self._check(
            any(
                (step.get("setHeaderRoute") or step.get("setMirrorRoute") or {}).get("name") == name
                for step in asked
            ),
            f"I1 {what} before its step",
        )
        current = status.get("currentPodHash", "")
        leads_to = self._selected(roles_of(rollout)[1])
        self._check(leads_to == current, f"I1 {what} leads to another version")
        self._pods_ready(current, f"I1 {what}")

    def _service(self, connection: Connection, before: Object, after: Object) -> None:
        self._same("I7 only the hash in the selector", _unselected(before), _unselected(after))
        if _selector(before) and _selector(before) != _selector(after):
            self._fenced(connection, "a selector's move")

    def _replica_set(
        self, connection: Connection, before: Object | None, after: Object | None
    ) -> None:
        if before is None:
            return
        was, now = _replicas(before), _replicas(after) if after is not None else 0
        if now != was:
            name = before["metadata"]["labels"][POD_TEMPLATE_HASH]
            self._scaled_at[name] = self._clock.monotonic()
        if now >= was:
            return
        self._fenced(connection, "removing pods")
        routes = [
            route
            for ref, route in self._last.items()
            if ref.kind in ROUTE_KINDS and not self._is_of_another(ref, route)
        ]
        rollout = self._rollout_now()
        leads = any(_stands(route, name) for route in routes for name in _managed(rollout))
        weights = (
            max(weights_of(route)[0] for route in routes),
            max(weights_of(route)[1] for route in routes) or int(leads),
        )
        status = rollout.get("status") or {}
        pod_hash = before["metadata"]["labels"][POD_TEMPLATE_HASH]
        names = {
            self._selected("web-stable"): weights[0],
            self._selected("web-canary"): weights[1],
        }
        if now == 0 and status.get("stableRS") and not self._raced():
            self._check(
                not names.get(pod_hash),
                f"I3 removed the pods of {pod_hash} at weight {names.get(pod_hash)}",
            )

    # What they share.

    def _raced(self) -> bool:
        """Whether somebody else wrote a route just now, which the writing process may not know."""
        return self._clock.monotonic() - self._foreign_route_at <= RACE_SECONDS

    def _same(self, what: str, before: Any, after: Any) -> None:
        self._check(before == after, f"{what}: {before} became {after}")

    def _check(self, holds: bool, what: str) -> None:
        if not holds:
            self.violations.append(f"{self._clock.monotonic():.3f} s: {what}")

    def _fenced(self, connection: Connection, what: str) -> None:
        version = self._confirmed.get(connection, "")
        now = self._clock.monotonic()
        if version == str(self._rollout_now()["metadata"].get("resourceVersion")):
            return
        stale = now - self._superseded.get(version, float("-inf"))
        allowed = FENCE_SECONDS + WRITE_SECONDS * self._behind[connection]
        self._check(stale <= allowed, f"I6 {what} behind a fence lost {stale:.3f} s ago")

    def _pods_ready(self, pod_hash: str, what: str) -> None:
        seconds = self._clock.monotonic() - self._scaled_at.get(pod_hash, float("-inf"))
        if seconds <= LATE_SECONDS:
            return  # the watch of another process may not have told it yet that they went
        for replica_set in self._store.peek_all("ReplicaSet"):
            if replica_set["metadata"]["labels"].get(POD_TEMPLATE_HASH) == pod_hash:
                available = (replica_set.get("status") or {}).get("availableReplicas") or 0
                self._check(available > 0, f"{what} with no ready pods of {pod_hash}")
                return
        self._check(False, f"{what} without a ReplicaSet {pod_hash}")

    def _selected(self, service: str) -> str:
        found = self._store.peek("Service", KEY.namespace, service) or {}
        return _selector(found)

    def _rollout_now(self) -> Object:
        return self._store.peek("Rollout", *KEY) or {"metadata": {}, "spec": {}}


def _stopped(rollout: Object) -> bool:
    status = rollout.get("status") or {}
    return bool(status.get("abort")) or HOLDS in (rollout["metadata"].get("annotations") or {})


def _entries(rollout: Object) -> tuple[outbox.Entry, ...]:
    return outbox.stored(rollout.get("status") or {})


def _allowed_weight(rollout: Object) -> int:
    status = rollout.get("status") or {}
    steps = rollout["spec"]["strategy"]["canary"].get("steps") or []
    index = status.get("currentStepIndex")
    if index is None or index >= len(steps):
        return 100
    return max((step.get("setWeight") or 0 for step in steps[: index + 1]), default=0)


def _managed(rollout: Object) -> tuple[str, ...]:
    """Names of header and mirror routes that the rollout may create."""
    routing = rollout["spec"].get("strategy", {}).get("canary", {}).get("trafficRouting") or {}
    return tuple(item["name"] for item in routing.get("managedRoutes") or ())


def http_names(route: Object) -> list[str]:
    """Names of the routes or rules, top to bottom."""
    return [str(item.get("name", "")) for item in rules_of(route)]


def _stands(route: Object, name: str) -> bool:
    return any(item.get("name") == name for item in rules_of(route))


def _rule(route: Object, name: str) -> dict[str, Any]:
    return next(item for item in rules_of(route) if item.get("name") == name)


def _taken_up(route: Object) -> bool:
    """Whether the controller of its gateway has said so of the generation that stands."""
    parents = (route.get("status") or {}).get("parents") or ()
    said = [item["observedGeneration"] for parent in parents for item in parent["conditions"]]
    return bool(said) and min(said) == route["metadata"]["generation"]


def _unweighted(route: Object, managed: tuple[str, ...]) -> Any:
    plain = _content(route)
    rules = rules_of(plain)
    rules[:] = [item for item in rules if item.get("name") not in managed]
    for item in rules:
        if item.get("name") == "primary":
            for destination in item["backendRefs" if "backendRefs" in item else "route"]:
                destination.pop("weight", None)
    # The label that marks a route with a canary under way, as Argo's plugin sets it.
    (plain["metadata"].get("labels") or {}).pop(IN_PROGRESS, None)
    if not plain["metadata"].get("labels"):
        plain["metadata"].pop("labels", None)
    return plain


def _unselected(service: Object) -> Any:
    plain = _content(service)
    (plain["spec"].get("selector") or {}).pop(POD_TEMPLATE_HASH, None)
    (plain["metadata"].get("annotations") or {}).pop(
        "argo-rollouts.argoproj.io/managed-by-rollouts", None
    )
    if not plain["metadata"].get("annotations"):
        plain["metadata"].pop("annotations", None)
    return plain


def _content(obj: Object) -> Any:
    plain = copy.deepcopy(obj)
    for name in ("resourceVersion", "generation"):
        plain["metadata"].pop(name, None)
    return plain


def _users(obj: Object) -> Any:
    metadata = obj["metadata"]
    kept = {
        name: value
        for name, value in (metadata.get("annotations") or {}).items()
        if not name.startswith((PREFIX, "rollout.argoproj.io/"))
    }
    return metadata.get("labels"), kept


def _selector(service: Object) -> str:
    return str(((service.get("spec") or {}).get("selector") or {}).get(POD_TEMPLATE_HASH, ""))


def _replicas(obj: Object) -> int:
    return int((obj.get("spec") or {}).get("replicas") or 0)


def _ref(obj: Object) -> Ref:
    return Ref(obj["kind"], obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
