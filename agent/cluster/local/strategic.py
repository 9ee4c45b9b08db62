"""Strategic merge patch, as kubectl sends it for built-in kinds: some lists are merged by a key. Pure.

The keys are those of Kubernetes' own types. Directives: `$patch: delete` and `replace`, `$retainKeys`,
`$deleteFromPrimitiveList/x`, `$setElementOrder/x`.
"""

from typing import Any, Final

from agent.errors import Invalid

KEYS: Final = {
    "containers": "name",
    "initContainers": "name",
    "ephemeralContainers": "name",
    "volumes": "name",
    "env": "name",
    "imagePullSecrets": "name",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "hostAliases": "ip",
    "conditions": "type",
    "ownerReferences": "uid",
    "topologySpreadConstraints": "topologyKey",
}
PORT_KEYS: Final = ("containerPort", "port")
"""Of `ports`, in a container and in a Service."""
PRIMITIVES: Final = frozenset({"finalizers"})
"""Lists of words that are merged as sets."""
ORDER, PRUNE = "$setElementOrder/", "$deleteFromPrimitiveList/"


def merge(target: Any, patch: dict[str, Any]) -> Any:
    """`target` after a strategic merge patch. Raises Invalid for a list item without its key."""
    base = dict(target) if isinstance(target, dict) else {}
    if patch.get("$patch") == "replace":
        return {name: value for name, value in patch.items() if name != "$patch"}
    if "$retainKeys" in patch:
        base = {name: value for name, value in base.items() if name in patch["$retainKeys"]}
    for name, value in patch.items():
        if name.startswith("$"):
            continue
        if value is None:
            base.pop(name, None)
        elif isinstance(value, dict):
            if value.get("$patch") == "delete":
                base.pop(name, None)
            else:
                base[name] = merge(base.get(name), value)
        elif isinstance(value, list):
            base[name] = _merge_list(name, base.get(name), value)
        else:
            base[name] = value
    for name, value in patch.items():
        if name.startswith(PRUNE):
            field = name.removeprefix(PRUNE)
            base[field] = [item for item in base.get(field) or () if item not in value]
        elif name.startswith(ORDER):
            field = name.removeprefix(ORDER)
            if isinstance(base.get(field), list):
                base[field] = _ordered(field, base[field], value)
    return base


def _merge_list(name: str, old: Any, patch: list[Any]) -> list[Any]:
    old = old if isinstance(old, list) else []
    if name in PRIMITIVES:
        return [*old, *(item for item in patch if item not in old)]
    key = _key(name, [*old, *patch])
    if not key or any(isinstance(item, dict) and item.get("$patch") == "replace" for item in patch):
        return [item for item in patch if not (isinstance(item, dict) and "$patch" in item)]
    merged = {_value(name, key, item): item for item in old}
    for item in patch:
        value = _value(name, key, item)
        if item.get("$patch") == "delete":
            merged.pop(value, None)
        else:
            merged[value] = merge(merged.get(value), item)
    return list(merged.values())


def _ordered(name: str, items: list[Any], order: list[Any]) -> list[Any]:
    """In the order that the patch names; what it does not name keeps its place at the end."""
    if name in PRIMITIVES:
        wanted = list(order)
        return sorted(items, key=lambda item: wanted.index(item) if item in wanted else len(wanted))
    key = _key(name, items)
    if not key:
        return items
    wanted = [item.get(key) for item in order]
    return sorted(
        items, key=lambda item: wanted.index(item[key]) if item[key] in wanted else len(wanted)
    )


def _key(name: str, items: list[Any]) -> str:
    if name != "ports":
        return KEYS.get(name, "")
    for key in PORT_KEYS:
        if all(isinstance(item, dict) and (key in item or "$patch" in item) for item in items):
            return key
    return ""


def _value(name: str, key: str, item: Any) -> Any:
    if not isinstance(item, dict) or key not in item:
        raise Invalid(f"{name}: every item of this list needs {key!r}")
    return item[key]
