"""Fields that no type has, and values of the wrong type: the API server drops the ones and refuses the others. PURE.

Structs of agent.api and the tables of Kubernetes' Go types say which fields there are.
"""

import re
import types
from collections.abc import Iterator, Mapping
from typing import Any, Final, Union, get_args, get_origin

import msgspec

from agent.api.analysis import AnalysisRun, AnalysisTemplate
from agent.api.decode import read
from agent.api.experiment import Experiment
from agent.api.meta import ObjectMeta
from agent.api.rollout import Rollout, RolloutStatus
from agent.errors import Refused
from agent.lint.finding import Finding
from agent.lint.world import Code, World
from agent.rollout import podspec_schema, shapes, step_schema
from agent.rollout.go_json import Types

ARG002: Final = Code(
    "ARG002",
    "error",
    "a field that the Rollout does not have, or a value of the wrong type",
    "Argo's lint refuses the manifest. An API server drops an unknown field without a word, so that its default is in"
    " force, and refuses a value of the wrong type.",
    "Correct the name or the value; `kubectl explain rollout.spec` lists the fields.",
)
SRN201: Final = Code(
    "SRN201",
    "error",
    "a field that an analysis or an Experiment does not have, or a value of the wrong type",
    "An API server drops an unknown field without a word. A condition whose name is misspelt is then no condition, and a"
    " metric without conditions is always a success.",
    "Correct the name or the value; `kubectl explain analysistemplate.spec` (or `experiment.spec`) lists the fields.",
)
CODES: Final = (ARG002, SRN201)

_KINDS: Final[Mapping[str, tuple[type, Code]]] = {
    "Rollout": (Rollout, ARG002),
    "AnalysisTemplate": (AnalysisTemplate, SRN201),
    "ClusterAnalysisTemplate": (AnalysisTemplate, SRN201),
    "AnalysisRun": (AnalysisRun, SRN201),
    "Experiment": (Experiment, SRN201),
}
_GO: Final = Types({**step_schema.STRUCTS, **podspec_schema.STRUCTS})
_TABLED: Final[Mapping[str, str]] = {
    "spec.template": podspec_schema.POD_TEMPLATE,
    "experiment": "RolloutExperimentStep",
    "plugin": "PluginStep",
}
"""Members that the structs keep as they are written, and the Go type that knows their fields."""
_EXPERIMENTS_PODS: Final = re.compile(r"spec\.templates\[\d+\]\.template")


def misfits(world: World) -> Iterator[Finding]:
    """One finding a field."""
    for item in world.of(*_KINDS):
        type_, code = _KINDS[item.ref.kind]
        obj = {
            name: value for name, value in item.obj.items() if name not in ("apiVersion", "kind")
        }
        for field, name in unknown(type_, obj, ""):
            yield code.at(item, field, f'{field}: unknown field "{name}"')
        try:
            read(type_, item.obj)
            if type_ is Rollout:
                shapes.check_rollout(item.obj)
        except Refused as error:
            yield code.at(item, error.field, f"{error.field}: {error.detail}")


def unknown(type_: Any, value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Path and name of every field in `value` that the type does not have."""
    if type_ is RolloutStatus or value is None:
        return
    if type_ is ObjectMeta:
        yield from _unknown_go("ObjectMeta", value, path)
    elif isinstance(type_, type) and issubclass(type_, msgspec.Struct):
        if isinstance(value, dict):
            yield from _unknown_members(type_, value, path)
    elif get_origin(type_) in (Union, types.UnionType):
        for choice in get_args(type_):
            if choice is not types.NoneType:
                yield from unknown(choice, value, path)
    elif get_origin(type_) in (list, tuple) and isinstance(value, list):
        for index, item in enumerate(value):
            yield from unknown(get_args(type_)[0], item, f"{path}[{index}]")
    elif get_origin(type_) is dict and isinstance(value, dict):
        for name, item in value.items():
            yield from unknown(get_args(type_)[1], item, f"{path}[{name}]")


def _unknown_members(
    type_: type[msgspec.Struct], value: Mapping[str, Any], path: str
) -> Iterator[tuple[str, str]]:
    known = {field.encode_name: field.type for field in msgspec.structs.fields(type_)}
    for name, item in value.items():
        below = f"{path}.{name}" if path else name
        table = _TABLED.get(below) or (_TABLED.get(name) if ".steps[" in path else None)
        if _EXPERIMENTS_PODS.fullmatch(below):
            table = podspec_schema.POD_TEMPLATE
        if name not in known:
            yield below, name
        elif table:
            yield from _unknown_go(table, item, below)
        else:
            yield from unknown(known[name], item, below)


def _unknown_go(kind: str, value: Any, path: str) -> Iterator[tuple[str, str]]:
    kind = kind.removeprefix("*")
    if kind.startswith("[") and isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unknown_go(kind[1:-1], item, f"{path}[{index}]")
    elif kind.startswith("{") and isinstance(value, dict):
        for name, item in value.items():
            yield from _unknown_go(kind[1:-1], item, f"{path}[{name}]")
    elif kind in _GO and isinstance(value, dict):
        known = {field.name: field.kind for field in _GO.fields(kind)}
        for name, item in value.items():
            below = f"{path}.{name}" if path else name
            if name in known:
                yield from _unknown_go(known[name], item, below)
            else:
                yield below, name
