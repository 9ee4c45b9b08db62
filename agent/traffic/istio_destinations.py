"""Who is who among the destinations of an Istio route: canary, stable, experiment, or somebody else's.

Argo's rule compares the first label of the host *or* the subset name, which reweights the wrong
destination when two namespaces share a short name and deletes what it does not know. Here a host that
names another namespace is not ours, subsets are compared together with their host, and a destination
that is not ours keeps its weight.
"""

from math import isfinite
from typing import Any, Literal

import msgspec

from agent.api.meta import Object
from agent.api.rollout import CanaryStrategy, Rollout
from agent.api.service_roles import service_roles
from agent.errors import Refused

Role = Literal["canary", "stable", "experiment", "fixed", "foreign"]
"""`fixed`: a subset the user listed under additionalSubsetNames; `foreign`: anything we do not know."""


class Destination(msgspec.Struct, frozen=True, kw_only=True):
    """One item of a route's list. `weight` is None when it is not a number of 0 or more."""

    index: int
    item: dict[str, Any]
    host: str
    subset: str
    weight: int | None
    role: Role


class Roles(msgspec.Struct, frozen=True, kw_only=True):
    """How one rollout's destinations are recognised.

    With both subset names set the subset decides (subset level), else the service's host (host level).

    Attributes:
        experiments: services of experiments that the status records as weighted by us.
        experiment_prefix: names of experiment services of the current revision begin so; it finds the
            destinations of a write whose record was lost in a crash.
    """

    namespace: str
    canary_service: str = ""
    stable_service: str = ""
    canary_subset: str = ""
    stable_subset: str = ""
    subset_host: str = ""
    additional_subsets: tuple[str, ...] = ()
    experiments: tuple[str, ...] = ()
    experiment_prefix: str = ""

    @property
    def by_subset(self) -> bool:
        return bool(self.canary_subset and self.stable_subset)

    def role(self, host: str, subset: str) -> Role:
        """The role of a destination."""
        name = host.split(".", 1)[0]
        if not name:
            return "foreign"
        if self.by_subset:
            if subset and same_service(host, self.subset_host or host):
                if subset == self.canary_subset:
                    return "canary"
                if subset == self.stable_subset:
                    return "stable"
            if subset in self.additional_subsets:
                return "fixed"
        elif _in_namespace(host, self.namespace):
            if name == self.canary_service:
                return "canary"
            if name == self.stable_service:
                return "stable"
        if _in_namespace(host, self.namespace) and self.is_experiment(name):
            return "experiment"
        return "foreign"

    def is_experiment(self, service: str) -> bool:
        """Whether a service, or the subset named after it, was put there for an experiment of ours."""
        prefixed = bool(self.experiment_prefix) and service.startswith(self.experiment_prefix)
        return service in self.experiments or prefixed

    def missing(self, role: Literal["canary", "stable"]) -> str:
        """The sentence for a route that lacks the destination (texts are Argo's)."""
        title = role.capitalize()
        if self.by_subset:
            subset = self.canary_subset if role == "canary" else self.stable_subset
            return f"{title} DestinationRule subset '{subset}' not found in route"
        service = self.canary_service if role == "canary" else self.stable_service
        return f"{title} Service '{service}' not found in route"


def roles_of(
    rollout: Rollout, destination_rule: Object | None, wanted: tuple[str, ...] = ()
) -> Roles:
    """The roles of a rollout; `wanted` are services of experiments that should get weight now."""
    canary = rollout.spec.strategy.canary or CanaryStrategy()
    istio = canary.traffic_routing.istio if canary.traffic_routing else None
    rule = istio.destination_rule if istio else None
    names = service_roles(rollout)
    weights = rollout.status.canary.weights
    recorded = (weights.additional if weights else None) or []
    experiments = {item.service_name: None for item in recorded} | dict.fromkeys(wanted)
    revision = rollout.status.current_pod_hash
    return Roles(
        namespace=rollout.metadata.namespace,
        canary_service=names.canary,
        stable_service=names.stable,
        canary_subset=rule.canary_subset_name if rule else "",
        stable_subset=rule.stable_subset_name if rule else "",
        subset_host=_host(destination_rule),
        additional_subsets=tuple((rule.additional_subset_names if rule else None) or ()),
        experiments=tuple(name for name in experiments if name),
        experiment_prefix=f"{rollout.metadata.name}-{revision}-" if revision else "",
    )


def _host(destination_rule: Object | None) -> str:
    spec = (destination_rule or {}).get("spec")
    return str(spec.get("host") or "") if isinstance(spec, dict) else ""


def read_destinations(route: dict[str, Any], roles: Roles) -> tuple[Destination, ...]:
    """The destinations of a route; empty for a redirect. Raises Refused when the list is malformed."""
    items = route.get("route") or []
    if not isinstance(items, list):
        raise Refused("route is not a list of destinations")
    return tuple(_read(index, item, roles) for index, item in enumerate(items))


def _read(index: int, item: Any, roles: Roles) -> Destination:
    where = item.get("destination") if isinstance(item, dict) else None
    if not isinstance(where, dict):
        raise Refused(f"route[{index}] has no destination")
    host, subset = str(where.get("host") or ""), str(where.get("subset") or "")
    return Destination(
        index=index,
        item=item,
        host=host,
        subset=subset,
        weight=_weight(item.get("weight")),
        role=roles.role(host, subset),
    )


def _weight(value: Any) -> int | None:
    """An absent weight is 0; 10.0 is 10 (Argo writes floats); anything else cannot be told."""
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if isfinite(value) and value >= 0 and value == int(value) else None


def same_service(left: str, right: str) -> bool:
    """Whether two hosts name one Service: short names match any namespace, because it is implied."""
    one, other = left.split("."), right.split(".")
    return one[0] == other[0] and (len(one) == 1 or len(other) == 1 or one[1] == other[1])


def _in_namespace(host: str, namespace: str) -> bool:
    labels = host.split(".")
    return len(labels) == 1 or labels[1] == namespace
