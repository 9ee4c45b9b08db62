"""Is a canary step one that can be done? PURE. Accepted steps and the errors' words are Argo's."""

import re
from typing import Any, Final

from agent.api.analysis import Argument
from agent.api.decode import read
from agent.api.durations import pause_seconds
from agent.api.rollout import (
    Rollout,
    RolloutAnalysis,
    Step,
    StringMatch,
    TrafficRouting,
)
from agent.errors import Refused
from agent.rollout import defaults, labels
from agent.rollout.field_errors import at, invalid, required
from agent.traffic.types import FieldError

ROUTING: Final = "spec.strategy.trafficRouting"
ONE_MEMBER: Final = "Step must have one of the following set: experiment, setWeight, setCanaryScale, plugin or pause"
NO_VALUE: Final = (
    "StringMatch value missed, match value must have one of the following: exact, regex, prefix"
)
TWO_VALUES: Final = (
    "StringMatch match value must have exactly one of the following: exact, regex, prefix"
)
_SUBSCRIPT: Final = re.compile(r"(.*)\['(.*)'\]", re.DOTALL)
_DOWNWARD: Final = (
    "metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid",
)  # fmt: skip


def step_errors(rollout: Rollout, step: Step, field: str, max_weight: int) -> list[FieldError]:
    """Errors of one step, whose place in the object is `field`.

    Only some pairs of members are refused, as in Argo: a setWeight may stand with a setCanaryScale.
    """
    routing = defaults.canary_of(rollout).traffic_routing
    return [
        *_member_errors(step, field),
        *_number_errors(step, field, max_weight),
        *_scale_errors(step, routing),
        *_header_errors(step, routing, f"{field}.setHeaderRoute"),
        *_mirror_errors(step, routing, f"{field}.setMirrorRoute"),
        *_managed_errors(step, routing, field),
        *_experiment_errors(step, routing, f"{field}.experiment"),
        *_argument_errors(step, field),
    ]


def _member_errors(step: Step, field: str) -> list[FieldError]:
    exclusive = (step.set_weight, step.pause, step.experiment, step.analysis)
    others = (step.set_canary_scale, step.set_header_route, step.set_mirror_route, step.plugin)
    chosen = sum(member is not None for member in exclusive)
    if chosen > 1 or (chosen == 0 and all(member is None for member in others)):
        return [FieldError(field, ONE_MEMBER)]
    return []


def _number_errors(step: Step, field: str, max_weight: int) -> list[FieldError]:
    errors = []
    weight = step.set_weight
    if weight is not None and not 0 <= weight <= max_weight:
        why = f"SetWeight needs to be between 0 and {max_weight}"
        errors.append(invalid(f"{field}.setWeight", weight, why))
    seconds = None if step.pause is None else pause_seconds(step.pause)
    if seconds is not None and seconds < 0:
        why = "Duration needs to be greater than 0"
        errors.append(invalid(f"{field}.pause.duration", seconds, why))
    return errors


def _scale_errors(step: Step, routing: TrafficRouting | None) -> list[FieldError]:
    if step.set_canary_scale is None or routing is not None:
        return []
    return [required(ROUTING, "SetCanaryScale requires TrafficRouting to be set")]


def _header_errors(step: Step, routing: TrafficRouting | None, field: str) -> list[FieldError]:
    route = step.set_header_route
    if route is None:
        return []
    able = routing is not None and (
        routing.istio is not None
        or routing.alb is not None
        or routing.apisix is not None
        or bool(routing.plugins)
    )
    if routing is None or not able:
        why = "SetHeaderRoute requires TrafficRouting, supports Istio and ALB and Apisix"
        return [FieldError(field, why)]
    check = _value_errors if routing.alb is None else _alb_value_errors
    return [
        error
        for index, match in enumerate(route.match or ())
        for error in check(match.header_value, at(f"{field}.match", index))
    ]


