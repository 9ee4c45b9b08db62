"""decide: what one pass does. A pure function of what was observed, total over everything a CRD lets through."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from agent.api import names
from agent.api.decode import read, write
from agent.api.meta import Object
from agent.api.rollout import Rollout
from agent.errors import Refused
from agent.rollout import canary, conditions, phase, references, shapes, steps, validation
from agent.rollout.announce import announcements
from agent.rollout.draft import Draft, earliest
from agent.rollout.facts import bare_facts, read_facts
from agent.rollout.field_errors import invalid_spec_message
from agent.rollout.sharing import sharing_errors
from agent.rollout.types import Decision, Observation, Stage, Write
from agent.traffic.routers import ROUTERS, refused_routers, router_of
from agent.traffic.routing import routing_of
from agent.traffic.types import FieldError, Router


def decide(observation: Observation, routers: Mapping[str, Router] = ROUTERS) -> Decision:
    """The decision for one rollout. Never raises on an object that the CRD accepts.

    What only the user can mend becomes condition InvalidSpec with the field, and nothing is written.
    """
    try:
        rollout = read(Rollout, observation.rollout)
        shapes.check_rollout(observation.rollout)
    except Refused as error:
        return _unreadable(observation.rollout, error)
    lowers: list[Write] = []
    standing: list[FieldError] = []
    try:
        draft = Draft(read_facts(observation, router_of(routing_of(rollout), routers), rollout))
        _validate(draft, routers)
        standing = _route_errors(draft, observation, routers)
        try:
            canary.run(draft)
        finally:
            # A route that cannot be raised does not keep the others from being lowered.
            lowers += [item for item in draft.writes if item.stage is Stage.ROUTES_DOWN]
    except _InvalidSpec as invalid:
        return _invalid(observation, rollout, invalid.errors)
    except Refused as error:
        standing = standing or [FieldError(error.field or "spec", error.detail)]
    if standing:
        return _invalid(observation, rollout, standing, lowers)
    return _decision(draft)


def _decision(draft: Draft) -> Decision:
    announce = announcements(draft)
    return Decision(
        status=_status(draft.facts.raw, draft),
        writes=tuple(sorted(draft.writes, key=lambda item: item.stage)),
        announce=announce,
        records=tuple(draft.records),
        wake_at=earliest(draft.wakes),
        why=next(iter(draft.waits), ""),
    )


def _status(raw: Object, draft: Draft) -> dict[str, Any]:
    """The next status as JSON: our fields, and every field that we do not know as it was."""
    observed = raw.get("status") or {}
    known = write(draft.facts.rollout.status)
    following = write(draft.status)
    status: dict[str, Any] = _overlaid(observed, known, following)
    return status


def _overlaid(observed: Any, known: Any, following: Any) -> Any:
    """`following`, with the members of `observed` that a struct does not know (not in `known`).

    A member whose value is a default is written out when it was there before: Argo's clients tell
    absent from false in places.
    """
    if not isinstance(observed, dict) or not isinstance(following, dict):
        return following
    known = known if isinstance(known, dict) else {}
    result: dict[str, Any] = {}
    for name, value in observed.items():
        if name in following:
            result[name] = _overlaid(value, known.get(name), following[name])
        elif name not in known and not _is_cleared(name, value):
            result[name] = value
    for name, value in following.items():
        result.setdefault(name, value)
    return result


def _is_cleared(name: str, value: Any) -> bool:
    """A known member at its default that the struct leaves out: absent and default are one and the same."""
    return name in _DEFAULTS and value in (_DEFAULTS[name], None)


_DEFAULTS: Mapping[str, Any] = {
    "abort": False,
    "controllerPause": False,
    "promoteFull": False,
    "pauseConditions": None,
}


class _InvalidSpec(Exception):
    """What only the user can mend, with every field."""

    def __init__(self, errors: Sequence[FieldError]) -> None:
        super().__init__()
        self.errors = tuple(errors)


def _validate(draft: Draft, routers: Mapping[str, Router]) -> None:
    """Argo's rules first, then what we do not drive. References do not matter once it is aborted."""
    rollout, facts = draft.rollout, draft.facts
    errors: list[FieldError] = [*validation.validate(rollout), *not_driven(rollout, routers)]
    if not errors:
        errors += steps.validate(draft)
    if not errors and not rollout.status.abort:
        errors += references.services_errors(rollout, facts.services)
        errors += references.templates_errors(rollout, facts.templates, facts.policy.plugins)
    if errors:
        raise _InvalidSpec(errors)


