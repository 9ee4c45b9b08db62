"""Hashes that name revisions and step lists; the same as Argo's, so that objects can change hands. PURE.

FNV-1a (32 bit) over Go's JSON of the value, in decimals, each character mapped into an alphabet without
vowels. The JSON depends on the Kubernetes API types a controller was built with: the hash of an existing
ReplicaSet is read from its label and never computed anew.
"""

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from agent.api.meta import Object
from agent.rollout import podspec_schema, step_schema
from agent.rollout.go_json import Types, write

_ALPHABET: Final = "bcdfghjklmnpqrstvwxz2456789"
_OFFSET, _PRIME, _MASK = 0x811C9DC5, 0x01000193, 0xFFFFFFFF
MAX_STATES: Final = 8192
"""Hashes of templates that are kept, some 120 bytes each."""
_STATES: Final[dict[bytes, int]] = {}
_POD_TYPES: Final = Types(podspec_schema.STRUCTS)
_STEP_TYPES: Final = Types(step_schema.STRUCTS)

VOLUME_KINDS: Final = tuple(field.name for field in _POD_TYPES.fields("Volume")[1:])
"""Members of a volume that say what it is; all but its name."""


def pod_template_hash(template: Object | None, collision_count: int | None = None) -> str:
    """The value of the label `rollouts-pod-template-hash`.

    Raises Refused, naming the field below the template, when Kubernetes would not read the template.
    """
    state = _pod_template_state(template)
    if collision_count is not None:
        state = fnv1a_32((collision_count & _MASK).to_bytes(4, "little") + bytes(4), state)
    return _encode(state)


def pod_template_json(template: Object | None) -> str:
    """The text that `pod_template_hash` is computed over. Raises Refused as that does."""
    return write(template, podspec_schema.POD_TEMPLATE, _POD_TYPES)


def _pod_template_state(template: Object | None) -> int:
    """FNV-1a over the template's text. Every pass asks for it, and templates seldom change: it is kept by value.

    `repr` tells apart what a template may hold, 1 from True and from 1.0 included.
    """
    key = hashlib.blake2b(repr(template).encode("utf-8", "surrogatepass"), digest_size=16).digest()
    state = _STATES.get(key)
    if state is None:
        state = fnv1a_32(pod_template_json(template).encode())
        if len(_STATES) >= MAX_STATES:
            del _STATES[next(iter(_STATES))]
        _STATES[key] = state
    return state


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


def fnv1a_32(data: bytes, value: int = _OFFSET) -> int:
    """The hash of the data, or of what led to `value` with the data behind it."""
    for byte in data:
        value = ((value ^ byte) * _PRIME) & _MASK
    return value


def _encode(number: int) -> str:
    return "".join(_ALPHABET[ord(char) % len(_ALPHABET)] for char in str(number))
