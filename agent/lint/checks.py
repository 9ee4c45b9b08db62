"""The table of checks: a subject is one file and one line here. PURE."""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from agent.lint import (
    argo,
    conditions,
    experiments,
    fields,
    limits,
    queries,
    reading,
    routes,
    steps,
    templates,
    watching,
    workloads,
)
from agent.lint.finding import Finding
from agent.lint.world import Code, World

Check = Callable[[World], Iterator[Finding]]

CHECKS: Final[tuple[Check, ...]] = (
    reading.texts,
    lambda world: reading.comments(world, CODES),
    fields.misfits,
    argo.specs,
    workloads.workloads,
    argo.named_objects,
    experiments.specs,
    experiments.analyses,
    argo.metrics,
    reading.names,
    steps.driven,
    steps.sense,
    watching.watchers,
    watching.pods,
    templates.placeholders,
    templates.args,
    templates.composed,
    templates.provided,
    conditions.conditions,
    limits.limits,
    queries.queries,
    routes.missing,
    routes.driven,
    routes.weights,
    routes.mixed,
    routes.gitops,
)
"""In the order in which Argo's lint comes upon what it refuses."""

CODES: Final[Mapping[str, Code]] = {
    code.id: code
    for module in (
        argo,
        reading,
        steps,
        watching,
        workloads,
        experiments,
        fields,
        templates,
        conditions,
        limits,
        queries,
        routes,
    )
    for code in module.CODES
}
"""All codes, by name."""


def findings(world: World) -> tuple[Finding, ...]:
    """Everything that the checks find, in their order."""
    return tuple(finding for check in CHECKS for finding in check(world))


def linted(world: World, *, ignore: frozenset[str] = frozenset()) -> tuple[Finding, ...]:
    """What the user is to see, by file and line: without codes that he, or a comment, lets pass."""
    sources = {source.name: source for source in world.sources}
    kept: dict[Finding, None] = {}
    for finding in findings(world):
        if finding.code not in ignore and not sources[finding.file].lets_pass(
            finding.code, finding.line
        ):
            kept[finding] = None
    order = list(sources)
    return tuple(
        sorted(kept, key=lambda one: (order.index(one.file), one.line, one.column, one.code))
    )
