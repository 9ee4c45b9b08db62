"""The parts of untyped objects that the rules read, as shapes: a wrong type is refused here, once. PURE.

An API server lets no other through; snapshots, tests and foreign servers might.
"""

from typing import Any

from agent.api.decode import read
from agent.api.meta import Object, Struct
from agent.errors import Refused


class _Meta(Struct):
    name: str = ""
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None


class _Container(Struct):
    name: str = ""
    image: str = ""


class _PodSpec(Struct):
    containers: list[_Container] | None = None


class _Template(Struct):
    metadata: _Meta = _Meta()
    spec: _PodSpec = _PodSpec()


class _Expression(Struct):
    key: str = ""
    operator: str = ""
    values: list[str] | None = None


class _Selector(Struct):
    match_labels: dict[str, str] | None = None
    match_expressions: list[_Expression] | None = None


class _RolloutSpec(Struct):
    template: _Template = _Template()
    selector: _Selector = _Selector()


class _Rollout(Struct):
    spec: _RolloutSpec = _RolloutSpec()


class _SetSpec(Struct):
    replicas: int = 1
    template: _Template = _Template()


class _SetStatus(Struct):
    replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0


class _ReplicaSet(Struct):
    metadata: _Meta = _Meta()
    spec: _SetSpec = _SetSpec()
    status: _SetStatus = _SetStatus()


class _ServiceSpec(Struct):
    selector: dict[str, str] | None = None


class _Service(Struct):
    metadata: _Meta = _Meta()
    spec: _ServiceSpec = _ServiceSpec()


def check_rollout(obj: Object) -> None:
    """Raises Refused with the field when template or selector cannot be read."""
    read(_Rollout, obj)


def check_replica_set(obj: Object) -> None:
    """Raises Refused with the field when a ReplicaSet cannot be read."""
    _check(_ReplicaSet, "ReplicaSet", obj)


def check_service(obj: Object) -> None:
    """Raises Refused with the field when a Service cannot be read."""
    _check(_Service, "Service", obj)


def is_replica_set(obj: Object) -> bool:
    """Whether a ReplicaSet can be read."""
    try:
        check_replica_set(obj)
    except Refused:
        return False
    return True


def _check(shape: type[Struct], kind: str, obj: Any) -> None:
    try:
        read(shape, obj)
    except Refused as error:
        raise Refused(error.detail, field=f"{kind}.{error.field}") from error
