"""Do the objects that a Rollout names exist, and fit? PURE. Fields and words of the errors are Argo's."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from agent.analysis import arguments, composition, verdict
from agent.analysis.provider_names import problem_of
from agent.analysis.sequential.settings import template_problem
from agent.api import names
from agent.api.analysis import AnalysisTemplate, Argument, TemplateRef
from agent.api.decode import read
from agent.api.meta import Object, Ref
from agent.api.rollout import Rollout, RolloutAnalysis
from agent.errors import Refused
from agent.rollout.field_errors import invalid
from agent.traffic.types import FieldError

_NONE: Final[Mapping[str, str]] = {}
CANARY: Final = "spec.strategy.canary"
BLUE_GREEN: Final = "spec.strategy.blueGreen"
SERVICE_FIELDS: Final = {
    "ActiveService": f"{BLUE_GREEN}.activeService",
    "PreviewService": f"{BLUE_GREEN}.previewService",
    "CanaryService": f"{CANARY}.canaryService",
    "StableService": f"{CANARY}.stableService",
    "PingService": f"{CANARY}.pingPong.pingService",
    "PongService": f"{CANARY}.pingPong.pongService",
}
"""Roles of Services, and where the spec names them."""


def referenced_services(rollout: Rollout) -> tuple[tuple[str, str], ...]:
    """(role, name) of the Services that the spec names, in the order in which they are looked at."""
    blue_green, canary = rollout.spec.strategy.blue_green, rollout.spec.strategy.canary
    found: list[tuple[str, str]] = []
    if blue_green is not None:
        found += [
            ("ActiveService", blue_green.active_service),
            ("PreviewService", blue_green.preview_service),
        ]
    elif canary is not None:
        found += [
            ("StableService", canary.stable_service),
            ("CanaryService", canary.canary_service),
        ]
        if canary.ping_pong is not None:
            found += [
                ("PingService", canary.ping_pong.ping_service),
                ("PongService", canary.ping_pong.pong_service),
            ]
    return tuple((role, name) for role, name in found if name)


def services_errors(rollout: Rollout, services: Mapping[str, Object]) -> list[FieldError]:
    """Errors of all Services that the spec names; `services` are those that exist, by name."""
    errors = []
    for role, name in referenced_services(rollout):
        if name in services:
            errors += service_errors(rollout, role, services[name])
        else:
            errors.append(invalid(SERVICE_FIELDS[role], name, f'service "{name}" not found'))
    return errors


def service_errors(rollout: Rollout, role: str, service: Object) -> list[FieldError]:
    """Errors of one Service: it must select the Rollout's pods and belong to no other Rollout."""
    field, meta = SERVICE_FIELDS[role], service.get("metadata") or {}
    name = meta.get("name") or ""
    template = rollout.spec.template or {}
    labels = (template.get("metadata") or {}).get("labels") or {}
    errors = []
    for key, value in sorted(((service.get("spec") or {}).get("selector") or {}).items()):
        if key != names.POD_TEMPLATE_HASH and labels.get(key) != value:
            why = f'Service "{name}" has unmatch label "{key}" in rollout'
            errors.append(invalid(field, name, why))
    owner = (meta.get("annotations") or {}).get(names.MANAGED_BY)
    if owner is not None and owner != rollout.metadata.name:
        why = f'Service "{name}" is managed by another Rollout'
        errors.append(invalid(field, name, why))
    return errors


class Use(NamedTuple):
    """One place in the spec that names analysis templates.

    Attributes:
        field: where the templates are named.
        background: the run goes on until the steps end, so its metrics need no end of their own.
    """

    field: str
    analysis: RolloutAnalysis
    background: bool = False


def template_uses(rollout: Rollout) -> tuple[Use, ...]:
    """Every place in the spec that names analysis templates."""
    blue_green, canary = rollout.spec.strategy.blue_green, rollout.spec.strategy.canary
    if blue_green is not None:
        blocks = (
            ("prePromotionAnalysis", blue_green.pre_promotion_analysis),
            ("postPromotionAnalysis", blue_green.post_promotion_analysis),
        )
        return tuple(
            Use(f"{BLUE_GREEN}.{member}.templates", analysis)
            for member, analysis in blocks
            if analysis is not None
        )
    if canary is None:
        return ()
    uses = [
        Use(f"{CANARY}.steps[{index}].analysis.templates", step.analysis)
        for index, step in enumerate(canary.steps or ())
        if step.analysis is not None
    ]
    if canary.analysis is not None:
        uses.append(Use(f"{CANARY}.analysis.templates", canary.analysis, background=True))
    return tuple(uses)


