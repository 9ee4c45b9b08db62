"""What an API server serves: the version of a kind, and whether it has a status subresource."""

from typing import Final, Protocol
from urllib.parse import quote

import msgspec

from agent.api.meta import Object
from agent.cluster.port import Kind
from agent.errors import NotFound

VERSIONS: Final[dict[str, tuple[str, ...]]] = {
    "networking.istio.io": ("v1", "v1beta1", "v1alpha3"),
    "gateway.networking.k8s.io": ("v1", "v1beta1", "v1alpha3", "v1alpha2"),
}
"""Groups of which clusters serve different versions of the same objects, best first."""

LOCAL: Final = "+serinus-local"
"""How the version of our own local cluster ends."""


class Served(msgspec.Struct, frozen=True):
    """A kind as one API server serves it."""

    kind: Kind
    version: str
    has_status: bool

    @property
    def api_version(self) -> str:
        return f"{self.kind.group}/{self.version}" if self.kind.group else self.version

    def path(self, namespace: str | None, name: str = "") -> str:
        """URL path of the collection (all namespaces for None) or of one object."""
        scope = (
            f"/namespaces/{quote(namespace, safe='')}" if self.kind.namespaced and namespace else ""
        )
        root = _root(self.kind.group, self.version)
        return f"{root}{scope}/{self.kind.plural}" + (f"/{quote(name, safe='')}" if name else "")

    def named(self, obj: Object) -> Object:
        """The object with the apiVersion and kind that items of lists lack."""
        return {**obj, "apiVersion": self.api_version, "kind": self.kind.kind}


class Resources(Protocol):
    """GET of a path such as `/apis/apps/v1`. Raises NotFound."""

    async def __call__(self, path: str, *, urgent: bool) -> Object: ...


class Discovery:
    """Asks once a kind; what is not served is asked for again (a CRD may be installed later)."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._served: dict[str, Served] = {}

    async def served(self, kind: Kind, *, urgent: bool = False) -> Served:
        """How this API server serves the kind. Raises NotFound when it does not."""
        known = self._served.get(kind.kind)
        if known is not None:
            return known
        for version in VERSIONS.get(kind.group, (kind.version,)):
            try:
                answer = await self._resources(_root(kind.group, version), urgent=urgent)
            except NotFound:
                continue
            names = {str(resource.get("name")) for resource in answer.get("resources") or ()}
            if kind.plural in names:
                served = Served(kind, version, f"{kind.plural}/status" in names)
                self._served[kind.kind] = served
                return served
        raise NotFound(f"the API server does not serve {kind.plural} of {kind.group or 'core'}")

    def forget(self, kind: Kind) -> None:
        """Ask again: the collection was not found, so the CRD has changed."""
        self._served.pop(kind.kind, None)


def _root(group: str, version: str) -> str:
    return f"/apis/{group}/{version}" if group else f"/api/{version}"
