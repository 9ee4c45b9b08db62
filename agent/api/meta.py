"""What every Kubernetes object has, and how objects are addressed."""

from collections.abc import Mapping
from typing import Any, NamedTuple, dataclass_transform

import msgspec

Object = dict[str, Any]
"""A Kubernetes object as decoded JSON. Never changed in place: copy what you change."""


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(msgspec.field,))
class Struct(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Base of wire types: immutable, camelCase on the wire, unknown fields are ignored on reading."""


class OwnerReference(Struct):
    api_version: str = ""
    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool | None = None
    block_owner_deletion: bool | None = None


class ObjectMeta(Struct):
    name: str = ""
    namespace: str = "default"
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    owner_references: list[OwnerReference] | None = None

    def label(self, key: str) -> str:
        """The label's value, "" when absent."""
        return (self.labels or {}).get(key, "")

    def annotation(self, key: str) -> str:
        """The annotation's value, "" when absent."""
        return (self.annotations or {}).get(key, "")


class Key(NamedTuple):
    """Namespace and name of a rollout; `str(key)` is "namespace/name", the partition key of its events."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    @classmethod
    def of(cls, obj: Mapping[str, Any]) -> "Key":
        """The key of an object."""
        meta = obj.get("metadata") or {}
        return cls(meta.get("namespace") or "default", meta.get("name", ""))


class Ref(NamedTuple):
    """Address of any object: kind (as in the manifest), namespace ("" for cluster scope), name."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return (
            f"{self.kind} {self.namespace}/{self.name}"
            if self.namespace
            else f"{self.kind} {self.name}"
        )
