"""Plays the actions of an Istio vector against the router, and compares objects as the README says."""

from typing import Any

from agent.api.decode import read
from agent.api.meta import Key, Object, Ref
from agent.api.names import POD_TEMPLATE_HASH
from agent.api.rollout import Rollout, SetHeaderRoute, SetMirrorRoute, WeightDestination
from agent.api.service_roles import service_roles
from agent.rollout import managed_routes
from agent.traffic.istio import Istio
from agent.traffic.istio_subsets import switch_delay
from agent.traffic.types import Desired, RoutePlan

Case = dict[str, Any]
ROUTER = Istio()


class Play:
    """The objects of a case while its actions are carried out.

    What the engine records in status.canary.weights.additional after a write is recorded here, too.
    A vector may begin after such a write, without the record: destinations that stand there exactly as
    an experiment's do (a bare host and a weight) are then taken as recorded. Without this the router
    would keep them, because it never deletes a destination it did not add.
    """

    def __init__(self, given: Case) -> None:
        manifest = given["rollout"]
        self.objects: dict[Ref, Object] = {}
        for kind, member in (
            ("VirtualService", "virtualServices"),
            ("DestinationRule", "destinationRules"),
        ):
            for obj in given.get(member) or []:
                key = Key.of(obj)
                self.objects[Ref(kind, key.namespace, key.name)] = obj
        self.before = dict(self.objects)
        self.replica_sets = given.get("replicaSets") or []
        self.manifest: Object = manifest
        self._record([{"serviceName": name} for name in self._bare_hosts()])

    @property
    def rollout(self) -> Rollout:
        return read(Rollout, self.manifest)

    def carry_out(self, action: Case) -> str:
        """Carry out one action; the error's text, "" when it succeeded."""
        if action["do"] == "setWeight":
            error = self._settle(self._desired(action, canary_weight=action["weight"]))
        elif action["do"] == "updateHash":
            hashes = {
                "canary": action.get("canaryHash", ""),
                "stable": action.get("stableHash", ""),
            }
            error = switch_delay(self.rollout, self._available(), **hashes) or self._settle(
                self._desired(action, canary_hash=hashes["canary"], stable_hash=hashes["stable"])
            )
        elif action["do"] == "setHeaderRoute":
            step = read(SetHeaderRoute, action["setHeaderRoute"])
            return self._settle(Desired(managed=(step,)))
        elif action["do"] == "setMirrorRoute":
            mirror = read(SetMirrorRoute, action["setMirrorRoute"])
            return self._settle(Desired(managed=(mirror,)))
        elif action["do"] == "removeManagedRoutes":
            return self._settle(Desired(managed=managed_routes.gone(self.rollout)))
        else:
            raise ValueError(f"unknown action {action['do']!r}")
        if not error:
            self._record(action.get("additional") or [])
        return error

    def _desired(self, action: Case, **wanted: Any) -> Desired:
        extra = tuple(read(WeightDestination, item) for item in action.get("additional") or [])
        return Desired(additional=extra, **wanted)

    def _settle(self, desired: Desired) -> str:
        return self._carry(ROUTER.plan(self.rollout, self.objects, desired))

    def _carry(self, plan: RoutePlan) -> str:
        for change in plan.changes:
            self.objects[change.ref] = change.after
        return plan.refusal.detail if plan.refusal else ""

    def _record(self, additional: list[Case]) -> None:
        status = dict(self.manifest.get("status") or {})
        canary = dict(status.get("canary") or {})
        canary["weights"] = {"additional": additional}
        self.manifest = {**self.manifest, "status": {**status, "canary": canary}}

    def _available(self) -> dict[str, tuple[str, int, int]]:
        return {
            item["metadata"]["labels"][POD_TEMPLATE_HASH]: (
                item["metadata"]["name"],
                (item.get("spec") or {}).get("replicas", 0),
                (item.get("status") or {}).get("availableReplicas", 0),
            )
            for item in self.replica_sets
        }

    def _bare_hosts(self) -> list[str]:
        known = service_roles(read(Rollout, self.manifest))
        return [
            item["destination"]["host"]
            for obj in self.objects.values()
            for block in ("http", "tls", "tcp")
            for route in obj.get("spec", {}).get(block) or []
            for item in route.get("route") or []
            if list(item["destination"]) == ["host"] and item["destination"]["host"] not in known
        ]


def judge(given: Case, expect: Case) -> list[str]:
    """Differences between what the router did and what the vector expects."""
    play = Play(given)
    error, failed_at = "", None
    for index, action in enumerate(given["actions"]):
        error = play.carry_out(action)
        if error:
            failed_at = index
            break
    wrong = _judge_error(expect, error, failed_at)
    changed = {
        ref: obj for ref, obj in play.objects.items() if normal(obj) != normal(play.before[ref])
    }
    if expect.get("unchanged") and changed:
        wrong.append(f"expected no change, but changed: {', '.join(map(str, changed))}")
    for kind, member in (
        ("VirtualService", "changedVirtualServices"),
        ("DestinationRule", "changedDestinationRules"),
    ):
        if member in expect:
            wrong += _judge_objects(kind, expect[member], changed)
    return wrong


def _judge_error(expect: Case, error: str, failed_at: int | None) -> list[str]:
    wrong = []
    if "error" in expect and error != expect["error"]:
        wrong.append(f"error: expected {expect['error']!r}, got {error!r}")
    if "errorContains" in expect and expect["errorContains"] not in error:
        wrong.append(f"error: expected it to contain {expect['errorContains']!r}, got {error!r}")
    if error and "error" not in expect and "errorContains" not in expect:
        wrong.append(f"unexpected error {error!r}")
    if "failedAction" in expect and expect["failedAction"] != failed_at:
        wrong.append(f"failedAction: expected {expect['failedAction']}, got {failed_at}")
    return wrong


def _judge_objects(kind: str, wanted: list[Object], changed: dict[Ref, Object]) -> list[str]:
    expected = {Ref(kind, *Key.of(obj)): normal(obj) for obj in wanted}
    got = {ref: normal(obj) for ref, obj in changed.items() if ref.kind == kind}
    return [
        f"{ref}: expected {expected.get(ref)}, got {got.get(ref)}"
        for ref in sorted({*expected, *got})
        if expected.get(ref) != got.get(ref)
    ]


def normal(obj: Object) -> Any:
    """The object without differences that do not count.

    By the README: empty containers, a destination's weight 0, a namespace `default`, the order of subsets.
    Beyond it: `host: ""` of a DestinationRule that never had a host, which a typed client adds when it
    writes the object back; a patch does not touch it.
    """
    result = _stripped(obj)
    meta = result.get("metadata", {})
    if meta.get("namespace") == "default":
        del meta["namespace"]
    spec = result.get("spec", {})
    if spec.get("host") == "":
        del spec["host"]
    if "subsets" in spec:
        spec["subsets"] = sorted(spec["subsets"], key=lambda subset: str(subset.get("name")))
    for block in ("http", "tls", "tcp"):
        for route in spec.get(block, []):
            for item in route.get("route", []) if isinstance(route, dict) else []:
                if item.get("weight") == 0:
                    del item["weight"]
    return result


def _stripped(value: Any) -> Any:
    """A copy without empty containers."""
    if isinstance(value, dict):
        kept = {key: _stripped(item) for key, item in value.items()}
        return {key: item for key, item in kept.items() if item not in ({}, [])}
    if isinstance(value, list):
        return [_stripped(item) for item in value]
    return value
