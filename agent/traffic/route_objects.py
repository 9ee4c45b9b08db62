"""What routers of every kind do with route objects: find one, and say how it changes."""

from collections.abc import Mapping
from typing import Final, Literal

from agent.api.meta import Object, Ref
from agent.api.rollout import Rollout
from agent.errors import Refused
from agent.traffic.json_patch import Operation, apply, check, pointer
from agent.traffic.types import RouteChange, RouteObjects

_NAMES: Final[Mapping[str, str]] = {
    "VirtualService": "virtualservices.networking.istio.io",
    "DestinationRule": "destinationrules.networking.istio.io",
    "HTTPRoute": "httproutes.gateway.networking.k8s.io",
    "GRPCRoute": "grpcroutes.gateway.networking.k8s.io",
    "TCPRoute": "tcproutes.gateway.networking.k8s.io",
    "TLSRoute": "tlsroutes.gateway.networking.k8s.io",
}


def managed_names(rollout: Rollout) -> tuple[str, ...]:
    """Names of routes that the rollout may create, top to bottom."""
    canary = rollout.spec.strategy.canary
    routing = canary.traffic_routing if canary else None
    return tuple(item.name for item in (routing.managed_routes if routing else None) or ())


def observed(objects: RouteObjects, ref: Ref) -> Object:
    """The object; Refused, in the API server's words, when it is not there."""
    found = objects.get(ref)
    if found is None:
        raise Refused(f'{_NAMES.get(ref.kind, ref.kind)} "{ref.name}" not found')
    return found


def change_of(
    ref: Ref,
    before: Object,
    patch: tuple[Operation, ...],
    direction: Literal["lower", "raise", "repoint"],
    reason: str,
) -> RouteChange:
    """The change of one object; what it will be is computed by the patch itself."""
    return RouteChange(
        ref=ref,
        direction=direction,
        before=before,
        after=apply(before, patch),
        patch=patch,
        reason=reason,
    )


def unchanged_since_read(obj: Object) -> list[Operation]:
    """A raise happens only on the very object that was judged; a lower must not fail over trifles."""
    version = (obj.get("metadata") or {}).get("resourceVersion")
    return [check(pointer("metadata", "resourceVersion"), version)] if version else []
