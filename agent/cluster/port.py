"""The Kubernetes port: what the agent asks of an API server. Objects are decoded JSON.

Errors are those of agent.errors: NotFound, AlreadyExists, Conflict, Invalid, Forbidden, Gone,
Unavailable. Implementations hold the deadlines: no call here can hang.
"""

import builtins
from collections.abc import AsyncIterator
from typing import Any, Literal, Protocol

import msgspec

from agent.api.meta import Object


class Kind(msgspec.Struct, frozen=True):
    """A resource type. `kind` is unique among those we use and is the `kind` of agent.api.meta.Ref."""

    kind: str
    plural: str
    group: str = ""
    version: str = "v1"
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


def _argo(kind: str, plural: str, *, namespaced: bool = True) -> Kind:
    return Kind(kind, plural, "argoproj.io", "v1alpha1", namespaced)


def _istio(kind: str, plural: str) -> Kind:
    return Kind(kind, plural, "networking.istio.io", "v1beta1")


def _gateway(kind: str, plural: str) -> Kind:
    return Kind(kind, plural, "gateway.networking.k8s.io", "v1")


KINDS: dict[str, Kind] = {
    kind.kind: kind
    for kind in (
        _argo("Rollout", "rollouts"),
        _argo("AnalysisTemplate", "analysistemplates"),
        _argo("ClusterAnalysisTemplate", "clusteranalysistemplates", namespaced=False),
        _argo("AnalysisRun", "analysisruns"),
        _argo("Experiment", "experiments"),
        _istio("VirtualService", "virtualservices"),
        _istio("DestinationRule", "destinationrules"),
        _gateway("HTTPRoute", "httproutes"),
        _gateway("GRPCRoute", "grpcroutes"),
        _gateway("TCPRoute", "tcproutes"),
        _gateway("TLSRoute", "tlsroutes"),
        Kind("ReplicaSet", "replicasets", "apps"),
        Kind("Deployment", "deployments", "apps"),
        Kind("Service", "services"),
        Kind("Pod", "pods"),
        Kind("Secret", "secrets"),
        Kind("ConfigMap", "configmaps"),
        Kind("Namespace", "namespaces", namespaced=False),
        Kind("Event", "events"),
        Kind("Lease", "leases", "coordination.k8s.io"),
        Kind("Job", "jobs", "batch"),
    )
}
"""Resource types by the `kind` of their manifests."""


class Listing(msgspec.Struct, frozen=True):
    """Objects and the resource version from which a watch continues."""

    items: tuple[Object, ...]
    resource_version: str


class WatchEvent(msgspec.Struct, frozen=True):
    """`BOOKMARK` carries only metadata.resourceVersion."""

    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]
    object: Object


class Cluster(Protocol):
    """One API server. `urgent=True` uses the urgent budget (own connections, 1 s, immediate retry).

    `namespace` None (or any value for cluster-scoped kinds) means all namespaces in list and watch.
    """

    async def get(
        self, kind: Kind, namespace: str, name: str, *, urgent: bool = False
    ) -> Object: ...

    async def list(
        self, kind: Kind, namespace: str | None = None, *, labels: str = "", fields: str = ""
    ) -> Listing:
        """All objects, paged. `labels` is a label selector, `fields` a field selector."""
        ...

    def watch(
        self, kind: Kind, namespace: str | None = None, *, resource_version: str, labels: str = ""
    ) -> AsyncIterator[WatchEvent]:
        """Changes after `resource_version`, ending after some minutes; raises Gone when it is too old."""
        ...

    async def create(self, kind: Kind, obj: Object) -> Object: ...

    async def merge_patch(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        patch: dict[str, Any],
        *,
        status: bool = False,
        urgent: bool = False,
    ) -> Object:
        """RFC 7386. With metadata.resourceVersion in the patch: Conflict when it is not the current one.

        `status=True` writes the status, through the subresource when the kind has one.
        """
        ...

    async def json_patch(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        patch: builtins.list[dict[str, Any]],
        *,
        urgent: bool = False,
    ) -> Object:
        """RFC 6902. Conflict when a `test` operation fails."""
        ...

    async def delete(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        *,
        uid: str = "",
        propagation: str = "Background",
    ) -> None:
        """With `uid`: Conflict when the object of that name is another one."""
        ...

    async def aclose(self) -> None: ...
