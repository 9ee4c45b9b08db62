"""Experiments: their templates, their analyses, and whether they end. PURE.

Rules: Argo's utils/conditions/experiments.go and experiments/experiment.go.
"""

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from agent.analysis import arguments
from agent.api.analysis import Argument
from agent.api.durations import parse_go_duration
from agent.api.experiment import ExperimentTemplate
from agent.errors import Refused
from agent.lint.argo import ARG005, missing_templates
from agent.lint.finding import Finding
from agent.lint.world import Code, OneExperiment, World
from agent.rollout import defaults, labels, shapes
from agent.rollout.field_errors import text
from agent.rollout.pod_template_validation import pod_template_errors

ARG009: Final = Code(
    "ARG009",
    "error",
    "the Experiment's spec is invalid",
    "The Experiment gets the condition InvalidSpec and phase Error, or no pod of the template can be made.",
    "The message names the template and what it must be.",
)
SRN121: Final = Code(
    "SRN121",
    "warning",
    "an Experiment without an end",
    "Without a duration, and without an analysis that is required, nothing ends it: its pods run until a person does. A duration that"
    " cannot be read counts as none.",
    "Write a duration such as 1h, or requiredForCompletion: true at an analysis that ends.",
)
SRN122: Final = Code(
    "SRN122",
    "error",
    "analyses of an Experiment that cannot be told apart",
    "Runs are found by the analysis' name: of two with one name the second is never run, and counts as the first one goes.",
    "Give each analysis a name of its own.",
)
CODES: Final = (ARG009, SRN121, SRN122)
_STAND_IN: Final[Mapping[str, str]] = {"hash": "hash", "name": "name"}
"""What hashes and names come to does not matter here, only whether they come to something."""


def specs(world: World) -> Iterator[Finding]:
    """What Argo's controller refuses of an Experiment, and what never ends."""
    for one in world.experiments:
        spec = one.experiment.spec
        if spec.templates is None:
            yield ARG009.at(one.item, "spec.templates", "spec.templates: Required value")
        deadline = spec.progress_deadline_seconds
        if deadline is None:
            deadline = defaults.PROGRESS_DEADLINE_SECONDS
        seen: set[str] = set()
        for index, template in enumerate(spec.templates or ()):
            field = f"spec.templates[{index}]"
            for place, message in _template(template, field, deadline, seen):
                yield ARG009.at(one.item, place, message)
            seen.add(template.name)
        yield from _end(one)
        names: set[str] = set()
        for index, analysis in enumerate(spec.analyses or ()):
            field = f"spec.analyses[{index}].name"
            if not analysis.name or analysis.name in names:
                what = f"{analysis.name!r} stands twice" if analysis.name else "is missing"
                yield SRN122.at(one.item, field, f"{field}: {what}")
            names.add(analysis.name)


def _template(
    template: ExperimentTemplate, field: str, deadline: int, seen: set[str]
) -> Iterator[tuple[str, str]]:
    """Field and message of each error of one template."""
    if not template.name or template.name in seen:
        what = f"{template.name!r} stands twice" if template.name else "is missing"
        yield f"{field}.name", f"{field}.name: {what}"
    if template.min_ready_seconds > deadline:
        place = f"{field}.minReadySeconds"
        yield (
            place,
            f"{place}: {template.min_ready_seconds} s is longer than progressDeadlineSeconds ({deadline} s)",
        )
    pods, place = f"{field}.template", f"{field}.selector"
    spec = {"template": template.template, "selector": template.selector}
    try:
        shapes.check_rollout({"spec": {name: item for name, item in spec.items() if item}})
    except Refused as error:
        where = f"{field}.{error.field.removeprefix('spec.')}"
        yield where, f"{where}: {error.detail}"
        return
    if template.selector is None or labels.is_empty(template.selector):
        yield place, f"{place}: selects all pods; a selector that is not empty is needed"
        return
    errors = labels.selector_errors(template.selector, place)
    replicas = 1 if template.replicas is None else template.replicas
    errors += pod_template_errors(template.template or {}, template.selector, replicas, pods)
    yield from ((one.field, text(one)) for one in errors)


def _end(one: OneExperiment) -> Iterator[Finding]:
    spec, field = one.experiment.spec, "spec.duration"
    if any(analysis.required_for_completion for analysis in spec.analyses or ()):
        return
    message = f"{field}: not set, and no analysis is required"
    if spec.duration:
        try:
            parse_go_duration(spec.duration)
        except ValueError as error:
            message = f"{field}: {error}"
        else:
            return
    yield SRN121.at(one.item, field, message)


def analyses(world: World) -> Iterator[Finding]:
    """Whether the templates that an Experiment names come to a run, with the arguments that it gives."""
    known = {one.item.ref: one for one in world.experiments}
    for item, use in world.uses:
        one = known.get(item.ref)
        if one is None:
            continue
        named = use.analysis.templates or []
        if not world.is_complete and missing_templates(world, named, item.ref.namespace):
            continue
        try:
            given = [_given(one, arg) for arg in use.analysis.args or ()]
            world.try_analysis(
                item.ref.namespace, msgspec.structs.replace(use.analysis, args=given)
            )
        except Refused as error:
            yield ARG005.at(item, use.field, f"{use.field}: {error.detail}")


def _given(one: OneExperiment, arg: Argument) -> Argument:
    """The argument with what the Experiment fills in: names and hashes of its templates, and its times."""
    if arg.value is None:
        return msgspec.structs.replace(arg, value_from=None)
    spec = one.experiment.spec
    running = {
        "spec": {"duration": spec.duration},
        "status": {"availableAt": "2026-01-01T00:00:00Z"},
    }
    sets = {template.name: _STAND_IN for template in spec.templates or ()}
    try:
        value = arguments.experiment_text(arg.value, running, sets)
    except ValueError as error:  # of a duration that is none
        raise Refused(f"failed to resolve {arg.value}: {error}") from error
    return msgspec.structs.replace(arg, value=value, value_from=None)
