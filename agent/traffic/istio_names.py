"""How a Rollout names its VirtualServices and DestinationRule. PURE."""

from typing import Final

from agent.api.meta import Key
from agent.api.rollout import IstioTrafficRouting, IstioVirtualService, Rollout

CLUSTER_LOCAL: Final = ".cluster.local"


def resolve(name: str, rollout_namespace: str = "") -> tuple[str, str]:
    """(namespace, name) of the VirtualService that a Rollout in `rollout_namespace` calls `name`.

    `name` is `name` or `name.namespace`. The compatibility rule is Argo's: a trailing `.cluster.local`
    is taken off, then the last dot separates the namespace. So a service-style name
    (`a.ns.svc.cluster.local`) is in namespace `svc`.
    """
    plain, dot, namespace = name.removesuffix(CLUSTER_LOCAL).rpartition(".")
    return (namespace, plain) if dot else (rollout_namespace, namespace)


def istio_of(rollout: Rollout) -> IstioTrafficRouting | None:
    """spec.strategy.canary.trafficRouting.istio, None when the Rollout does not use Istio."""
    canary = rollout.spec.strategy.canary
    routing = canary.traffic_routing if canary else None
    return routing.istio if routing else None


def names_one_form(istio: IstioTrafficRouting) -> bool:
    """Whether exactly one of `virtualService` and `virtualServices` is given (an empty list is given)."""
    return (istio.virtual_service is None) != (istio.virtual_services is None)


def virtual_services(rollout: Rollout) -> tuple[IstioVirtualService, ...]:
    """The VirtualServices that the spec names, in order; none when both or neither form is used."""
    istio = istio_of(rollout)
    if istio is None or not names_one_form(istio):
        return ()
    if istio.virtual_service is not None:
        return (istio.virtual_service,)
    return tuple(istio.virtual_services or ())


def virtual_service_keys(rollout: Rollout) -> tuple[Key, ...]:
    """Where the Rollout's VirtualServices are, in order of the spec; entries without a name are left out."""
    return tuple(
        Key(*resolve(item.name, rollout.metadata.namespace))
        for item in virtual_services(rollout)
        if item.name
    )


def destination_rule_keys(rollout: Rollout) -> tuple[Key, ...]:
    """Where the Rollout's DestinationRule is: at most one, always in the Rollout's own namespace."""
    istio = istio_of(rollout)
    rule = istio.destination_rule if istio else None
    return (Key(rollout.metadata.namespace, rule.name),) if rule and rule.name else ()
