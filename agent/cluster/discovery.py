"""What an API server serves: the version of a kind, and whether it has a status subresource."""

from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import quote

import msgspec

from agent.api.meta import Object
from agent.cluster.port import Kind
from agent.errors import NotFound

VERSIONS: Final = {"networking.istio.io": ("v1", "v1beta1", "v1alpha3")}
"""Groups of which clusters serve different versions of the same objects, best first."""


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
        root = (
            f"/apis/{self.kind.group}/{self.version}" if self.kind.group else f"/api/{self.version}"
        )
        scope = (
            f"/namespaces/{quote(namespace, safe='')}" if self.kind.namespaced and namespace else ""
        )
        return f"{root}{scope}/{self.kind.plural}" + (f"/{quote(name, safe='')}" if name else "")

    def named(self, obj: Object) -> Object:
        """The object with the apiVersion and kind that items of lists lack."""
        if "kind" in obj and "apiVersion" in obj:
            return obj
        return {"apiVersion": self.api_version, "kind": self.kind.kind, **obj}


class Discovery:
    """Asks once a kind; what is not served is asked for again (a CRD may be installed later).

    Args:
        resources: GET of a path such as `/apis/apps/v1`, raising NotFound.
    """

    def __init__(self, resources: Callable[[str], Awaitable[Object]]) -> None:
        self._resources = resources
        self._served: dict[str, Served] = {}

    async def served(self, kind: Kind) -> Served:
        """How this API server serves the kind. Raises NotFound when it does not."""
        known = self._served.get(kind.kind)
        if known is not None:
            return known
        for version in VERSIONS.get(kind.group, (kind.version,)):
            path = f"/apis/{kind.group}/{version}" if kind.group else f"/api/{version}"
            try:
                names = _names(await self._resources(path))
            except NotFound:
                continue
            if kind.plural in names:
                served = Served(kind, version, f"{kind.plural}/status" in names)
                self._served[kind.kind] = served
                return served
        raise NotFound(f"the API server does not serve {kind.plural} of {kind.group or 'core'}")


def _names(answer: dict[str, Any]) -> frozenset[str]:
    return frozenset(str(resource.get("name")) for resource in answer.get("resources") or ())
