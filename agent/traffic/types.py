"""The seam of routers: plans of route changes, as plain data. One router is one file."""

from collections.abc import Mapping
from typing import Any, Literal, Protocol

import msgspec

from agent.api.meta import Object, Ref
from agent.api.names import ROUTE_STATUS
from agent.api.rollout import Rollout, SetHeaderRoute, SetMirrorRoute, WeightDestination

RouteObjects = Mapping[Ref, Object]
"""The route objects (VirtualService, DestinationRule, …) of one rollout, as observed."""

ManagedRoute = SetHeaderRoute | SetMirrorRoute
"""A route of the rollout's own in front of the user's. Without `match` it should be gone."""


class FieldError(msgspec.Struct, frozen=True):
    """A refusal that names the field and the fix; types are those of Kubernetes field errors.

    `value` is the refused value as Kubernetes prints it (texts in quotes), "" when it is not shown.
    """

    field: str
    detail: str
    type: str = "FieldValueInvalid"
    value: str = ""


class Desired(msgspec.Struct, frozen=True, kw_only=True):
    """What the routes should say. None leaves that part alone.

    Attributes:
        canary_weight: the share of the canary, 0 to trafficRouting.maxTrafficWeight (100 unless it says otherwise).
        canary_hash, stable_hash: pod-template hashes that hash-based subsets should select ("" removes).
        additional: services of experiments, with their weights and hashes. Those recorded in
            status.canary.weights.additional that are missing here are taken off the route.
        managed: header and mirror routes, each as it should be; without a `match` it should be gone. Routes
            that are not listed are left alone.
    """

    canary_weight: int | None = None
    canary_hash: str | None = None
    stable_hash: str | None = None
    additional: tuple[WeightDestination, ...] = ()
    managed: tuple[ManagedRoute, ...] = ()


class Claim(msgspec.Struct, frozen=True, order=True):
    """A part of a route object that one rollout writes, in words that say the same for every rollout.

    Two rollouts with an equal claim would undo each other's writes for ever: both are refused.
    """

    ref: Ref
    part: str


class RouteChange(msgspec.Struct, frozen=True, kw_only=True):
    """One object's change.

    Attributes:
        direction: `lower` or `raise` the canary's exposure, or `repoint` (subsets, no weight moves). A
            managed route that goes is a lower, one that comes or changes is a raise.
        patch: minimal JSON Patch (RFC 6902) with `test` operations on what was read.
        reason: a short sentence for people and logs.
    """

    ref: Ref
    direction: Literal["lower", "raise", "repoint"]
    before: Object
    after: Object
    patch: tuple[dict[str, Any], ...]
    reason: str


class RoutePlan(msgspec.Struct, frozen=True, kw_only=True):
    """Changes to make, in order: lowers, subsets, raises.

    With a refusal there is nothing to do, but for lowers of those routes that are in order: lowering
    always goes forward.
    """

    changes: tuple[RouteChange, ...] = ()
    refusal: FieldError | None = None


class Confirmation(msgspec.Struct, frozen=True, kw_only=True):
    """Whether whoever programs the proxies has taken up what the route objects say now.

    Attributes:
        verified: True: it says so, of this very generation; False: it does not, or not yet: nothing is raised
            and no pod removed until it does; None: objects of this kind do not tell.
        reason: what is missing, for people; "" unless `verified` is False.
        way_out: how to go on without it, for people.
        in_listener: each change of weights replaces listeners of the proxies, and with them connections: raises
            keep a distance (lowers never wait).
    """

    verified: bool | None = None
    reason: str = ""
    way_out: str = f"{ROUTE_STATUS}: ignored goes on without"
    in_listener: bool = False


class RouteKind(msgspec.Struct, frozen=True):
    """A resource type of route objects. `versions`: as clusters may serve it, best first."""

    kind: str
    plural: str
    group: str
    versions: tuple[str, ...]


class Router(Protocol):
    """A traffic router: pure, all methods total (trouble is a refusal, never an exception).

    A class of one's own derives from it and leaves out what its routes do not have.
    """

    name: str
    """What configures it: a member of spec.strategy.canary.trafficRouting, else of its `plugins`."""
    kinds: tuple[RouteKind, ...] = ()
    """Resource types that it needs besides those that the agent knows (agent.cluster.port)."""

    def references(self, rollout: Rollout) -> tuple[Ref, ...]:
        """Objects that must be observed to plan for this rollout."""
        ...

    def validate(self, rollout: Rollout, objects: RouteObjects) -> tuple[FieldError, ...]:
        """Why these routes cannot be driven; empty when they can.

        `objects` also has route objects of others that have a host in common with these.
        """
        ...

    def canary_weight(self, rollout: Rollout, objects: RouteObjects) -> int | None:
        """The canary's share as the objects say it now, in the unit of Desired.canary_weight.

        The highest one when several routes differ; None when it cannot be told.
        """
        ...

    def plan(self, rollout: Rollout, objects: RouteObjects, desired: Desired) -> RoutePlan:
        """The changes that make the routes say what is desired; empty when they already do.

        A managed route was read back when its plan is empty and not refused.
        """
        ...

    def managed_routes(self, rollout: Rollout, objects: RouteObjects) -> tuple[str, ...]:
        """Names of this rollout's header and mirror routes that the objects have now."""
        del rollout, objects
        return ()

    def claims(self, rollout: Rollout, objects: RouteObjects) -> tuple[Claim, ...]:
        """The parts of route objects that only this rollout may write; none when they cannot be told."""
        del objects
        return tuple(Claim(ref, "the whole") for ref in self.references(rollout))

    def confirmation(self, rollout: Rollout, objects: RouteObjects) -> Confirmation:
        """Whether what the objects say now is in force."""
        del rollout, objects
        return Confirmation()

    def plan_shelter(self, rollout: Rollout, objects: RouteObjects, stable_hash: str) -> RoutePlan:
        """When the weight cannot be written: point the canary's subset at stable. Empty if not possible."""
        del rollout, objects, stable_hash
        return RoutePlan()
