"""Queries of Prometheus that answer something else than they seem to. PURE.

Each case was seen on a real Prometheus; docs/missing-data.md has a query that stands all of them.
"""

import re
from collections.abc import Iterator
from typing import Final

from agent.lint.finding import Finding
from agent.lint.metrics import OneMetric, all_metrics
from agent.lint.promql import Selector, has_default, ratios, selectors
from agent.lint.world import Code, World

SRN231: Final = Code(
    "SRN231",
    "warning",
    "a success ratio that is empty when everything fails",
    "When no call succeeds, no series of good calls exists, and nothing divided by something is nothing: the worst case"
    " gives no answer instead of 0.",
    "Count failures: `1 - (sum(rate(bad)) or vector(0)) / sum(rate(all))` (docs/missing-data.md).",
)
SRN232: Final = Code(
    "SRN232",
    "warning",
    "a failure ratio that is empty while nothing fails",
    "Until the first failure no series of failures exists, and the answer is empty: an error, a few in a row of which"
    " abort a healthy rollout.",
    "Write `(sum(rate(bad)) or vector(0)) / sum(rate(all))`.",
)
SRN233: Final = Code(
    "SRN233",
    "warning",
    "a pattern that matches other services",
    "`shop.*` matches shop-admin and shopping, too: their traffic is judged as if it were this rollout's.",
    "Match the whole name with `=`, or end the pattern at a dot: `shop[.].*`.",
)
SRN234: Final = Code(
    "SRN234",
    "warning",
    "canary and stable in one number",
    "Without a label of the version the query mixes both. At a weight of 10 a canary that fails every call lowers the"
    " success rate to 0.90, and one that fails every second call to 0.95: within most limits.",
    "Ask for the canary alone: its own Service (destination_service_name), destination_workload, or"
    " rollouts_pod_template_hash with an argument podTemplateHashValue: Latest.",
)
SRN235: Final = Code(
    "SRN235",
    "warning",
    "no reporter",
    "Istio's sidecars count each call twice, at the source and at the destination, and calls that never arrive only at the"
    " source: half of all calls failing reads as a third.",
    'Add reporter="source" (in Ambient reporter="waypoint").',
)
CODES: Final = (SRN231, SRN232, SRN233, SRN234, SRN235)

_CODE_LABELS: Final = (
    "response_code", "code", "status", "status_code", "http_status", "http_status_code", "http_code",
    "response_code_class", "envoy_response_code", "envoy_response_code_class", "grpc_response_status", "grpc_code",
)  # fmt: skip
_NAMING: Final = (
    "destination_service", "destination_service_name", "destination_workload", "destination_app", "service",
    "service_name", "host", "app", "job", "deployment", "workload", "container", "ingress", "exported_service",
    "destination_canonical_service",
)  # fmt: skip
_VERSION: Final = (
    "destination_version", "destination_workload", "destination_canonical_revision", "version", "pod", "replicaset",
    "rollouts_pod_template_hash", "pod_template_hash", "revision", "subset", "destination_principal",
)  # fmt: skip
_SERVICES: Final = (
    "destination_service",
    "destination_service_name",
    "destination_canonical_service",
)
_BAD: Final = re.compile(r"\(?(5|4|5\.\.|unavailable|internal)", re.IGNORECASE)
_BROAD: Final = re.compile(r".*[\w})>-]\.[*+]")
_NAME: Final = re.compile(r"[a-zA-Z_]")
_BARE: Final = re.compile(r"\bistio_requests_total\b(?!\s*\{)")


def queries(world: World) -> Iterator[Finding]:
    """The queries of provider prometheus."""
    for one in all_metrics(world):
        if one.query:
            yield from _ratios(one)
            yield from _patterns(one)
            yield from _istio(world, one)


def _field(one: OneMetric) -> str:
    return f"{one.field}.provider.prometheus.query"


def _ratios(one: OneMetric) -> Iterator[Finding]:
    field = _field(one)
    for above, below in ratios(one.query):
        if has_default(above) or not _NAME.search(below):
            continue
        kinds = {_kind(selector) for selector in selectors(above)}
        if kinds == {"good"}:
            message = f"{field}: empty when every call fails, for its numerator counts successes"
            yield SRN231.at(one.one.item, field, message)
            return
        if kinds == {"bad"}:
            message = f"{field}: empty while no call fails, for its numerator counts failures"
            yield SRN232.at(one.one.item, field, message)
            return


def _kind(selector: Selector) -> str:
    """Whether a selector takes good calls only, or bad ones only; "" when it takes both."""
    for matcher in selector.matchers:
        if matcher.label in _CODE_LABELS:
            is_bad = bool(_BAD.match(matcher.value))
            return "good" if is_bad == matcher.operator.startswith("!") else "bad"
    return ""


def _patterns(one: OneMetric) -> Iterator[Finding]:
    field, seen = _field(one), set()
    for selector in selectors(one.query):
        for matcher in selector.matchers:
            text = f'{matcher.label}{matcher.operator}"{matcher.value}"'
            if (
                matcher.operator == "=~"
                and matcher.label in _NAMING
                and _BROAD.fullmatch(matcher.value)
                and text not in seen
            ):
                seen.add(text)
                message = f"{field}: {text} matches every service whose name only begins so"
                yield SRN233.at(one.one.item, field, message, within=matcher.value)


def _istio(world: World, one: OneMetric) -> Iterator[Finding]:
    field = _field(one)
    asked = [item for item in selectors(one.query) if item.name.startswith("istio_request")]
    bare = bool(_BARE.search(one.query))
    canaries = {
        service.rollout.spec.strategy.canary.canary_service
        for service in world.rollouts
        if service.rollout.spec.strategy.canary is not None
    }
    if bare or any(not _tells_versions(item, canaries) for item in asked):
        message = f"{field}: no label of the version: canary and stable are counted together"
        yield SRN234.at(one.one.item, field, message)
    if bare or any(not item.has("reporter") for item in asked):
        yield SRN235.at(one.one.item, field, f"{field}: no reporter: sidecars count a call twice")


def _tells_versions(selector: Selector, canaries: set[str]) -> bool:
    """Whether it asks for one version: by a label of versions, or by the canary's own Service."""
    if selector.has(*_VERSION):
        return True
    for matcher in selector.matchers:
        if matcher.label in _SERVICES and matcher.operator in ("=", "=~"):
            # What only a run knows may be the canary's.
            name = matcher.value.split(".")[0].rstrip("\\[")
            if "{{" in matcher.value or "canary" in name or name in canaries:
                return True
    return False
