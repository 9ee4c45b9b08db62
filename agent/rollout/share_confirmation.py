"""A weight that counts as reached only when the requests show it: who asks for that, and what was found out. PURE.

The annotation SHARES is about one exposure: a version and its weight. Written late, or for another one, it says nothing.
"""

from typing import Final

from agent.analysis.shares import Shown, State
from agent.api.names import CONFIRM_SHARES, SHARES
from agent.api.rollout import Rollout
from agent.api.service_roles import service_roles
from agent.traffic.types import Confirmation

_STATES: Final[tuple[State, ...]] = ("confirmed", "few", "off", "absent")


def asked_for(rollout: Rollout, weight: int | None) -> str:
    """The exposure whose requests must confirm it, `<hash>:<weight>`; "" when none must.

    Only while a new version is on its way up: what goes down never waits.
    """
    status = rollout.status
    wanted = bool(rollout.metadata.annotation(CONFIRM_SHARES))
    on_its_way = status.stable_rs and status.stable_rs != status.current_pod_hash
    if not wanted or not on_its_way or status.abort or not weight:
        return ""
    return f"{status.current_pod_hash}:{weight}"


def confirmation(rollout: Rollout, weight: int | None, told: Confirmation) -> Confirmation:
    """What the routes' status says, and then what the requests show."""
    exposure = asked_for(rollout, weight)
    if not exposure or told.verified is False:
        return told
    shown = noted(rollout, exposure)
    if shown.state == "confirmed":
        return Confirmation(verified=True, in_listener=told.in_listener)
    what = shown.text or "nobody has counted them yet"
    reason = f"the requests do not show weight {weight} yet: {what}"
    return Confirmation(
        verified=False,
        reason=reason,
        way_out=f"taking {CONFIRM_SHARES} away goes on without",
        in_listener=told.in_listener,
    )


def noted(rollout: Rollout, exposure: str) -> Shown:
    """What was found out about this exposure; `absent` without a word when nothing was."""
    about, _, found = rollout.metadata.annotation(SHARES).partition("=")
    state, _, text = found.partition(" ")
    for known in _STATES:
        if exposure and about == exposure and state == known:
            return Shown(known, text)
    return Shown("absent")


def text_of(exposure: str, shown: Shown) -> str:
    """The annotation's text."""
    return f"{exposure}={shown.state} {shown.text}"


def canary_names(rollout: Rollout) -> tuple[str, ...]:
    """Values of labels by which a series is known as the canary's: its Service, its hash, its subset."""
    canary = rollout.spec.strategy.canary
    istio = canary.traffic_routing.istio if canary and canary.traffic_routing else None
    rule = istio.destination_rule if istio else None
    names = (
        service_roles(rollout).canary,
        rollout.status.current_pod_hash,
        rule.canary_subset_name if rule else "",
    )
    return tuple(name for name in names if name)


def istio_query(rollout: Rollout) -> str:
    """Requests by Service as the clients' proxies count them (Istio's standard metric)."""
    services = service_roles(rollout)
    names = "|".join(name for name in (services.canary, services.stable) if name)
    return (
        'sum by (destination_service_name) (istio_requests_total{reporter="source",'
        f'destination_service_namespace="{rollout.metadata.namespace}",'
        f'destination_service_name=~"{names}"}})'
    )