def templates_errors(
    rollout: Rollout, templates: Mapping[Ref, Object], plugins: Mapping[str, str] = _NONE
) -> list[FieldError]:
    """Errors of all analysis templates that the spec names.

    Args:
        templates: those that exist.
        plugins: metric providers of third parties, by name: what is wrong with each, "" when nothing.
    """
    return [
        error
        for use in template_uses(rollout)
        for error in template_errors(rollout, use, templates, plugins)
    ]


def template_errors(
    rollout: Rollout,
    use: Use,
    templates: Mapping[Ref, Object],
    plugins: Mapping[str, str] = _NONE,
) -> list[FieldError]:
    """Errors of the templates named at one place: they exist, compose into a run, come to an end, can be measured."""
    references = use.analysis.templates or []
    try:
        found = _found(references, templates, rollout.metadata.namespace, use.field)
        # What hashes the arguments come to does not matter here, only whether they come to something.
        composition.analysis_run(
            rollout, use.analysis, templates, stable_hash="s", latest_hash="n", kind="", infix=""
        )
    except Refused as error:
        asked = " ".join(reference.template_name for reference in references)
        field = error.field if error.field in (use.field, _NESTED) else use.field
        return [invalid(field, f"templateNames: [{asked}]", error.detail)]
    check = _background_errors if use.background else _endless_errors
    return [
        error
        for template in found
        for error in (*check(use, template), *_provider_errors(use, template, plugins))
    ]


_NESTED: Final = "spec.templates"


def _found(
    references: list[TemplateRef], templates: Mapping[Ref, Object], namespace: str, field: str
) -> list[AnalysisTemplate]:
    """The templates named, and those that they name, each once, namespaced ones first."""
    found: dict[Ref, AnalysisTemplate] = {}
    waiting = [(reference, field) for reference in references]
    for reference, place in waiting:
        name = reference.template_name
        kind = "ClusterAnalysisTemplate" if reference.cluster_scope else "AnalysisTemplate"
        ref = Ref(kind, "" if reference.cluster_scope else namespace, name)
        if ref not in templates:
            raise Refused(f"{kind} '{name}' not found", field=place)
        if ref not in found:
            found[ref] = read(AnalysisTemplate, templates[ref])
            waiting += [(inner, _NESTED) for inner in found[ref].spec.templates or ()]
    return [found[ref] for ref in sorted(found, key=lambda ref: ref.kind != "AnalysisTemplate")]


def _background_errors(use: Use, template: AnalysisTemplate) -> list[FieldError]:
    """Errors of arguments that nobody supplies."""
    supplied = [argument.name for argument in use.analysis.args or ()]
    errors = []
    for argument in template.spec.args or ():
        if argument.value is not None or argument.value_from is not None:
            continue
        if use.analysis.args is None:
            why = "missing analysis arguments in rollout spec"
            errors.append(invalid(use.field, template.metadata.name, why))
        elif argument.name not in supplied:
            errors.append(invalid(use.field, template.metadata.name, argument.name))
    return errors


def _endless_errors(use: Use, template: AnalysisTemplate) -> list[FieldError]:
    """Errors of metrics that are measured again and again, without a count.

    Arguments stand for themselves: a count that an argument gives is not known to be one, and is refused.
    """
    name = template.metadata.name
    try:
        values = {item.name: _stand_in(item) for item in template.spec.args or ()}
        metrics = [
            arguments.substitute_metric(metric, values) for metric in template.spec.metrics or ()
        ]
    except Refused as error:
        return [invalid(use.field, name, f"AnalysisTemplate {name}: {error.detail}")]
    return [
        invalid(
            use.field,
            name,
            f"AnalysisTemplate {name} has metric {metric.name} which runs indefinitely. "
            f"Invalid value for count: {'<nil>' if metric.count is None else metric.count}",
        )
        for metric in metrics
        if verdict.is_endless(metric)
    ]


def _provider_errors(
    use: Use, template: AnalysisTemplate, plugins: Mapping[str, str]
) -> list[FieldError]:
    """Errors of providers that nobody would find before the first measurement: those that are not driven, and settings
    of the judge."""
    name = template.metadata.name
    problems = [
        (metric.name, str(problem_of(metric, plugins) or template_problem(metric)))
        for metric in template.spec.metrics or ()
    ]
    return [
        invalid(use.field, name, f"AnalysisTemplate {name}: metric {metric}: {problem}")
        for metric, problem in problems
        if problem
    ]


def _stand_in(argument: Argument) -> str:
    if argument.value is not None and argument.value_from is not None:
        raise Refused(f"arg '{argument.name}' has both Value and ValueFrom fields")
    return "dummy-value" if argument.value is None else argument.value