def _route_errors(
    draft: Draft, observation: Observation, routers: Mapping[str, Router]
) -> list[FieldError]:
    """Why the routes, or what it shares with other rollouts, keep it from being driven: it may only lower.

    An aborted one does nothing else, so it needs no refusal.
    """
    rollout, facts = draft.rollout, draft.facts
    if rollout.status.abort:
        return []
    errors = list(facts.router.validate(rollout, facts.routes)) if facts.router else []
    return errors + sharing_errors(rollout, facts.router, facts.routes, observation.rivals, routers)


def not_driven(rollout: Rollout, routers: Mapping[str, Router]) -> Iterator[FieldError]:
    """What a manifest asks for that is not driven, by field, with what to do instead."""
    spec = rollout.spec
    if spec.strategy.blue_green is not None:
        yield FieldError(
            "spec.strategy.blueGreen", "blue-green is not driven by Serinus yet; use canary"
        )
    yield from _ping_pong_not_driven(rollout)
    if spec.workload_ref is not None:
        yield FieldError(
            "spec.workloadRef", "is not driven by Serinus yet; put the template into the Rollout"
        )
    yield from refused_routers(routing_of(rollout), routers)


def _ping_pong_not_driven(rollout: Rollout) -> Iterator[FieldError]:
    canary = rollout.spec.strategy.canary
    if canary is None or canary.ping_pong is None:
        return
    field = "spec.strategy.canary.pingPong"
    istio = canary.traffic_routing.istio if canary.traffic_routing else None
    if istio is None:
        yield FieldError(field, "ping-pong is driven with trafficRouting.istio only: leave it out")
    elif canary.canary_service or canary.stable_service:
        yield FieldError(
            field,
            "leave it out, or canaryService and stableService: Istio would be led by the latter",
        )
    elif istio.destination_rule is not None:
        yield FieldError(
            field,
            "subsets do not swap roles as ping and pong do: leave out one of it and destinationRule",
        )


def _invalid(
    observation: Observation,
    rollout: Rollout,
    errors: Sequence[FieldError],
    lowers: Sequence[Write] = (),
) -> Decision:
    """The rollout stays where it is, but for weights that fall, and says what to mend."""
    message = invalid_spec_message(rollout.metadata.name, errors)
    condition = conditions.make(
        names.INVALID_SPEC, True, names.INVALID_SPEC, message, observation.now
    )
    draft = Draft(bare_facts(observation, rollout))
    draft.writes += lowers
    before = conditions.find(draft.status.conditions, names.INVALID_SPEC)
    if before is None or before.message != message:
        kept = conditions.remove(draft.status.conditions, names.INVALID_SPEC)
        draft.set(conditions=[*kept, condition])
    draft.set(observed_generation=str(rollout.metadata.generation))
    shown = phase.computed_phase(rollout.spec, draft.status)
    draft.set(phase=shown.phase, message=shown.message)
    draft.wait(f"waits for a person to mend the spec: {message}")
    return _decision(draft)


def _unreadable(raw: Object, error: Refused) -> Decision:
    """Not even the types fit: say so in the phase, touch nothing else."""
    meta, status = _members(raw.get("metadata")), _members(raw.get("status"))
    what = f"{error.field}: {error.detail}"
    shown = {
        **status,
        "phase": phase.DEGRADED,
        "message": f'{names.INVALID_SPEC}: The Rollout "{meta.get("name", "")}" is invalid: {what}',
        "observedGeneration": str(meta.get("generation", "")),
    }
    return Decision(status=shown, why=f"waits for a person to mend the spec: {what}")


def _members(value: Any) -> Object:
    """An object's members; none of anything else."""
    return value if isinstance(value, dict) else {}
