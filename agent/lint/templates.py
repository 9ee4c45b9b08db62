"""Arguments, providers and composition of analysis templates. PURE."""

import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from agent.analysis import arguments
from agent.analysis.providers.registry import provider_of
from agent.analysis.sequential.settings import template_problem
from agent.api.analysis import AnalysisTemplateSpec, Argument, Metric
from agent.api.decode import read, write
from agent.api.names import SEQUENTIAL
from agent.api.rollout import RolloutAnalysis
from agent.errors import Refused
from agent.lint.argo import missing_templates
from agent.lint.finding import Finding
from agent.lint.metrics import all_metrics, template_ref
from agent.lint.world import Code, OneTemplate, World, mapping

SRN202: Final = Code(
    "SRN202",
    "error",
    "a placeholder that nobody fills in",
    "Only {{args.name}} is replaced. Anything else is asked for as it stands, finds nothing, and the answer is empty.",
    "Write {{args.name}}, and declare the argument under spec.args.",
)
SRN203: Final = Code(
    "SRN203",
    "error",
    "an argument that is not declared",
    "The run ends in phase Error (`failed to resolve`) before anything is measured, and the rollout is aborted.",
    "Declare it under spec.args, or correct the name.",
)
SRN204: Final = Code(
    "SRN204",
    "warning",
    "an argument that nothing uses",
    "Whoever gives it a value believes that it matters. Often the place where it belongs holds a placeholder.",
    "Use it as {{args.name}}, or take it out of spec.args.",
)
SRN205: Final = Code(
    "SRN205",
    "warning",
    "an argument that no template takes",
    "What a Rollout or an Experiment gives and no template declares is dropped without a word.",
    "Correct the name, or take it out.",
)
SRN206: Final = Code(
    "SRN206",
    "error",
    "templates that cannot be put together",
    "A template that leads to itself, two metrics of one name, or two values for one argument end the run before it begins.",
    "The message names what stands in the way.",
)
SRN207: Final = Code(
    "SRN207",
    "error",
    "a metric that no provider can measure",
    "Each measurement is an error; a few in a row end the run in phase Error, and the rollout is aborted.",
    "Use a provider that Serinus drives, with the settings that the message names.",
)
SRN208: Final = Code(
    "SRN208",
    "warning",
    "no address of Prometheus",
    "It is asked for at the agent's setting prometheus.address, or the variable ARGO_ROLLOUTS_PROMETHEUS_ADDRESS. Without"
    " either every measurement is an error.",
    "Write provider.prometheus.address, or set the address once for all in the agent's settings.",
)
SRN209: Final = Code(
    "SRN209",
    "warning",
    "an analysis whose every metric is a dry run",
    "Dry metrics are measured and not judged: the run is always Successful.",
    "Name only the metrics that are being tried out.",
)
CODES: Final = (SRN202, SRN203, SRN204, SRN205, SRN206, SRN207, SRN208, SRN209)

_TAG: Final = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_PLACEHOLDER: Final = re.compile(
    r"(?<!\?)(?<!\?P)<[A-Za-z][\w.-]*>|\$\{\w+\}|\$\(\w+\)|\$[A-Za-z_]\w*"
)
_EXPERIMENT: Final = re.compile(r"templates\..+\.(podTemplateHash|replicaset\.name)|experiment\..+")


def placeholders(world: World) -> Iterator[Finding]:
    """`<service-name>`, `$service`, `${SERVICE}` in what a provider is asked."""
    for one in all_metrics(world):
        names = [arg.name for arg in one.one.template.spec.args or ()]
        for path, text in _texts(_asked(one.metric), f"{one.field}.provider"):
            for found in dict.fromkeys(_PLACEHOLDER.findall(text)):
                name = re.sub(r"[^\w.-]", "", found).strip("_")
                meant = f"{{{{args.{name if name in names else name.lower()}}}}}"
                declared = "" if name in names else f", and declare {name.lower()} under spec.args"
                yield SRN202.at(
                    one.one.item,
                    path,
                    f"{path}: {found} is no argument and is asked for as it stands",
                    fix=f"Write {meant} instead of {found}{declared}.",
                    within=found,
                )


def _asked(metric: Metric) -> dict[str, Any]:
    """What is put into queries; bodies and commands have a `$` and `<…>` of their own."""
    provider = metric.provider or {}
    url = mapping(provider, "web").get("url")
    kept = {name: provider.get(name) for name in ("prometheus", "plugin")}
    return {**kept, "web": {"url": url}}


