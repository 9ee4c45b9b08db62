"""Hashes that name revisions and step lists; the same as Argo's, so that objects can change hands. PURE.

FNV-1a (32 bit) over Go's JSON of the value, in decimals, each character mapped into an alphabet without
vowels. The JSON depends on the Kubernetes API types a controller was built with: the hash of an existing
ReplicaSet is read from its label and never computed anew.
"""

from collections.abc import Mapping
from typing import Any, Final

from agent.api.meta import Object
from agent.rollout import podspec_schema, step_schema
from agent.rollout.go_json import Types, write

_ALPHABET: Final = "bcdfghjklmnpqrstvwxz2456789"
_OFFSET, _PRIME, _MASK = 0x811C9DC5, 0x01000193, 0xFFFFFFFF
_POD_TYPES: Final = Types(podspec_schema.STRUCTS)
_STEP_TYPES: Final = Types(step_schema.STRUCTS)

VOLUME_KINDS: Final = tuple(field.name for field in _POD_TYPES.fields("Volume")[1:])
"""Members of a volume that say what it is; all but its name."""


def pod_template_hash(template: Object | None, collision_count: int | None = None) -> str:
    """The value of the label `rollouts-pod-template-hash`.

    Raises Refused, naming the field below the template, when Kubernetes would not read the template.
    """
    data = pod_template_json(template).encode()
    if collision_count is not None:
        data += (collision_count & _MASK).to_bytes(4, "little") + bytes(4)
    return _encode(fnv1a_32(data))


def pod_template_json(template: Object | None) -> str:
    """The text that `pod_template_hash` is computed over. Raises Refused as that does."""
    return write(template, podspec_schema.POD_TEMPLATE, _POD_TYPES)


def step_hash(strategy: Mapping[str, Any]) -> str:
    """status.currentStepHash of a strategy as in the manifest; "" unless it is a canary.

    Raises Refused, naming the field below the steps.
    """
    text = step_json(strategy)
    return "" if text is None else _encode(fnv1a_32(text.encode()))


def step_json(strategy: Mapping[str, Any]) -> str | None:
    """The text that `step_hash` is computed over; None when nothing is hashed."""
    canary = strategy.get("canary")
    if strategy.get("blueGreen") is not None or canary is None:
        return None
    return write(canary.get("steps"), step_schema.STEPS, _STEP_TYPES, "steps")


def fnv1a_32(data: bytes) -> int:
    value = _OFFSET
    for byte in data:
        value = ((value ^ byte) * _PRIME) & _MASK
    return value


def _encode(number: int) -> str:
    return "".join(_ALPHABET[ord(char) % len(_ALPHABET)] for char in str(number))
