"""What Argo's own lint and controller refuse, by the rules that the engine runs. PURE.

Fields and words are Argo's. As there, an object that is named but not at hand is not looked at.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import msgspec

from agent.analysis import arguments
from agent.analysis.validation import metric_problem
from agent.api.analysis import TemplateRef
from agent.api.meta import Ref
from agent.errors import Refused
from agent.lint.finding import Finding
from agent.lint.metrics import all_metrics, template_ref
from agent.lint.world import Code, OneRollout, OneTemplate, World
from agent.rollout import references, shapes
from agent.rollout.field_errors import text
from agent.traffic.istio import Istio
from agent.traffic.istio_names import istio_of, names_one_form, virtual_services
from agent.traffic.types import FieldError

ARG001: Final = Code(
    "ARG001",
    "error",
    "the Rollout's spec is invalid",
    "The Rollout gets the condition InvalidSpec and stays where it is, with Argo Rollouts as with Serinus.",
    "The message names the field and what it must be.",
)
ARG003: Final = Code(
    "ARG003",
    "error",
    "a Service does not fit the Rollout",
    "The Service selects other pods than the Rollout's, or belongs to another Rollout: traffic would go astray. The"
    " Rollout gets the condition InvalidSpec.",
    "Select labels of spec.template.metadata.labels, and nothing else.",
)
ARG004: Final = Code(
    "ARG004",
    "error",
    "a VirtualService does not fit the Rollout",
    "The routes that carry the weights are not there, not clear, or lack a destination. No weight can be set.",
    "Name the route, with one destination for the canary and one for stable (docs/traffic.md).",
)
ARG005: Final = Code(
    "ARG005",
    "error",
    "the analysis of a Rollout or an Experiment cannot be run",
    "The templates do not come to a run: one is missing, an argument has no value, a metric of a step never ends. The"
    " Rollout gets the condition InvalidSpec; an Experiment's analysis ends in phase Error.",
    "The message names the template and what it needs.",
)
ARG006: Final = Code(
    "ARG006",
    "error",
    "the metrics of an analysis are invalid",
    "The run ends in phase Error before anything is measured, and the rollout is aborted.",
    "The message names the metric and the setting.",
)
ARG007: Final = Code(
    "ARG007",
    "error",
    "a rule for metrics matches none",
    "A dryRun or measurementRetention rule that matches no metric ends the run in phase Error. `*` alone is no pattern.",
    "Write the metric's name, or a regular expression such as `.*`.",
)
CODES: Final = (ARG001, ARG003, ARG004, ARG005, ARG006, ARG007)


def specs(world: World) -> Iterator[Finding]:
    """Errors of each Rollout's own spec."""
    for one in world.rollouts:
        for error in one.errors:
            yield ARG001.at(one.item, error.field, text(error))


def named_objects(world: World) -> Iterator[Finding]:
    """Errors of the objects that a sound Rollout names."""
    for one in world.rollouts:
        if one.errors or one.template_errors:
            continue
        if one.is_resolved or one.rollout.spec.workload_ref is None:
            yield from _services(world, one)
        yield from _virtual_services(world, one)
        yield from _templates(world, one)


def _services(world: World, one: OneRollout) -> Iterator[Finding]:
    """In the order of the Services' documents; with the cluster at hand, one that is nowhere is an error, too."""
    namespace = one.rollout.metadata.namespace
    services = {
        ref.name: obj for ref, obj in world.all_of("Service").items() if ref.namespace == namespace
    }
    order = list(services)
    present = [pair for pair in references.referenced_services(one.rollout) if pair[1] in services]
    errors: list[FieldError] = []
    for role, name in sorted(present, key=lambda pair: order.index(pair[1])):
        try:
            shapes.check_service(services[name])
            errors += references.service_errors(one.rollout, role, services[name])
        except Refused as refused:
            errors.append(FieldError(references.SERVICE_FIELDS[role], str(refused)))
    if world.is_complete:
        errors += [
            error
            for error in references.services_errors(one.rollout, services)
            if error.detail.endswith("not found")
        ]
    for error in errors:
        yield ARG003.at(one.item, error.field, text(error))


