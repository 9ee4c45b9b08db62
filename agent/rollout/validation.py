"""Is a Rollout's spec one that can be driven? PURE.

Which specs are accepted, and fields, kinds and words of the errors, are Argo's: people and their tools know
them, and an object that one engine accepts must not be refused by the other.
"""

import re
from typing import Any, Final

from agent.api.analysis import IntOrString
from agent.api.rollout import BlueGreenStrategy, CanaryStrategy, Rollout, TrafficRouting
from agent.rollout import defaults, labels
from agent.rollout.field_errors import internal, invalid, not_negative, required
from agent.rollout.pod_template_validation import pod_template_errors
from agent.rollout.step_validation import step_errors
from agent.traffic.types import FieldError

STRATEGY: Final = "spec.strategy"
_PERCENT: Final = re.compile(r"[0-9]+%", re.ASCII)
_INTEGER: Final = re.compile(r"[+-]?[0-9]+", re.ASCII)


def validate(rollout: Rollout, *, template_resolved: bool = False) -> list[FieldError]:
    """Errors of the whole spec; empty when it is in order.

    Args:
        template_resolved: spec.template was filled in from the object that spec.workloadRef names.
    """
    spec = rollout.spec
    errors = not_negative("spec.replicas", defaults.replicas(rollout))
    if spec.workload_ref is None:
        errors += _selector_errors(spec.selector)
    elif not template_resolved and not _is_empty_template(spec.template):
        errors.append(
            internal("spec.template", "template must be empty for workload reference rollout")
        )
    if template_resolved or spec.workload_ref is None:
        errors += pod_template_errors(
            spec.template or {}, spec.selector, defaults.replicas(rollout), "spec.template"
        )
    errors += not_negative("spec.minReadySeconds", spec.min_ready_seconds)
    limit = defaults.revision_history_limit(rollout)
    errors += not_negative("spec.revisionHistoryLimit", limit)
    deadline = defaults.progress_deadline_seconds(rollout)
    errors += not_negative("spec.progressDeadlineSeconds", deadline)
    if deadline <= spec.min_ready_seconds:
        why = "must be greater than minReadySeconds"
        errors.append(invalid("spec.progressDeadlineSeconds", deadline, why))
    return errors + validate_strategy(rollout)


def _selector_errors(selector: dict[str, Any] | None) -> list[FieldError]:
    if selector is None:
        return [required("spec.selector", "Rollout has missing field '.spec.selector'")]
    errors = labels.selector_errors(selector, "spec.selector")
    if labels.is_empty(selector):
        why = "empty selector is invalid for deployment"
        errors.append(FieldError("spec.selector", why))
    return errors


def _is_empty_template(template: dict[str, Any] | None) -> bool:
    meta = (template or {}).get("metadata") or {}
    return not meta.get("labels") and not meta.get("annotations")


def validate_strategy(rollout: Rollout) -> list[FieldError]:
    """Errors of spec.strategy alone."""
    blue_green, canary = rollout.spec.strategy.blue_green, rollout.spec.strategy.canary
    field = f"{STRATEGY}.strategy"
    if blue_green is not None and canary is not None:
        return [
            invalid(field, "blueGreen: true canary: true", "Multiple Strategies can not be listed")
        ]
    if blue_green is not None:
        return _blue_green_errors(rollout, blue_green)
    if canary is not None:
        return _canary_errors(rollout, canary)
    missing = ".spec.strategy.canary or .spec.strategy.blueGreen"
    return [required(field, f"Rollout has missing field '{missing}'")]


def _blue_green_errors(rollout: Rollout, strategy: BlueGreenStrategy) -> list[FieldError]:
    errors = []
    if strategy.active_service == strategy.preview_service:
        errors.append(
            _same_services("activeService", strategy.active_service, "active and preview")
        )
    limit = strategy.scale_down_delay_revision_limit
    if limit is not None and limit > defaults.revision_history_limit(rollout):
        why = (
            "This rollout's revision history limit can not be smaller than the rollout's scale down "
            "limit"
        )
        errors.append(invalid(f"{STRATEGY}.scaleDownDelayRevisionLimit", limit, why))
    return errors + _anti_affinity_errors(strategy.anti_affinity)


def _same_services(member: str, name: str, roles: str) -> FieldError:
    why = (
        f"This rollout uses the same service for the {roles} services, but two different services "
        "are required."
    )
    return invalid(f"{STRATEGY}.{member}", name, why)


