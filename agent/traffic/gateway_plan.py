"""The changes of one Gateway API route: weights, rules of our own and the label, what falls before what rises."""

from collections.abc import Sequence

from agent.api.meta import Object
from agent.api.rollout import Rollout
from agent.errors import Refused
from agent.traffic.gateway_config import Route
from agent.traffic.gateway_managed import RULES, insertions, managed_in, removals
from agent.traffic.gateway_rules import full_weight, lowers, pairs_of, rewrite
from agent.traffic.json_patch import (
    Operation,
    add,
    apply,
    check,
    guards_first,
    pointer,
    put,
    remove,
)
from agent.traffic.route_objects import change_of, unchanged_since_read
from agent.traffic.types import Desired, RouteChange

Label = tuple[str, str] | None
_LABELS = pointer("metadata", "labels")


def route_changes(
    rollout: Rollout, at: Route, route: Object, label: Label, desired: Desired
) -> tuple[list[RouteChange], Refused | None]:
    """At most one lower and one raise, the raise on top of the lower, or the label alone; and trouble.

    With trouble only the lower is there: lowering always goes forward.
    """
    down, weights_fall, trouble = _lowers(rollout, route, desired)
    changes: list[RouteChange] = []
    if down:
        removed = [
            str(item["value"]) for item in down if item["op"] == "test" and _is_name(item["path"])
        ]
        reason = _reason(at, desired.canary_weight if weights_fall else None, removed)
        changes.append(change_of(at.ref, route, guards_first(down), "lower", reason))
    if trouble is not None:
        return changes, trouble
    try:
        changes += _raises(rollout, at, route, changes, label, desired)
    except Refused as error:
        return changes, error
    if not changes and desired.canary_weight is not None:
        changes += _labels(rollout, at, route, label, desired)
    return changes, None


def _lowers(
    rollout: Rollout, route: Object, desired: Desired
) -> tuple[list[Operation], bool, Refused | None]:
    """What falls, whether a weight does, and the first trouble; every rule that is in order falls."""
    weight, full = desired.canary_weight, full_weight(rollout)
    operations: list[Operation] = []
    trouble: Refused | None = None
    if weight is not None:
        try:
            pairs = pairs_of(rollout, route)
        except Refused as error:
            pairs, trouble = (), error
        for pair in pairs:
            try:
                written = rewrite(pair, weight, full)
            except Refused as error:
                trouble = trouble or error
                continue
            if lowers(pair, weight, full):
                operations += written
    weights_fall = bool(operations)
    try:
        operations += removals(rollout, route, desired.managed)
    except Refused as error:
        trouble = trouble or error
    return operations, weights_fall, trouble


def _raises(
    rollout: Rollout,
    at: Route,
    route: Object,
    done: Sequence[RouteChange],
    label: Label,
    desired: Desired,
) -> list[RouteChange]:
    """What is left to write once the lower is written; what fell has moved the indexes."""
    before = done[0].after if done else route
    weight, full = desired.canary_weight, full_weight(rollout)
    weights: list[Operation] = []
    if weight is not None:
        for pair in pairs_of(rollout, before):
            weights += rewrite(pair, weight, full)
    weights = list(guards_first(weights))
    after = apply(before, weights) if weights else before
    inserted = insertions(rollout, at, after, desired.managed)
    if not weights and not inserted:
        return []
    guard = [] if done else unchanged_since_read(before)
    if inserted:
        guard.append(check(RULES, before["spec"]["rules"]))
    exposed = bool(weight) or bool(inserted)
    marked = _marked(before, label) if exposed else []
    names = [item.name for item in desired.managed if item.match] if inserted else []
    reason = _reason(at, weight if weights else None, names)
    patch = guards_first([*guard, *weights, *inserted, *marked])
    return [change_of(at.ref, before, patch, "raise", reason)]


def _labels(
    rollout: Rollout, at: Route, route: Object, label: Label, desired: Desired
) -> list[RouteChange]:
    """The label alone: on while anybody is led to the canary, off when the weights are back."""
    if label is None:
        return []
    standing = any(item.match for item in desired.managed) if desired.managed else False
    exposed = bool(desired.canary_weight) or standing or bool(managed_in(rollout, route))
    if exposed:
        operations = _marked(route, label)
    else:
        labels = (route.get("metadata") or {}).get("labels") or {}
        if label[0] not in labels:
            return []
        path = _LABELS + pointer(label[0])
        operations = [check(path, labels[label[0]]), remove(path)]
    if not operations:
        return []
    patch = guards_first([*unchanged_since_read(route), *operations])
    reason = f"the label {label[0]} {'marks' if exposed else 'is taken from'} {at.ref}"
    return [change_of(at.ref, route, patch, "repoint", reason)]


def _marked(route: Object, label: Label) -> list[Operation]:
    if label is None:
        return []
    labels = (route.get("metadata") or {}).get("labels")
    if not isinstance(labels, dict):
        return [add(_LABELS, {label[0]: label[1]})]
    if labels.get(label[0]) == label[1]:
        return []
    return put(_LABELS, labels, label[0], label[1])


def _is_name(path: str) -> bool:
    """Whether a test is of a rule's own name, as removals make it."""
    return path.count("/") == 4 and path.endswith("/name")


def _reason(at: Route, weight: int | None, managed: Sequence[str]) -> str:
    parts = [] if weight is None else [f"canary weight {weight}"]
    if managed:
        parts.append("managed routes " + ", ".join(f"'{name}'" for name in managed))
    return f"{' and '.join(parts) or 'managed routes'} on {at.ref}"
