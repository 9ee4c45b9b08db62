"""Which Service of a canary leads to which version: the one place where the roles are derived. PURE."""

from typing import Final, NamedTuple

from agent.api.rollout import CanaryStrategy, Rollout

PING: Final = "ping"
PONG: Final = "pong"
"""Values of status.canary.stablePingPong: which of the two Services leads to the stable version."""


class ServiceRoles(NamedTuple):
    """Names of the canary and the stable Service now; "" without one.

    `swap`: they are ping and pong, which change roles at every promotion and are not re-pointed then.
    """

    canary: str = ""
    stable: str = ""
    swap: bool = False


def service_roles(rollout: Rollout) -> ServiceRoles:
    """The roles by status.canary.stablePingPong; until it is set, pong is the stable one.

    A canary or stable Service in the spec goes before ping and pong, as with Argo's Istio router.
    """
    canary = rollout.spec.strategy.canary or CanaryStrategy()
    pair = canary.ping_pong
    if pair is None or canary.canary_service or canary.stable_service:
        return ServiceRoles(canary.canary_service, canary.stable_service)
    if rollout.status.canary.stable_ping_pong == PING:
        return ServiceRoles(pair.pong_service, pair.ping_service, swap=True)
    return ServiceRoles(pair.ping_service, pair.pong_service, swap=True)


def swapped(rollout: Rollout) -> str:
    """status.canary.stablePingPong once the canary is the stable version."""
    return PONG if rollout.status.canary.stable_ping_pong == PING else PING
