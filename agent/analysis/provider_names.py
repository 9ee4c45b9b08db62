"""Which metric providers are driven, and what to use instead of the others of Argo's API. PURE."""

from collections.abc import Mapping
from typing import Any, Final

from agent.api.analysis import Metric
from agent.api.names import SEQUENTIAL
from agent.errors import Refused

DRIVEN: Final = ("prometheus", "web", "job")
"""Members of `metric.provider`; and `plugin`, whose members are SEQUENTIAL and what is installed."""
_WEB: Final = "ask its HTTP API with the provider web, see docs/providers.md"
INSTEAD: Final[Mapping[str, str]] = {
    "datadog": _WEB,
    "newRelic": _WEB,
    "wavefront": _WEB,
    "graphite": _WEB,
    "influxdb": _WEB,
    "skywalking": "ask its PromQL service with the provider prometheus, see docs/providers.md",
    "cloudWatch": "ask a Prometheus that scrapes CloudWatch, or add a provider of your own, see docs/providers.md",
    "kayenta": f"compare canary and stable with plugin[{SEQUENTIAL}], or add a provider of your own, see"
    " docs/providers.md",
}
"""What to do instead of a provider of Argo's API that is refused."""
_PLUGIN: Final = (
    "Go plugins are not run; add a provider of your own in Python, see docs/providers.md"
)


def named(metric: Metric) -> list[tuple[str, str]]:
    """(member of `provider`, name) of the providers that a metric names: each plugin is one."""
    found: list[tuple[str, str]] = []
    for kind, config in (metric.provider or {}).items():
        if kind == "plugin" and isinstance(config, Mapping):
            found += [(kind, str(name)) for name in config]
        elif config is not None:
            found.append((kind, kind))
    return found


def name_of(metric: Metric) -> str:
    """Name of the metric's provider; a plugin's own. "" when there is none."""
    return next((name for _, name in named(metric)), "")


def field_of(kind: str, name: str) -> str:
    """Where a manifest names the provider, from the metric on."""
    return f"provider.plugin[{name}]" if kind == "plugin" else f"provider.{name}"


def problem_of(metric: Metric, plugins: Mapping[str, str]) -> Refused | None:
    """Why the metric's provider is not driven, with the field and what to use instead; None when it is.

    Args:
        plugins: the providers of third parties, by name: what is wrong with each, "" when nothing.
    """
    for kind, name in named(metric):
        text = _problem(kind, name, plugins)
        if text:
            return Refused(text, field=field_of(kind, name))
    return None


def _problem(kind: str, name: str, plugins: Mapping[str, str]) -> str:
    if kind != "plugin":
        instead = INSTEAD.get(name) or _use(plugins)
        return "" if name in DRIVEN else f"not driven by Serinus: {instead}"
    if name in plugins:
        return f"cannot be used: {plugins[name]}" if plugins[name] else ""
    return "" if name == SEQUENTIAL else f"not driven by Serinus: {_PLUGIN}"


def _use(plugins: Mapping[str, Any]) -> str:
    known = [*DRIVEN, *(f"plugin[{name}]" for name in (SEQUENTIAL, *plugins))]
    return f"use one of {', '.join(known)}"
