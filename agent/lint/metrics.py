"""Metrics of a template before its arguments are known. PURE."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec

from agent.analysis import arguments
from agent.analysis.providers.registry import name_of
from agent.api.analysis import Metric, TemplateRef
from agent.api.decode import read, write
from agent.api.meta import Ref
from agent.errors import Refused
from agent.lint.world import OneTemplate, World


class OneMetric(NamedTuple):
    """A metric of a template.

    Attributes:
        metric: as it is written, with the arguments whose values are known.
        field: `spec.metrics[0]`.
    """

    one: OneTemplate
    metric: Metric
    field: str

    @property
    def provider(self) -> str:
        return name_of(self.metric)

    @property
    def query(self) -> str:
        """The PromQL of provider prometheus; "" for others."""
        settings = (self.metric.provider or {}).get("prometheus")
        query = settings.get("query") if isinstance(settings, dict) else None
        return query if isinstance(query, str) else ""


def all_metrics(world: World) -> Iterator[OneMetric]:
    """Every metric of every template and run."""
    for one in world.templates:
        values = _values(world, one)
        for index, metric in enumerate(one.template.spec.metrics or ()):
            yield OneMetric(one, _known(metric, values), f"spec.metrics[{index}]")


def template_ref(reference: TemplateRef, namespace: str) -> Ref:
    """Where a template is."""
    if reference.cluster_scope:
        return Ref("ClusterAnalysisTemplate", "", reference.template_name)
    return Ref("AnalysisTemplate", namespace, reference.template_name)


def _values(world: World, one: OneTemplate) -> dict[str, str | None]:
    """Default values, and those that Rollouts and Experiments at hand give, as far as they give the same."""
    values = arguments.values_of(one.template.spec.args or ())
    given: dict[str, set[str | None]] = {}
    for other in world.uses:
        analysis = other.use.analysis
        named = [template_ref(ref, other.namespace) for ref in analysis.templates or ()]
        if one.item.ref in named:
            for arg in analysis.args or ():
                given.setdefault(arg.name, set()).add(arg.value)
    for name, found in given.items():
        if name in values:
            values[name] = next(iter(found)) if len(found) == 1 else None
    return values


def _known(metric: Metric, values: Mapping[str, str | None]) -> Metric:
    """The metric with the values that are known; the other arguments stay as they are, but for durations."""

    def value(raw: str) -> str:
        tag = raw.strip()
        found = values.get(tag.removeprefix("args.")) if tag.startswith("args.") else None
        return f"{{{{{raw}}}}}" if found is None else arguments.json_escaped(found)

    try:
        text = arguments.expand(msgspec.json.encode(write(metric)).decode(), value)
        made = read(Metric, msgspec.json.decode(text))
    except (Refused, msgspec.DecodeError):
        return metric
    return msgspec.structs.replace(
        made,
        interval="1m" if "{{" in (made.interval or "") else made.interval,
        initial_delay=None if "{{" in (made.initial_delay or "") else made.initial_delay,
    )
