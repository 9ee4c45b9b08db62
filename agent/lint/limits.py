"""How often a metric is measured, and how much it takes to end a run. PURE."""

from collections.abc import Iterator
from typing import Final

from agent.analysis.verdict import (
    DEFAULT_CONSECUTIVE_ERROR_LIMIT,
    effective_count,
    is_endless,
    is_judged,
    limit_of,
)
from agent.api.meta import Ref
from agent.lint.finding import Finding
from agent.lint.metrics import OneMetric, all_metrics, template_ref
from agent.lint.world import Code, World

SRN221: Final = Code(
    "SRN221",
    "warning",
    "a metric that is measured for ever",
    "With an interval and no count a metric has no end. As a step's analysis it is refused (InvalidSpec), or keeps the"
    " rollout on that step for ever; only background analysis ends it, with the last step (or an Experiment that does not"
    " require it).",
    "Write a count, such as count: 5.",
)
SRN222: Final = Code(
    "SRN222",
    "warning",
    "one failed measurement ends the run",
    "failureLimit is 0 when it is left out: a single bad scrape in a long watch aborts the rollout.",
    "Write how many failures are tolerated (failureLimit: 0 if none is, to show that it is meant).",
)
SRN223: Final = Code(
    "SRN223",
    "warning",
    "the limit of errors in a row is the default",
    f"After {DEFAULT_CONSECUTIVE_ERROR_LIMIT} errors in a row, ten seconds apart, the next one ends the run: a Prometheus"
    " that restarts for a minute, or an answer without data, aborts a healthy rollout.",
    "Write consecutiveErrorLimit, as many as the outages that a rollout should sit out.",
)
CODES: Final = (SRN221, SRN222, SRN223)


def limits(world: World) -> Iterator[Finding]:
    """Metrics that are measured more than once."""
    watching = _background_only(world)
    for one in all_metrics(world):
        metric, item = one.metric, one.one.item
        if is_endless(metric) and metric.interval and item.ref not in watching:
            yield SRN221.at(
                item, one.field, f"{one.field}: an interval and no count: it never ends"
            )
        if is_judged(metric) or not _repeated(one):
            continue
        if metric.failure_limit is None and not limit_of(metric.consecutive_success_limit):
            message = f"{one.field}: no failureLimit: the first failed measurement ends the run"
            yield SRN222.at(item, one.field, message)
        if metric.consecutive_error_limit is None:
            limit = DEFAULT_CONSECUTIVE_ERROR_LIMIT
            message = (
                f"{one.field}: no consecutiveErrorLimit: error {limit + 1} in a row ends the run"
            )
            yield SRN223.at(item, one.field, message)


def _repeated(one: OneMetric) -> bool:
    count = effective_count(one.metric)
    return bool(one.metric.interval) and (count is None or count > 1)


def _background_only(world: World) -> set[Ref]:
    """Templates that Rollouts and Experiments at hand use for what they end themselves, and nothing else."""
    found: dict[bool, set[Ref]] = {True: set(), False: set()}
    known = {one.item.ref: one.template.spec for one in world.templates}
    for one in world.uses:
        refs = [template_ref(ref, one.namespace) for ref in one.use.analysis.templates or ()]
        for ref in refs:
            inner = known[ref].templates if ref in known else None
            nested = [template_ref(item, one.namespace) for item in inner or ()]
            refs += [item for item in nested if item not in refs]
        found[one.use.background].update(refs)
    return found[True] - found[False]
