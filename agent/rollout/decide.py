"""decide: what one pass does. A pure function of what was observed, total over everything a CRD lets through."""

from collections.abc import Mapping
from typing import Any

from agent.api import names
from agent.api.decode import read, write
from agent.api.meta import Object
from agent.api.rollout import Rollout
from agent.errors import Refused
from agent.rollout import canary, conditions, phase, steps
from agent.rollout.announce import announcements
from agent.rollout.draft import Draft, earliest
from agent.rollout.facts import read_facts
from agent.rollout.types import Decision, Observation
from agent.traffic.routers import ROUTERS, refused_routers
from agent.traffic.types import FieldError, Router


def decide(observation: Observation, routers: Mapping[str, Router] = ROUTERS) -> Decision:
    """The decision for one rollout. Never raises on an object that the CRD accepts.

    What only the user can mend becomes condition InvalidSpec with the field, and nothing is written.
    """
    try:
        rollout = read(Rollout, observation.rollout)
    except Refused as error:
        return _unreadable(observation.rollout, error)
    try:
        draft = Draft(read_facts(observation, _router(rollout, routers), rollout))
        _validate(draft, routers)
        canary.run(draft)
    except Refused as error:
        return _invalid(observation, rollout, error)
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


def _router(rollout: Rollout, routers: Mapping[str, Router]) -> Router | None:
    strategy = rollout.spec.strategy.canary
    routing = strategy.traffic_routing if strategy else None
    for name, router in routers.items():
        if routing is not None and getattr(routing, name, None) is not None:
            return router
    return None


def _validate(draft: Draft, routers: Mapping[str, Router]) -> None:
    errors = [*_strategy_errors(draft, routers), *steps.validate(draft), *_service_errors(draft)]
    if errors:
        first = errors[0]
        raise Refused(first.detail, field=first.field)


def _strategy_errors(draft: Draft, routers: Mapping[str, Router]) -> tuple[FieldError, ...]:
    spec = draft.rollout.spec
    if spec.strategy.blue_green is not None:
        return (
            FieldError(
                "spec.strategy.blueGreen", "blue-green is not driven by Serinus yet; use canary"
            ),
        )
    if spec.strategy.canary is None:
        return (FieldError("spec.strategy", "must have canary"),)
    if spec.workload_ref is not None:
        return (
            FieldError(
                "spec.workloadRef",
                "is not driven by Serinus yet; put the template into the Rollout",
            ),
        )
    if not spec.template:
        return (FieldError("spec.template", "is required"),)
    return tuple(
        error
        for error in refused_routers(spec.strategy.canary.traffic_routing)
        if error.field.rpartition(".")[2] not in routers
    )


def _service_errors(draft: Draft) -> tuple[FieldError, ...]:
    strategy = draft.facts.canary
    named = (("canaryService", strategy.canary_service), ("stableService", strategy.stable_service))
    return tuple(
        FieldError(f"spec.strategy.canary.{field}", f'service "{name}" not found')
        for field, name in named
        if name and name not in draft.facts.services
    )


def _invalid(observation: Observation, rollout: Rollout, error: Refused) -> Decision:
    """The rollout stays where it is, and says what to mend."""
    field = error.field or "spec"
    message = (
        f'The Rollout "{rollout.metadata.name}" is invalid: {field}: Invalid value: {error.detail}'
    )
    condition = conditions.make(
        names.INVALID_SPEC, True, names.INVALID_SPEC, message, observation.now
    )
    facts = read_facts(observation, None, rollout)
    draft = Draft(facts)
    before = conditions.find(draft.status.conditions, names.INVALID_SPEC)
    if before is None or before.message != message:
        kept = conditions.remove(draft.status.conditions, names.INVALID_SPEC)
        draft.set(conditions=[*kept, condition])
    draft.set(observed_generation=str(rollout.metadata.generation))
    shown = phase.computed_phase(rollout.spec, draft.status)
    draft.set(phase=shown.phase, message=shown.message)
    draft.wait(f"waits for a person to mend the spec: {field}: {error.detail}")
    return _decision(draft)


def _unreadable(raw: Object, error: Refused) -> Decision:
    """Not even the types fit: say so in the phase, touch nothing else."""
    name = (raw.get("metadata") or {}).get("name", "")
    status = {
        **(raw.get("status") or {}),
        "phase": phase.DEGRADED,
        "message": f'{names.INVALID_SPEC}: The Rollout "{name}" is invalid: {error.field}: {error.detail}',
        "observedGeneration": str((raw.get("metadata") or {}).get("generation", "")),
    }
    why = f"waits for a person to mend the spec: {error.field}: {error.detail}"
    return Decision(status=status, why=why)