def _mirror_errors(step: Step, routing: TrafficRouting | None, field: str) -> list[FieldError]:
    route = step.set_mirror_route
    if route is None:
        return []
    errors = []
    if routing is None or (routing.istio is None and not routing.plugins):
        why = "SetMirrorRoute requires TrafficRouting, supports Istio and Plugins"
        errors.append(FieldError(field, why))
    for index, match in enumerate(route.match or ()):
        for value in (match.method, match.path):
            if value is not None:
                errors += _value_errors(value, at(f"{field}.match", index))
    return errors


def _value_errors(match: StringMatch | None, field: str) -> list[FieldError]:
    given = [] if match is None else [match.exact, match.regex, match.prefix]
    chosen = sum(bool(value) for value in given)
    if chosen == 1:
        return []
    return [FieldError(field, TWO_VALUES if chosen else NO_VALUE)]


def _alb_value_errors(match: StringMatch | None, field: str) -> list[FieldError]:
    if match is None:
        return [FieldError(field, NO_VALUE)]
    if match.exact and not match.regex and not match.prefix:
        return []
    return [
        FieldError(field, "SetHeaderRoute match value invalid. ALB supports 'exact' value only")
    ]


def _managed_errors(step: Step, routing: TrafficRouting | None, field: str) -> list[FieldError]:
    """Errors of routes that are not listed in managedRoutes, which also gives their order."""
    routes = [
        (member, route.name)
        for member, route in (
            ("setHeaderRoute", step.set_header_route),
            ("setMirrorRoute", step.set_mirror_route),
        )
        if route is not None
    ]
    if routing is None or not routes:
        return []
    if routing.managed_routes is None:
        missing = "spec.strategy.canary.trafficRouting.managedRoutes"
        return [required(f"{ROUTING}.managedRoutes", f"Rollout has missing field '{missing}'")]
    managed = [route.name for route in routing.managed_routes]
    why = (
        "Steps define a route that does not exist in "
        "spec.strategy.canary.trafficRouting.managedRoutes"
    )
    return [
        invalid(f"{field}.{member}", name, why) for member, name in routes if name not in managed
    ]


def _experiment_errors(step: Step, routing: TrafficRouting | None, field: str) -> list[FieldError]:
    if routing is None:
        why = "Experiment template weight cannot be set unless TrafficRouting is enabled"
    elif (
        routing.alb is None
        and routing.smi is None
        and routing.istio is None
        and not routing.plugins
    ):
        why = (
            "Experiment template weight is only available for TrafficRouting with SMI, ALB, Istio and "
            "Plugins at this time"
        )
    else:
        return []
    templates = _objects((step.experiment or {}).get("templates"))
    return [
        invalid(f"{at(f'{field}.templates', index)}.weight", template["weight"], why)
        for index, template in enumerate(templates)
        if template.get("weight") is not None
    ]


def _argument_errors(step: Step, field: str) -> list[FieldError]:
    """An error when an argument takes its value from metadata that does not exist."""
    paths = [
        argument.value_from.field_ref.field_path
        for argument in _arguments(step)
        if argument.value_from is not None and argument.value_from.field_ref is not None
    ]
    if all(not path.startswith("metadata") or is_downward_path(path) for path in paths):
        return []
    why = "Analyses arguments must refer to valid object metadata supported by downwardAPI"
    return [FieldError(f"{field}.analyses", why)]


def _arguments(step: Step) -> list[Argument]:
    """Arguments of the step's analysis, or of its experiment's analyses; unreadable ones are left out."""
    arguments = list((step.analysis and step.analysis.args) or ())
    for analysis in _objects((step.experiment or {}).get("analyses")):
        try:
            arguments += read(RolloutAnalysis, {"args": analysis.get("args")}).args or ()
        except Refused:
            continue
    return arguments


def _objects(value: Any) -> list[dict[str, Any]]:
    items = value if isinstance(value, list) else []
    return [item for item in items if isinstance(item, dict)]


def is_downward_path(path: str) -> bool:
    """Whether Kubernetes' downward API knows this path into an object's metadata."""
    match = _SUBSCRIPT.fullmatch(path)
    if match is None:
        return path in _DOWNWARD
    if match[1] == "metadata.annotations":
        return not labels.key_problems(match[2].lower())
    return match[1] == "metadata.labels" and not labels.key_problems(match[2])
