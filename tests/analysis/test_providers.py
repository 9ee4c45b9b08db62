"""Providers against servers on loopback: what is asked, and that trouble is never success."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from agent.analysis.providers.port import Asked
from agent.analysis.providers.registry import provider_of, providers
from agent.analysis.verdict import Compat
from agent.api.analysis import Measurement, Metric
from agent.api.decode import read
from agent.errors import Refused
from agent.http import Http
from agent.http_server import serving

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Server:
    """Answers every request the same, and keeps what was asked."""

    def __init__(self, answer: Response) -> None:
        self.answer = answer
        self.asked: list[tuple[str, str, dict[str, str], str]] = []

    async def __call__(self, request: Request) -> Response:
        body = (await request.body()).decode()
        self.asked.append((request.method, request.url.path, dict(request.headers), body))
        return self.answer

    @asynccontextmanager
    async def up(self) -> AsyncIterator[str]:
        route = Route("/{path:path}", self.__call__, methods=["GET", "POST", "PUT"])
        async with serving(Starlette(routes=[route]), host="127.0.0.1", port=0) as port:
            yield f"http://127.0.0.1:{port}"


async def measured(obj: dict[str, Any], compat: Compat = "safe", **options: Any) -> Measurement:
    http = Http()
    try:
        metric = read(Metric, {"name": "m", **obj})
        provider = provider_of(metric, providers(http, options))
        return await provider.measure(Asked(metric=metric, now=NOW, compat=compat))
    finally:
        await http.aclose()


def vector(*values: str) -> Response:
    result = [{"metric": {}, "value": [NOW.timestamp(), value]} for value in values]
    return JSONResponse({"status": "success", "data": {"resultType": "vector", "result": result}})


def prometheus(address: str, **more: Any) -> dict[str, Any]:
    return {
        "successCondition": "result[0] > 0.95",
        "provider": {"prometheus": {"address": address, "query": "up{a='b'}"}},
        **more,
    }


@pytest.mark.parametrize(
    ("answer", "compat", "phase", "value"),
    [
        (vector("0.99"), "safe", "Successful", "[0.99]"),
        (vector("0.5"), "safe", "Failed", "[0.5]"),
        (vector(), "safe", "Error", None),
        (vector("NaN"), "safe", "Failed", "[NaN]"),
        (PlainTextResponse("no", status_code=503), "safe", "Error", None),
        (PlainTextResponse("<html>"), "safe", "Error", None),
        (PlainTextResponse("[" * 50_000), "safe", "Error", None),
        (JSONResponse({"status": "error", "errorType": "t", "error": "e"}), "safe", "Error", None),
    ],
    ids=["good", "bad", "no data", "not a number", "away", "a page", "too deep", "an error"],
)
async def test_prometheus(answer: Response, compat: Compat, phase: str, value: str | None) -> None:
    server = Server(answer)
    async with server.up() as url:
        got = await measured(prometheus(url), compat)
    assert got.phase == phase
    assert got.message or phase != "Error"
    if value is not None:
        assert got.value == value
    method, path, _, form = server.asked[0]
    assert (method, path) == ("POST", "/api/v1/query")
    assert "query=up%7Ba%3D%27b%27%7D" in form
    assert (got.metadata or {})["ResolvedPrometheusQuery"] == "up{a='b'}"


@pytest.mark.parametrize("values", [("NaN",), ()], ids=["not a number", "no data"])
@pytest.mark.parametrize(("compat", "phase"), [("safe", "Error"), ("argo", "Successful")])
async def test_what_does_not_fail_is_not_healthy_for_that(
    values: tuple[str, ...], compat: Compat, phase: str
) -> None:
    async with Server(vector(*values)).up() as url:
        asked = prometheus(url, failureCondition="any(result, {# > 0.05})")
        got = await measured({**asked, "successCondition": ""}, compat)
    assert got.phase == phase


async def test_the_default_address_is_used() -> None:
    server = Server(vector("1"))
    async with server.up() as url:
        got = await measured(prometheus(""), prometheus_address=url)
    assert got.phase == "Successful"


async def test_a_prometheus_that_is_not_there_is_an_error() -> None:
    got = await measured(prometheus("http://127.0.0.1:1"))
    assert (got.phase, "127.0.0.1:1" in got.message) == ("Error", True)


def web(url: str, **more: Any) -> dict[str, Any]:
    return {
        "successCondition": "result == 'up'",
        "provider": {"web": {"url": f"{url}/health", "jsonPath": "{$.state}", **more}},
    }


@pytest.mark.parametrize(
    ("answer", "phase"),
    [
        (JSONResponse({"state": "up"}), "Successful"),
        (JSONResponse({"state": "down"}), "Failed"),
        (JSONResponse({}), "Error"),
        (JSONResponse({"state": "up"}, status_code=500), "Error"),
        (PlainTextResponse("up"), "Error"),
    ],
    ids=["good", "bad", "no value", "an error", "no JSON"],
)
async def test_web(answer: Response, phase: str) -> None:
    server = Server(answer)
    async with server.up() as url:
        headers = [{"key": "X-Team", "value": "shop"}]
        got = await measured(web(url, method="POST", jsonBody={"a": 1}, headers=headers))
    assert got.phase == phase
    method, path, sent, body = server.asked[0]
    assert (method, path, body) == ("POST", "/health", '{"a":1}')
    assert (sent["x-team"], sent["content-type"]) == ("shop", "application/json")


@pytest.mark.parametrize(
    ("provider", "words"),
    [
        ({}, "exactly one provider"),
        ({"web": {}, "prometheus": {}}, "exactly one provider"),
        (
            {"datadog": {}},
            "provider.datadog: not driven by Serinus: ask its HTTP API with .* web",
        ),
        (
            {"unheard": {}},
            "provider.unheard: not driven by Serinus: use one of prometheus, web, job",
        ),
        ({"plugin": {"a/b": {}}}, r"provider.plugin\[a/b\]: not driven .* of your own in Python"),
        ({"plugin": {"a/b": {}, "c/d": {}}}, "exactly one provider"),
        ({"plugin": "x"}, "provider.plugin"),
    ],
)
def test_a_provider_that_is_not_driven_is_refused_by_name(
    provider: dict[str, Any], words: str
) -> None:
    metric = read(Metric, {"name": "m", "provider": provider})
    with pytest.raises(Refused, match=words):
        provider_of(metric, providers(Http(), {}))


async def test_what_was_asked_of_the_web_is_kept_without_a_password() -> None:
    server = Server(JSONResponse({"rate": 0.5}))
    async with server.up() as address:
        url = address.replace("http://", "http://user:hunter2@") + "/rate?of=shop"
        got = await measured({"provider": {"web": {"url": url}}})
    assert got.metadata == {"ResolvedWebRequest": f"GET {address}/rate?of=shop"}