def _texts(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for name, item in value.items():
            shown = f"{path}[{name}]" if "/" in name or "." in name else f"{path}.{name}"
            yield from _texts(item, shown)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _texts(item, f"{path}[{index}]")


def args(world: World) -> Iterator[Finding]:
    """Arguments that are not declared, or not used."""
    for one in world.templates:
        spec = one.template.spec
        around = _composed_with(world, one)
        declared = {arg.name for part in (spec, *around) for arg in part.args or ()}
        for index, metric in enumerate(spec.metrics or ()):
            field = f"spec.metrics[{index}]"
            yield from _undeclared(one, metric, field, declared)
        used = {name for part in (spec, *around) for name in _used(part)}
        if spec.templates and missing_templates(world, spec.templates, _namespace(one)):
            continue
        for index, arg in enumerate(spec.args or ()):
            if arg.name not in used:
                field = f"spec.args[{index}]"
                message = f"{field}: the argument {arg.name!r} is used by no metric"
                yield SRN204.at(one.item, field, message)
    yield from _dropped(world)


def _undeclared(
    one: OneTemplate, metric: Metric, field: str, declared: set[str]
) -> Iterator[Finding]:
    for path, text in _texts(write(metric), field):
        opened = text.count("{{")
        tags = [tag.strip() for tag in _TAG.findall(text)]
        if opened > len(tags):
            yield SRN203.at(one.item, path, f"{path}: a {{{{ without its }}}}")
        for tag in dict.fromkeys(tags):
            name = tag.removeprefix("args.")
            if (tag.startswith("args.") and name in declared) or _EXPERIMENT.fullmatch(tag):
                continue
            why = f"the argument {name!r} is not declared" if tag != name else "is no argument"
            yield SRN203.at(one.item, path, f"{path}: {{{{{tag}}}}}: {why}", within=tag)


def _used(spec: AnalysisTemplateSpec) -> set[str]:
    text = msgspec.json.encode([write(metric) for metric in spec.metrics or ()]).decode()
    return {tag.strip().removeprefix("args.") for tag in _TAG.findall(text)}


def _composed_with(world: World, one: OneTemplate) -> list[AnalysisTemplateSpec]:
    """Templates that make up one run with this one: there their arguments are shared."""
    together: list[frozenset[Any]] = []
    for other in world.templates:
        refs = [template_ref(ref, _namespace(other)) for ref in other.template.spec.templates or ()]
        if refs:
            together.append(frozenset({other.item.ref, *refs}))
    for other_use in world.uses:
        named = other_use.use.analysis.templates or ()
        together.append(frozenset(template_ref(ref, other_use.namespace) for ref in named))
    reached = {one.item.ref}
    for _ in together:
        reached = reached.union(*(group for group in together if group & reached))
    return [
        other.template.spec
        for other in world.templates
        if other.item.ref in reached and other is not one
    ]


def _namespace(one: OneTemplate) -> str:
    return one.item.ref.namespace or "default"


def _dropped(world: World) -> Iterator[Finding]:
    """Arguments of Rollouts and Experiments that no template declares."""
    known = {one.item.ref: one.template.spec for one in world.templates}
    for item, use in world.uses:
        namespace, named = item.ref.namespace, use.analysis.templates or []
        if missing_templates(world, named, namespace):
            continue
        waiting = [template_ref(ref, namespace) for ref in named]
        for ref in waiting:
            inner = known[ref].templates if ref in known else None
            nested = [template_ref(other, namespace) for other in inner or ()]
            waiting += [other for other in nested if other not in waiting]
        if not all(ref in known for ref in waiting):
            continue
        declared = {arg.name for ref in waiting for arg in known[ref].args or ()}
        for index, arg in enumerate(use.analysis.args or ()):
            if arg.name not in declared:
                field = f"{use.field.removesuffix('.templates')}.args[{index}]"
                message = f"{field}: no template declares {arg.name!r}"
                yield SRN205.at(item, field, message)


def composed(world: World) -> Iterator[Finding]:
    """Templates that name others; what a Rollout puts together is looked at there."""
    for one in world.templates:
        spec = one.template.spec
        if one.item.ref.kind == "AnalysisRun":
            continue
        if spec.templates and not missing_templates(world, spec.templates, _namespace(one)):
            reference = read(
                RolloutAnalysis,
                {
                    "templates": [
                        {
                            "templateName": one.item.ref.name,
                            "clusterScope": one.item.ref.kind == "ClusterAnalysisTemplate",
                        }
                    ]
                },
            )
            declared = [
                arg for part in (spec, *_composed_with(world, one)) for arg in part.args or ()
            ]
            given = [Argument(name=arg.name, value="x") for arg in declared]
            try:
                world.try_analysis(_namespace(one), msgspec.structs.replace(reference, args=given))
            except Refused as error:
                yield SRN206.at(one.item, "spec.templates", f"spec.templates: {error.detail}")
        dry = spec.dry_run or []
        try:
            matched = arguments.dry_run_metrics(spec.metrics or (), dry)
        except Refused:
            continue
        if spec.metrics and not spec.templates and len(matched) == len(spec.metrics):
            yield SRN209.at(one.item, "spec.dryRun", "spec.dryRun: no metric is left that counts")


def provided(world: World) -> Iterator[Finding]:
    """Providers that are not driven, or that cannot work as they are set."""
    for one in all_metrics(world):
        item, field = one.one.item, f"{one.field}.provider"
        if not one.metric.provider or not world.providers:
            continue
        if one.provider == SEQUENTIAL:
            if problem := template_problem(one.metric):
                yield SRN207.at(item, field, f"{one.field}: {problem}")
            continue
        try:
            metric = _filled(one.metric)
            provider_of(metric, world.providers).check(metric)
        except Refused as error:
            where = f"{one.field}.{error.field}" if error.field.startswith("provider") else field
            yield SRN207.at(item, where, f"{where}: {error.detail}")
        settings = mapping(one.metric.provider, "prometheus")
        if one.provider == "prometheus" and not settings.get("address"):
            where = f"{field}.prometheus.address"
            yield SRN208.at(item, where, f"{where}: not set")


def _filled(metric: Metric) -> Metric:
    """Arguments that only a run knows stand for themselves."""
    return read(Metric, _replaced(write(metric)))


def _replaced(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _replaced(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_replaced(item) for item in value]
    return _TAG.sub("argument", value) if isinstance(value, str) else value
