"""The metric providers: one line each."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from agent.analysis.providers.port import Provider
from agent.analysis.providers.prometheus import Prometheus
from agent.analysis.providers.web import Web
from agent.api.analysis import Metric
from agent.errors import Refused
from agent.http import Http

Options = Mapping[str, Any]
PROVIDERS: Final[tuple[Callable[[Http, Options], Provider], ...]] = (
    lambda http, options: Prometheus(
        http,
        address=str(options.get("prometheus_address", "")),
        check_freshness=bool(options.get("prometheus_check_freshness", True)),
    ),
    lambda http, _options: Web(http),
)

OTHERS: Final = (
    "job", "datadog", "newRelic", "wavefront", "cloudWatch", "graphite", "influxdb", "skywalking", "kayenta", "plugin",
)  # fmt: skip
"""Providers of Argo's API that are refused by name."""


def providers(http: Http, options: Options) -> dict[str, Provider]:
    """All providers by name."""
    made: Sequence[Provider] = [make(http, options) for make in PROVIDERS]
    return {provider.name: provider for provider in made}


def provider_of(metric: Metric, known: Mapping[str, Provider]) -> Provider:
    """The provider that a metric names. Raises Refused with what to use instead."""
    named = [name for name in (metric.provider or {}) if (metric.provider or {})[name] is not None]
    if len(named) != 1:
        raise Refused(f"metric {metric.name!r} must name exactly one provider", field="provider")
    if named[0] in known:
        return known[named[0]]
    use = ", ".join(known)
    raise Refused(
        f"provider {named[0]!r} is not driven by Serinus; use one of {use}"
        + (" (web reaches every HTTP API)" if named[0] in OTHERS else ""),
        field=f"provider.{named[0]}",
    )