def _virtual_services(world: World, one: OneRollout) -> Iterator[Finding]:
    istio = istio_of(one.rollout)
    if istio is None:
        return
    router = Istio()
    if not names_one_form(istio):
        for error in router.validate(one.rollout, {}):
            if error.type == "InternalError":
                yield ARG004.at(one.item, error.field, text(error))
        return
    routes = world.all_of("VirtualService")
    by_ref = dict(
        zip(
            [ref for ref in router.references(one.rollout) if ref.kind == "VirtualService"],
            [item.name for item in virtual_services(one.rollout) if item.name],
            strict=False,
        )
    )
    for ref, name in by_ref.items():
        if ref in routes:
            for error in router.validate_virtual_service(one.rollout, world.objects, ref):
                if not in_argos_words(error):
                    continue
                shown = msgspec.structs.replace(error, value=error.value or json.dumps(name))
                yield ARG004.at(one.item, error.field, text(shown))


def in_argos_words(error: FieldError) -> bool:
    """Whether Argo refuses the same VirtualService; what Serinus adds is said under codes of its own."""
    return error.detail.startswith(("Istio VirtualService has", "Unable to get"))


def _templates(world: World, one: OneRollout) -> Iterator[Finding]:
    """Only where all templates are at hand, unless the cluster was asked for them."""
    for use in references.template_uses(one.rollout):
        missing = missing_templates(
            world, use.analysis.templates or (), one.rollout.metadata.namespace
        )
        if world.is_complete or not missing:
            for error in references.template_errors(one.rollout, use, world.objects):
                yield ARG005.at(one.item, error.field, text(error))


def missing_templates(world: World, references: Iterable[TemplateRef], namespace: str) -> list[Ref]:
    """The templates that are named, and those that they name, as far as they are not at hand."""
    found: list[Ref] = []
    waiting = list(references)
    seen: set[Ref] = set()
    known = {item.item.ref: item.template for item in world.templates}
    for reference in waiting:
        ref = template_ref(reference, namespace)
        if ref in seen:
            continue
        seen.add(ref)
        if ref not in world.objects:
            found.append(ref)
        elif ref in known:
            waiting += known[ref].spec.templates or ()
    return found


def metrics(world: World) -> Iterator[Finding]:
    """Errors that end a run before it has begun, as far as they show before arguments are known."""
    troubled = []
    for one in all_metrics(world):
        if problem := metric_problem(one.metric):
            troubled.append(one.one.item)
            yield ARG006.at(one.one.item, one.field, f"{one.field}: {problem}")
    for template in world.templates:
        if template.item not in troubled:
            yield from _sets_of_metrics(template)


def _sets_of_metrics(one: OneTemplate) -> Iterator[Finding]:
    """Names that occur twice, and rules that match nothing. What other templates add is not known here."""
    spec = one.template.spec
    found = spec.metrics or []
    names = [metric.name for metric in found]
    for index, name in enumerate(names):
        if name in names[:index]:
            field = f"spec.metrics[{index}].name"
            yield ARG006.at(one.item, field, f"{field}: duplicate name '{name}'")
    if spec.templates:
        return
    if not found:
        yield ARG006.at(one.item, "spec.metrics", "spec.metrics: no metrics specified")
        return
    rules: tuple[Callable[[], object], ...] = (
        lambda: arguments.dry_run_metrics(found, spec.dry_run or ()),
        lambda: arguments.retention_limits(found, spec.measurement_retention or ()),
    )
    for rule in rules:
        try:
            rule()
        except Refused as error:
            where, _, why = error.detail.partition(": ")
            yield ARG007.at(one.item, f"spec.{where}", f"spec.{where}: {why}")