def _canary_errors(rollout: Rollout, canary: CanaryStrategy) -> list[FieldError]:
    errors = []
    if _is_zero(defaults.max_surge(rollout)) and _is_zero(defaults.max_unavailable(rollout)):
        why = "MaxSurge and MaxUnavailable both can not be zero"
        errors.append(invalid(f"{STRATEGY}.maxSurge", canary.max_surge, why))
    if canary.canary_service and canary.canary_service == canary.stable_service:
        errors.append(_same_services("stableService", canary.stable_service, "stable and canary"))
    errors += _ping_pong_errors(canary)
    if _needs_services(canary):
        why = "Canary service and Stable service must to be set to use Traffic Routing"
        for member, name in (
            ("stableService", canary.stable_service),
            ("canaryService", canary.canary_service),
        ):
            if not name:
                errors.append(invalid(f"{STRATEGY}.{member}", name, why))
    errors += _routing_errors(canary)
    weight = defaults.max_traffic_weight(rollout)
    for index, step in enumerate(canary.steps or ()):
        errors += step_errors(rollout, step, f"{STRATEGY}.steps[{index}]", weight)
    return errors + _anti_affinity_errors(canary.anti_affinity)


def _is_zero(value: IntOrString) -> bool:
    """Whether a limit is 0 as written; a text that is no number counts as 0."""
    if isinstance(value, int):
        return value == 0
    digits = value.removesuffix("%") if _PERCENT.fullmatch(value) else value
    return not _INTEGER.fullmatch(digits) or int(digits) == 0


def _ping_pong_errors(canary: CanaryStrategy) -> list[FieldError]:
    if canary.ping_pong is None:
        return []
    routing = canary.traffic_routing
    ping, pong = canary.ping_pong.ping_service, canary.ping_pong.pong_service
    errors = []
    if routing is not None and not (
        routing.alb is not None or routing.istio is not None or routing.plugins
    ):
        why = "Ping-pong feature works with the ALB, Istio, and plugin-based traffic routers only"
        errors.append(invalid(f"{STRATEGY}.trafficRouting.alb", None, why))
    for member, name in (("pingService", ping), ("pongService", pong)):
        if not name:
            why = "Ping service and Pong service must to be set to use Ping-Pong feature"
            errors.append(invalid(f"{STRATEGY}.pingPong.{member}", name, why))
    if ping == pong:
        errors.append(_same_services("pingPong.pingService", ping, "ping and pong"))
    if routing is not None and routing.alb is not None and not routing.alb.get("rootService"):
        why = (
            "Root service field is required for the configuration with ALB and ping-pong feature "
            "enabled"
        )
        errors.append(invalid(f"{STRATEGY}.trafficRouting.alb.rootService", "", why))
    return errors


def _needs_services(canary: CanaryStrategy) -> bool:
    """Whether the router moves traffic between two named Services."""
    routing = canary.traffic_routing
    if routing is None:
        return False
    if canary.ping_pong is None and (
        routing.alb is not None
        or (routing.istio is not None and routing.istio.destination_rule is None)
    ):
        return True
    others = (
        routing.smi,
        routing.apisix,
        routing.ambassador,
        routing.nginx,
        routing.app_mesh,
        routing.traefik,
    )
    return any(router is not None for router in others)


def _routing_errors(canary: CanaryStrategy) -> list[FieldError]:
    routing, delay = canary.traffic_routing, canary.scale_down_delay_seconds
    errors = []
    if routing is None:
        only = "can only be used with traffic routing"
        if delay is not None:
            why = f"Canary scaleDownDelaySeconds {only}"
            errors.append(invalid(f"{STRATEGY}.scaleDownDelaySeconds", delay, why))
        if canary.dynamic_stable_scale:
            why = f"Canary dynamicStableScale {only}"
            errors.append(invalid(f"{STRATEGY}.dynamicStableScale", True, why))
        return errors
    if delay is not None and canary.dynamic_stable_scale:
        why = "Canary dynamicStableScale cannot be used with scaleDownDelaySeconds"
        errors.append(invalid(f"{STRATEGY}.dynamicStableScale", True, why))
    return errors + _max_weight_errors(routing)


def _max_weight_errors(routing: TrafficRouting) -> list[FieldError]:
    weight = routing.max_traffic_weight
    if weight is None or routing.nginx is not None or routing.plugins:
        return []
    why = "Canary maxTrafficWeight in traffic routing only supported in Nginx and Plugins"
    return [invalid(f"{STRATEGY}.trafficRouting.maxTrafficWeight", weight, why)]


def _anti_affinity_errors(anti_affinity: dict[str, Any] | None) -> list[FieldError]:
    if anti_affinity is None:
        return []
    field = f"{STRATEGY}.antiAffinity"
    preferred = anti_affinity.get("preferredDuringSchedulingIgnoredDuringExecution")
    needed = anti_affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    errors = []
    if (preferred is None) == (needed is None):
        errors.append(FieldError(field, "AntiAffinity must have exactly one strategy listed"))
    weight = 0 if preferred is None else preferred.get("weight") or 0
    if preferred is not None and not 1 <= weight <= 100:
        errors.append(
            invalid(f"{field}.weight", weight, "AntiAffinity weight must be between 1-100")
        )
    return errors
