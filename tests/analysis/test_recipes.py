"""The recipes of docs/providers.md, asked of servers that answer as the products do."""

import re
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from agent.analysis import arguments
from agent.analysis.provider_names import INSTEAD
from agent.analysis.providers.port import Asked
from agent.analysis.providers.registry import provider_of, providers
from agent.analysis.validation import validate_metrics
from agent.api.analysis import Measurement, Metric
from agent.api.decode import read
from agent.http import Http
from tests.analysis.test_providers import NOW, vector
from tests.analysis.troubled_servers import web

DOC: Final = (Path(__file__).parents[2] / "docs" / "providers.md").read_text()
RECIPES: Final = {
    found[1]: yaml.safe_load(found[2])
    for found in re.finditer(r"```yaml\n# (\w+)\n(.*?)```", DOC, re.DOTALL)
    if found[1] != "metric"
}
ARGUMENTS: Final = {
    "monitor-id": "17", "api-key": "k3y", "app-key": "a99", "account": "42", "app": "shop", "org": "acme",
    "token": "t0k", "alert-id": "99",
}  # fmt: skip


def nerdgraph(results: Any, **more: Any) -> Response:
    data = results and {"actor": {"account": {"nrql": {"results": results}}}}
    return JSONResponse({"data": data, **more})


def flux(*values: str) -> Response:
    rows = "".join(f",_result,0,{value}\r\n" for value in values)
    head = ",result,table,_value\r\n" if values else ""
    return PlainTextResponse(f"{head}{rows}\r\n", media_type="text/csv")


def render(*points: Any) -> Response:
    return JSONResponse(
        [{"target": "t", "datapoints": [list(p) for p in points]}] if points else []
    )


CASES: Final[list[tuple[str, Response, str]]] = [
    ("datadog", JSONResponse({"id": 17, "overall_state": "OK"}), "Successful"),
    ("datadog", JSONResponse({"id": 17, "overall_state": "Alert"}), "Failed"),
    ("datadog", JSONResponse({"id": 17, "overall_state": "No Data"}), "Failed"),
    ("datadog", JSONResponse({"errors": ["Forbidden"]}, 403), "Error"),
    ("newrelic", nerdgraph([{"rate": 0.4}]), "Successful"),
    ("newrelic", nerdgraph([{"rate": 7.5}]), "Failed"),
    ("newrelic", nerdgraph([{"rate": None}]), "Error"),
    ("newrelic", nerdgraph([]), "Error"),
    ("newrelic", nerdgraph(None, errors=[{"message": "NRQL syntax"}]), "Error"),
    ("graphite", render((0.25, 1)), "Successful"),
    ("graphite", render((4, 1)), "Failed"),
    ("graphite", render((None, 1)), "Error"),
    ("graphite", render(), "Error"),
    ("influxdb", flux("0.012"), "Successful"),
    ("influxdb", flux("0.2"), "Failed"),
    ("influxdb", flux(), "Error"),
    ("influxdb", flux("NaN"), "Failed"),
    ("influxdb", JSONResponse({"code": "unauthorized"}, 401), "Error"),
    ("wavefront", JSONResponse({"response": {"status": ["CHECKING"]}}), "Successful"),
    ("wavefront", JSONResponse({"response": {"status": ["FIRING", "CHECKING"]}}), "Failed"),
    ("wavefront", JSONResponse({"response": {"status": []}}), "Failed"),
    ("skywalking", vector("9990"), "Successful"),
    ("skywalking", vector("9000"), "Failed"),
    ("skywalking", vector(), "Error"),
]
ASKED: Final = {
    "datadog": (
        "GET",
        "/api/v1/monitor/17",
        {"dd-api-key": "k3y", "dd-application-key": "a99"},
        "",
    ),
    "newrelic": ("POST", "/graphql", {"api-key": "k3y"}, "appName = 'shop' SINCE"),
    "graphite": ("GET", "/render", {}, ""),
    "influxdb": ("POST", "/api/v2/query", {"authorization": "Token t0k"}, 'r.app == "shop"'),
    "wavefront": ("GET", "/api/v2/alert/99", {"authorization": "Bearer t0k"}, ""),
    "skywalking": ("POST", "/api/v1/query", {}, "service_sla"),
}


def test_every_provider_that_is_refused_and_has_an_api_has_a_recipe() -> None:
    told = {name.lower() for name, text in INSTEAD.items() if "with the provider" in text}
    assert told == set(RECIPES) == set(ASKED)
    for name in INSTEAD:
        assert f"`{name}`" in DOC


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_a_metric_as_it_stands(name: str) -> None:
    metrics = [read(Metric, metric) for metric in RECIPES[name]]
    validate_metrics(metrics)
    for metric in metrics:
        provider_of(metric, providers(Http(), {})).check(metric)


@pytest.mark.parametrize(("name", "answer", "phase"), CASES)
async def test_a_recipe_tells_good_from_bad_and_from_nothing(
    name: str, answer: Response, phase: str
) -> None:
    seen: list[tuple[str, str, dict[str, str], str]] = []

    async def give(request: Request) -> Response:
        body = (await request.body()).decode()
        seen.append((request.method, request.url.path, dict(request.headers), body))
        return answer

    async with web(give) as url:
        got = await measured(name, url)
    assert got.phase == phase, got
    method, path, headers, said = ASKED[name]
    assert seen[0][:2] == (method, path)
    assert headers.items() <= seen[0][2].items()
    assert said in seen[0][3]


async def measured(name: str, url: str) -> Measurement:
    """The recipe's first measurement, of a server on loopback instead of the one it names."""
    ((plain),) = RECIPES[name]
    metric = arguments.substitute_metric(read(Metric, plain), ARGUMENTS)
    ((kind, settings),) = (metric.provider or {}).items()
    member = "url" if kind == "web" else "address"
    local = re.sub(r"^https?://[^/]+", url, settings[member])
    http = Http()
    asked = read(
        Metric,
        {
            "name": metric.name,
            "successCondition": metric.success_condition,
            "provider": {kind: {**settings, member: local}},
        },
    )
    try:
        return await provider_of(asked, providers(http, {})).measure(Asked(metric=asked, now=NOW))
    finally:
        await http.aclose()
