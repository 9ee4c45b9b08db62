"""DestinationRule subsets: which pods the canary and the stable subset select."""

from collections.abc import Mapping
from typing import Any

from agent.api.meta import Object
from agent.api.names import MANAGED_BY, POD_TEMPLATE_HASH
from agent.api.rollout import IstioDestinationRule, Rollout
from agent.api.service_roles import service_roles
from agent.errors import Refused
from agent.traffic.istio_destinations import Roles
from agent.traffic.json_patch import Operation, add, check, guards_first, pointer, put, remove


def check_subsets(settings: IstioDestinationRule, rule: Object) -> None:
    """Refused unless the DestinationRule defines both subsets, once each.

    Weight on a subset that nothing defines answers 503 for its share: Istio does not check.
    """
    for name in (settings.canary_subset_name, settings.stable_subset_name):
        found = sum(subset.get("name") == name for subset in _subsets(rule))
        if found != 1:
            many = (
                f"defines the subset '{name}' {found} times" if found else f"has no subset '{name}'"
            )
            raise Refused(
                f"DestinationRule '{settings.name}' {many}: define it once in spec.subsets"
            )


def hash_operations(
    rollout: Rollout,
    settings: IstioDestinationRule,
    roles: Roles,
    rule: Object,
    hashes: Mapping[str, str],
    experiments: Mapping[str, str],
) -> tuple[Operation, ...]:
    """JSON Patch operations (tests first) that re-point subsets; empty when they already do.

    Args:
        hashes: subset name -> pod-template hash; "" removes the label.
        experiments: service name -> hash of the subsets that experiments need. Subsets of experiments
            that are not wanted any more go; a subset of the user's stays (Argo removes it).
    """
    check_subsets(settings, rule)
    subsets = _subsets(rule)
    operations: list[Operation] = []
    leaving: list[int] = []
    for index, subset in enumerate(subsets):
        name = str(subset.get("name") or "")
        wanted = hashes.get(name, experiments.get(name))
        if wanted is not None:
            operations += _label(index, subset, wanted)
        elif roles.is_experiment(name) and name not in roles.additional_subsets:
            leaving.append(index)
    present = [subset.get("name") for subset in subsets]
    for name, value in sorted(experiments.items()):
        if name not in present:
            subset = {"name": name, "labels": {POD_TEMPLATE_HASH: value}}
            operations.append(add(pointer("spec", "subsets", "-"), subset))
    operations += _owner(rollout, rule)
    for index in reversed(leaving):
        at = pointer("spec", "subsets", index)
        operations += [check(at, subsets[index]), remove(at)]
    return guards_first(operations)


def shelter_operations(
    settings: IstioDestinationRule, rule: Object, stable_hash: str
) -> tuple[Operation, ...]:
    """Operations that make the canary's subset select the stable pods, and change nothing else."""
    check_subsets(settings, rule)
    operations: list[Operation] = []
    for index, subset in enumerate(_subsets(rule)):
        if subset.get("name") == settings.canary_subset_name:
            operations += _label(index, subset, stable_hash)
    return guards_first(operations)


def cleanup_operations(rule: Object) -> tuple[Operation, ...]:
    """Operations that take every hash and our annotation away, as when no rollout had driven the rule."""
    annotations = (rule.get("metadata") or {}).get("annotations") or {}
    operations: list[Operation] = []
    if MANAGED_BY in annotations:
        at = pointer("metadata", "annotations", MANAGED_BY)
        operations += [check(at, annotations[MANAGED_BY]), remove(at)]
    for index, subset in enumerate(_subsets(rule)):
        if POD_TEMPLATE_HASH in (subset.get("labels") or {}):
            operations += _label(index, subset, "")
    return guards_first(operations)


def switch_delay(
    rollout: Rollout, available: Mapping[str, tuple[str, int, int]], **hashes: str
) -> str:
    """Why the subsets must not be re-pointed yet; "" when they may.

    Without canary and stable Services nothing but the subsets leads to pods, so they wait until every
    ReplicaSet they will select is fully available. An empty one does not count, nor does the canary's
    after an abort. The text is Argo's.

    Args:
        available: pod-template hash -> (name of the ReplicaSet, wanted pods, available pods).
        hashes: `canary` and `stable`.
    """
    services = service_roles(rollout)
    if rollout.spec.strategy.canary is None or services.canary or services.stable:
        return ""
    roles = ("stable",) if rollout.status.abort else ("canary", "stable")
    for role in roles:
        name, wanted, ready = available.get(hashes.get(role, ""), ("", 0, 0))
        if wanted > 0 and ready < wanted:
            return f"delaying destination rule switch: ReplicaSet {name} not fully available"
    return ""


def _label(index: int, subset: Mapping[str, Any], value: str) -> list[Operation]:
    labels = subset.get("labels") or {}
    if not isinstance(labels, dict):
        raise Refused(f"labels of the subset '{subset['name']}' is not a map")
    if labels.get(POD_TEMPLATE_HASH, "") == value:
        return []
    at = pointer("spec", "subsets", index)
    named = check(at + "/name", subset["name"])
    if not subset.get("labels"):
        return [named, add(at + "/labels", {POD_TEMPLATE_HASH: value})]
    if value:
        return [named, *put(at + "/labels", labels, POD_TEMPLATE_HASH, value)]
    path = at + pointer("labels", POD_TEMPLATE_HASH)
    return [named, check(path, labels[POD_TEMPLATE_HASH]), remove(path)]


def _owner(rollout: Rollout, rule: Object) -> list[Operation]:
    """The annotation by which Argo's tools see who manages the rule."""
    annotations = (rule.get("metadata") or {}).get("annotations")
    name = rollout.metadata.name
    if not isinstance(annotations, dict):
        return [add(pointer("metadata", "annotations"), {MANAGED_BY: name})]
    if annotations.get(MANAGED_BY) == name:
        return []
    return put(pointer("metadata", "annotations"), annotations, MANAGED_BY, name)


def _subsets(rule: Object) -> list[dict[str, Any]]:
    spec = rule.get("spec")
    subsets = (spec.get("subsets") if isinstance(spec, dict) else None) or []
    if not isinstance(subsets, list) or not all(isinstance(item, dict) for item in subsets):
        raise Refused("spec.subsets of the DestinationRule is not a list of subsets")
    return subsets
