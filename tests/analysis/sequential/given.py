"""Metrics and strata for tests of the judge."""

from typing import Any

from agent.analysis.sequential.settings import Settings, settings_of
from agent.analysis.sequential.verdict import Counted
from agent.api.analysis import Metric
from agent.api.decode import read

CANARY = 'istio_requests_total{destination_service_name="web-canary"}'
STABLE = 'istio_requests_total{destination_service_name="web-stable"}'


def arm(selector: str) -> dict[str, Any]:
    """An arm's two counters."""
    head = selector.removesuffix("}")
    return {"requests": selector, "bad": f'{head},response_code=~"5.."}}'}


def metric(**own: Any) -> Metric:
    """A metric of the judge; `metric_` prefixes members of the metric itself."""
    outer = {
        name.removeprefix("metric_"): own.pop(name) for name in list(own) if name[:7] == "metric_"
    }
    plugin = {"canary": arm(CANARY), "stable": arm(STABLE), **own}
    plugin = {name: value for name, value in plugin.items() if value is not None}
    return read(
        Metric,
        {"name": "errors", "provider": {"plugin": {"serinus/sequential": plugin}}, **outer},
    )


def settings(**own: Any) -> Settings:
    """Settings as a template gives them."""
    return settings_of(metric(**own))


def counted(end: float, n_c: float, k_c: float, n_s: float, k_s: float) -> Counted:
    """One stratum with one kind of bad request."""
    return Counted(end, n_c, n_s, ((k_c, k_s),))
