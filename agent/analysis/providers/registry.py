"""The metric providers: one line each."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from agent.analysis.providers.port import Provider
from agent.analysis.providers.prometheus import Prometheus
from agent.analysis.providers.sequential import Sequential
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
    lambda http, options: Sequential(
        Prometheus(http, address=str(options.get("prometheus_address", "")))
    ),
)

OTHERS: Final = (
    "job", "datadog", "newRelic", "wavefront", "cloudWatch", "graphite", "influxdb", "skywalking", "kayenta",
)  # fmt: skip
"""Providers of Argo's API that are refused by name."""


def providers(http: Http, options: Options) -> dict[str, Provider]:
    """All providers by name."""
    made: Sequence[Provider] = [make(http, options) for make in PROVIDERS]
    return {provider.name: provider for provider in made}


def provider_of(metric: Metric, known: Mapping[str, Provider]) -> Provider:
    """The provider that a metric names. Raises Refused with what to use instead."""
    named = _named(metric)
    if len(named) != 1:
        raise Refused(f"metric {metric.name!r} must name exactly one provider", field="provider")
    kind, name = named[0]
    if name in known and (kind == "plugin") == ("/" in name):
        return known[name]
    use = ", ".join(_field(name) for name in known)
    raise Refused(
        f"provider {'plugin ' if kind == 'plugin' else ''}{name!r} is not driven by Serinus; use one of {use}"
        + (" (web reaches every HTTP API)" if name in OTHERS else ""),
        field=f"provider.{_field(name) if kind == 'plugin' else name}",
    )


def name_of(metric: Metric) -> str:
    """Name of the metric's provider; a plugin's own. "" when there is none."""
    return next((name for _, name in _named(metric)), "")


def _named(metric: Metric) -> list[tuple[str, str]]:
    """(member of `provider`, name) of the providers that a metric names: each plugin is one."""
    found = []
    for kind, config in (metric.provider or {}).items():
        if kind == "plugin" and isinstance(config, Mapping):
            found += [(kind, name) for name in config]
        elif config is not None:
            found.append((kind, kind))
    return found


def _field(name: str) -> str:
    """How a provider is written: plugins have a slash in their names."""
    return f"plugin[{name}]" if "/" in name else name
