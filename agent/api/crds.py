"""CustomResourceDefinitions of Argo's kinds, made from the types of this room.

What we interpret is typed as we read it. Everything else passes untouched, however deep: a manifest that
Argo's own definitions take is neither pruned nor refused by these. Names, short names, columns and
subresources are those of Argo's definitions, so that tools and Argo itself can take the objects over. Only
Rollouts have a status subresource: Argo's controller writes the status of the others through the object.
"""

from typing import Any, Final

import msgspec
from msgspec import inspect

from agent.api.analysis import AnalysisRun, AnalysisTemplate
from agent.api.meta import ObjectMeta
from agent.api.rollout import Rollout

Schema = dict[str, Any]

PRESERVE: Final = "x-kubernetes-preserve-unknown-fields"
INT_OR_STRING: Final = "x-kubernetes-int-or-string"
OPEN: Final[Schema] = {"type": "object", PRESERVE: True}


class Definition(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be known of a kind beside its fields.

    Attributes:
        type: what we read it as; None for a kind whose spec and status pass untouched.
        columns: name, type, JSONPath and meaning, as `kubectl get` shows them between name and age.
    """

    kind: str
    plural: str
    short_name: str
    type: type[msgspec.Struct] | None
    summary: str
    columns: tuple[tuple[str, str, str, str], ...] = ()
    subresources: Schema = {}
    namespaced: bool = True

    @property
    def name(self) -> str:
        """Name of the definition."""
        return f"{self.plural}.argoproj.io"


_PHASE: Final = (("Status", "string", ".status.phase", "What became of it"),)
_AGE: Final = ("Age", "date", ".metadata.creationTimestamp", "Time since it was created")

DEFINITIONS: Final = (
    Definition(
        kind="Rollout",
        plural="rollouts",
        short_name="ro",
        type=Rollout,
        summary="A workload whose new versions go out step by step",
        columns=(
            ("Desired", "integer", ".spec.replicas", "Pods that are wanted"),
            ("Current", "integer", ".status.replicas", "Pods that there are, of all versions"),
            ("Up-to-date", "integer", ".status.updatedReplicas", "Pods of the newest version"),
            ("Available", "integer", ".status.availableReplicas", "Pods ready for minReadySeconds"),
        ),
        subresources={
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.replicas",
                "statusReplicasPath": ".status.HPAReplicas",
                "labelSelectorPath": ".status.selector",
            },
        },
    ),
    Definition(
        kind="AnalysisRun",
        plural="analysisruns",
        short_name="ar",
        type=AnalysisRun,
        summary="One run of an analysis, with its measurements",
        columns=_PHASE,
    ),
    Definition(
        kind="AnalysisTemplate",
        plural="analysistemplates",
        short_name="at",
        type=AnalysisTemplate,
        summary="What to measure, and what counts as success",
    ),
    Definition(
        kind="ClusterAnalysisTemplate",
        plural="clusteranalysistemplates",
        short_name="cat",
        type=AnalysisTemplate,
        summary="An AnalysisTemplate for all namespaces",
        namespaced=False,
    ),
    Definition(
        kind="Experiment",
        plural="experiments",
        short_name="exp",
        type=None,
        summary="Versions that run beside each other for a while",
        columns=_PHASE,
    ),
)


def manifest(definition: Definition) -> dict[str, Any]:
    """The CustomResourceDefinition as an object of apiextensions.k8s.io/v1."""
    columns = [
        {"name": name, "type": kind, "jsonPath": path, "description": meaning}
        for name, kind, path, meaning in (*definition.columns, _AGE)
    ]
    version: dict[str, Any] = {
        "name": "v1alpha1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": _root(definition)},
        "additionalPrinterColumns": columns,
    }
    if definition.subresources:
        version["subresources"] = definition.subresources
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": definition.name},
        "spec": {
            "group": "argoproj.io",
            "names": {
                "kind": definition.kind,
                "listKind": f"{definition.kind}List",
                "plural": definition.plural,
                "shortNames": [definition.short_name],
                "singular": definition.kind.lower(),
            },
            "scope": "Namespaced" if definition.namespaced else "Cluster",
            "versions": [version],
        },
    }


def _root(definition: Definition) -> Schema:
    fields: dict[str, Schema]
    if definition.type is None:
        fields = {"spec": OPEN, "status": OPEN}
    else:
        fields = {
            field.encode_name: _schema(inspect.type_info(field.type))
            for field in msgspec.structs.fields(definition.type)
            if field.type is not ObjectMeta
        }
    return {
        "description": definition.summary,
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            **fields,
        },
        # The sides of an object that no type of ours knows.
        PRESERVE: True,
    }


def _schema(found: inspect.Type) -> Schema:
    """The structural schema of a type. Raises TypeError for one that the wire types do not use."""
    match found:
        case inspect.BoolType():
            return {"type": "boolean"}
        case inspect.IntType():
            return {"type": "integer", "format": "int64"}
        case inspect.StrType():
            return {"type": "string"}
        case inspect.AnyType():
            return {PRESERVE: True}
        case inspect.ListType(item_type=item):
            return {"type": "array", "items": _schema(item)}
        case inspect.DictType(value_type=inspect.AnyType()):
            return dict(OPEN)
        case inspect.DictType(value_type=value):
            return {"type": "object", "additionalProperties": _schema(value)}
        case inspect.UnionType(types=types):
            return _union([member for member in types if not isinstance(member, inspect.NoneType)])
        case inspect.StructType():
            return _struct(found)
    raise TypeError(f"no schema for {found!r}")


def _union(members: list[inspect.Type]) -> Schema:
    if len(members) == 1:
        return _schema(members[0])
    kinds = {type(member) for member in members}
    if kinds == {inspect.IntType, inspect.StrType}:
        return {INT_OR_STRING: True}
    raise TypeError(f"no schema for a choice of {members!r}")


def _struct(found: inspect.StructType) -> Schema:
    # Through __dict__: a class without words of its own would show those of its base.
    words = (found.cls.__dict__.get("__doc__") or "").partition("\n")[0]
    required = [field.encode_name for field in found.fields if field.required]
    return {
        **({"description": words} if words else {}),
        **OPEN,
        "properties": {field.encode_name: _schema(field.type) for field in found.fields},
        **({"required": required} if required else {}),
    }
