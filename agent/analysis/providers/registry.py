"""The metric providers: one line each, and those that are installed."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from agent.analysis.provider_names import field_of, name_of, named, problem_of
from agent.analysis.providers.job import Job
from agent.analysis.providers.oauth2 import Tokens
from agent.analysis.providers.port import Provider
from agent.analysis.providers.prometheus import Prometheus
from agent.analysis.providers.sequential import Sequential
from agent.analysis.providers.third_party import ThirdParty, load
from agent.analysis.providers.web import Web
from agent.api.analysis import Metric
from agent.cluster.port import Cluster
from agent.errors import Refused
from agent.http import Http

__all__ = ["name_of", "plugin_problems", "provider_of", "providers"]

Options = Mapping[str, Any]
Make = Callable[[Http, Tokens, Options, Cluster | None], Provider]
PROVIDERS: Final[tuple[Make, ...]] = (
    lambda http, tokens, options, _: Prometheus(
        http,
        tokens,
        address=str(options.get("prometheus_address", "")),
        check_freshness=bool(options.get("prometheus_check_freshness", True)),
    ),
    lambda http, tokens, _options, _: Web(http, tokens),
    lambda _http, _tokens, _options, cluster: Job(cluster),
    lambda http, tokens, options, _: Sequential(
        Prometheus(http, tokens, address=str(options.get("prometheus_address", "")))
    ),
)


def providers(http: Http, options: Options, cluster: Cluster | None = None) -> dict[str, Provider]:
    """All providers by name.

    Args:
        cluster: where Jobs run; without one they can be checked, but not measured.
    """
    tokens = Tokens(http)
    made: Sequence[Provider] = [make(http, tokens, options, cluster) for make in PROVIDERS]
    return {provider.name: provider for provider in (*made, *load())}


def plugin_problems(known: Mapping[str, Provider]) -> dict[str, str]:
    """The providers of third parties by name: what is wrong with each, "" when nothing."""
    return {
        name: provider.problem
        for name, provider in known.items()
        if isinstance(provider, ThirdParty)
    }


def provider_of(metric: Metric, known: Mapping[str, Provider]) -> Provider:
    """The provider that a metric names. Raises Refused with what to use instead."""
    found = named(metric)
    if len(found) != 1:
        raise Refused(f"metric {metric.name!r} must name exactly one provider", field="provider")
    ((kind, name),) = found
    problem = problem_of(metric, plugin_problems(known))
    if problem is not None:
        raise problem
    if name not in known:
        raise Refused("not installed here", field=field_of(kind, name))
    return known[name]
