"""Names that people use for kinds."""

from typing import Final

from agent.cluster.port import KINDS, Kind
from agent.errors import Refused

SHORT_NAMES: Final = {
    "Rollout": ("ro",), "AnalysisTemplate": ("at",), "ClusterAnalysisTemplate": ("cat",),
    "AnalysisRun": ("ar",), "Experiment": ("exp",), "VirtualService": ("vs",),
    "DestinationRule": ("dr",), "ReplicaSet": ("rs",), "Deployment": ("deploy",),
    "Service": ("svc",), "Pod": ("po",), "ConfigMap": ("cm",), "Namespace": ("ns",),
    "Event": ("ev",),
}  # fmt: skip
"""As in the CRDs and in Kubernetes itself."""


def kind_named(name: str) -> Kind:
    """The kind by its own name, plural, `plural.group` or short name, in any case. Raises Refused."""
    wanted = name.lower()
    for kind in KINDS.values():
        names = {kind.kind.lower(), kind.plural, f"{kind.plural}.{kind.group}"}
        if wanted in names or wanted in SHORT_NAMES.get(kind.kind, ()):
            return kind
    known = ", ".join(sorted(kind.plural for kind in KINDS.values()))
    raise Refused(f"{name!r} is not a known kind; known are {known}", field="kind")
