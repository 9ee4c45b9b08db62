"""Header and mirror routes: which of them should stand now. PURE.

They are a level, as weights are: what the steps up to the current one have set and not taken away. (Argo
carries out the current step only; a route that somebody removed by hand, or that a changed list of steps
left behind, stays as it is there.)
"""

from agent.api.rollout import Rollout, SetHeaderRoute, Step
from agent.rollout import defaults, replicas
from agent.rollout.draft import Draft
from agent.traffic.types import ManagedRoute


def gone(rollout: Rollout) -> tuple[ManagedRoute, ...]:
    """Every header and mirror route of the rollout, not wanted: those of its steps and of managedRoutes."""
    canary = defaults.canary_of(rollout)
    names: dict[str, None] = {}
    for step in canary.steps or ():
        part = _part(step)
        if part is not None:
            names[part.name] = None
    routing = canary.traffic_routing
    names |= dict.fromkeys(
        item.name for item in (routing.managed_routes if routing else None) or ()
    )
    return tuple(SetHeaderRoute(name=name) for name in names if name)


def of_step(rollout: Rollout) -> ManagedRoute | None:
    """The header or mirror route that the current step sets or takes away, from the second version on."""
    step, _index = replicas.current_step(rollout)
    status = rollout.status
    if step is None or not status.stable_rs or status.stable_rs == status.current_pod_hash:
        return None
    return _part(step)


def have_pods(draft: Draft) -> bool:
    """Whether the canary should have pods now: without any, nobody may be led there."""
    facts, weights = draft.facts, draft.status.canary.weights
    return replicas.routed_sizes(draft.rollout, facts.new, facts.stable, weights).canary > 0


def _part(step: Step) -> ManagedRoute | None:
    return step.set_header_route or step.set_mirror_route


def by_steps(rollout: Rollout) -> tuple[ManagedRoute, ...]:
    """What the steps up to the current one ask for; every other route of the rollout is not wanted."""
    wanted: dict[str, ManagedRoute] = {item.name: item for item in gone(rollout)}
    index = rollout.status.current_step_index or 0
    for step in (defaults.canary_of(rollout).steps or [])[: index + 1]:
        part = _part(step)
        if part is not None:
            wanted[part.name] = part
    return tuple(wanted.values())
