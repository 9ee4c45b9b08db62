"""What servers do to a measurement when they are slow, wrong, huge or strange: never success, always a reason."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from agent.analysis.providers.port import Asked
from agent.analysis.providers.prometheus import plan
from agent.analysis.providers.prometheus_answers import convert
from agent.analysis.providers.registry import provider_of, providers
from agent.api.analysis import Measurement, Metric
from agent.api.decode import read
from agent.http import Answer as HttpAnswer
from agent.http import Http
from agent.http_server import serving

NOW = datetime(2026, 1, 1, tzinfo=UTC)
Answer = Callable[[Request], Awaitable[Response]]
GENEROUS = "true"
"""A condition that anything meets: only trouble can keep it from success."""


def metric(kind: str, server: str, condition: str = GENEROUS, **more: Any) -> Metric:
    settings: dict[str, Any] = {
        "prometheus": {"address": server, "query": "up", "timeout": 1, **more},
        "web": {"url": f"{server}/health", "jsonPath": "{$.state}", "timeoutSeconds": 1, **more},
    }
    provider = {kind: settings[kind]}
    return read(Metric, {"name": "m", "successCondition": condition, "provider": provider})


async def measured(asked: Metric) -> Measurement:
    http = Http()
    try:
        provider = provider_of(asked, providers(http, {}))
        return await provider.measure(Asked(metric=asked, now=NOW))
    finally:
        await http.aclose()


async def answered(kind: str, answer: Answer, condition: str = GENEROUS) -> Measurement:
    app = Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "POST"])])
    async with serving(app, host="127.0.0.1", port=0) as port:
        return await measured(metric(kind, f"http://127.0.0.1:{port}", condition))


def always(response: Response) -> Answer:
    async def answer(request: Request) -> Response:
        await request.body()
        return response

    return answer


def success(data: Any, **more: Any) -> Response:
    return JSONResponse({"status": "success", "data": data, **more})


def converted(response: Response, condition: str = GENEROUS) -> Measurement:
    """What Prometheus' answer comes to, without a server."""
    answer = HttpAnswer(response.status_code, {}, bytes(response.body))
    asked = metric("prometheus", "http://prometheus.example", condition)
    return convert(Asked(metric=asked, now=NOW), answer, plan(asked, "", NOW))


def vector(*values: Any) -> Any:
    return {
        "resultType": "vector",
        "result": [{"metric": {}, "value": [NOW.timestamp(), value]} for value in values],
    }


@pytest.mark.parametrize("kind", ["prometheus", "web"])
@pytest.mark.parametrize(
    ("response", "says"),
    [
        (HTMLResponse("<html>sign in</html>"), ""),
        (HTMLResponse("<html>sign in</html>", status_code=401), "40"),
        (RedirectResponse("http://127.0.0.1:1/login", status_code=302), "302"),
        (Response(status_code=204), ""),
        (Response(b"x" * 10_000_000), "longer than"),
        (JSONResponse({"status": "success", "data": {}}, status_code=503), "503"),
        (Response(b'{"status": "success", "data":', media_type="application/json"), ""),
        (JSONResponse([]), ""),
        (JSONResponse(None), ""),
    ],
    ids=[
        "a page", "a page that asks to sign in", "a redirect", "nothing", "10 MB", "unavailable",
        "half an answer", "a list", "null",
    ],
)  # fmt: skip
async def test_what_is_no_answer_is_an_error_with_a_reason(
    kind: str, response: Response, says: str
) -> None:
    got = await answered(kind, always(response))
    assert got.phase == "Error"
    assert got.message
    if "sign in" not in str(response.body) or kind == "web":
        assert says in got.message


def test_only_a_condition_s_own_words_let_nothing_pass() -> None:
    """As in Argo, in both kinds of compatibility: who writes this has said what no data means."""
    condition = "len(result) == 0 || result[0] > 0.9"
    got = converted(success(vector()), condition)
    assert (got.phase, got.value) == ("Successful", "[]")


@pytest.mark.parametrize("kind", ["prometheus", "web"])
async def test_a_slow_server_is_an_error_within_the_deadline(kind: str) -> None:
    release = asyncio.Event()

    async def answer(request: Request) -> Response:
        await release.wait()
        return JSONResponse({})

    app = Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "POST"])])
    async with serving(app, host="127.0.0.1", port=0) as port:
        got = await measured(metric(kind, f"http://127.0.0.1:{port}"))
        release.set()
    assert (got.phase, "did not answer within" in got.message) == ("Error", True)


@pytest.mark.parametrize("kind", ["prometheus", "web"])
async def test_a_server_that_is_not_there_is_an_error_that_names_it(kind: str) -> None:
    got = await measured(metric(kind, "http://127.0.0.1:1"))
    assert (got.phase, "127.0.0.1:1" in got.message) == ("Error", True)


@pytest.mark.parametrize(
    "data",
    [
        {}, [], None, "text", {"resultType": "vector"}, {"resultType": "vector", "result": [{}]},
        {"resultType": "vector", "result": "x"}, {"resultType": "string", "result": [1, "1"]},
        {"resultType": "scalar", "result": [1]}, {"resultType": "scalar", "result": []},
        {"resultType": "matrix", "result": [{"values": [[1]]}]}, {"resultType": 7, "result": []},
        vector("many"), vector(None), vector([]),
    ],
    ids=repr,
)  # fmt: skip
def test_data_of_another_shape_is_an_error(data: Any) -> None:
    got = converted(success(data))
    assert got.phase == "Error"
    assert "query API" in got.message


@pytest.mark.parametrize(
    ("values", "condition", "phase"),
    [
        ((), "result[0] > 0.9", "Error"),
        ((), "len(result) > 0 && result[0] > 0.9", "Failed"),
        (("NaN",), "result[0] > 0.9", "Failed"),
        (("NaN", "0.99"), "all(result, {# > 0.9})", "Failed"),
        (("+Inf",), "result[0] < 0.9", "Failed"),
        (("0.99",), "result[0] > 0.9", "Successful"),
    ],
    ids=[
        "nothing", "nothing, and a condition that looks first", "NaN is not above",
        "NaN beside a number", "infinite", "a number",
    ],
)  # fmt: skip
def test_no_data_and_no_number_are_never_health(
    values: tuple[str, ...], condition: str, phase: str
) -> None:
    got = converted(success(vector(*values)), condition)
    assert got.phase == phase, got.message


@pytest.mark.parametrize(
    ("warnings", "kept"),
    [
        (["partial response", "b"], '"partial response","b"'),
        ([], None),
        (None, None),
        (7, "7"),
        ("partial", '"partial"'),
    ],
)
def test_an_answer_with_warnings_is_no_success_and_keeps_them(
    warnings: Any, kept: str | None
) -> None:
    got = converted(success(vector("1"), warnings=warnings), "result[0] > 0.9")
    assert got.phase == ("Error" if kept else "Successful")
    assert got.value == "[1]"
    assert (got.metadata or {}).get("warnings") == kept
    assert (got.metadata or {}).get("missingData") == ("query warning" if kept else None)


def test_hints_of_prometheus_are_kept_and_change_nothing() -> None:
    got = converted(success(vector("1"), infos=["might not be a counter"]), "result[0] > 0.9")
    assert got.phase == "Successful"
    assert (got.metadata or {})["infos"] == '"might not be a counter"'


@pytest.mark.parametrize(
    ("age", "phase"), [(0, "Successful"), (59, "Successful"), (61, "Error"), (-30, "Successful")]
)
def test_an_answer_from_a_cache_is_stale(age: float, phase: str) -> None:
    sample = {"metric": {}, "value": [NOW.timestamp() - age, "1"]}
    got = converted(success({"resultType": "vector", "result": [sample]}), "result[0] > 0.9")
    assert got.phase == phase
    if phase == "Error":
        assert (got.metadata or {})["missingData"] == "stale sample"
        assert "61 s older" in got.message


@pytest.mark.parametrize(
    ("second", "phase", "says"),
    [
        pytest.param(success({"resultType": "vector", "result": []}), "Error", None, id="not live"),
        pytest.param(success(vector("1")), "Successful", "unknown", id="another answer"),
        pytest.param(
            JSONResponse({"status": "error", "error": "no group"}, 400),
            "Successful",
            "unknown",
            id="a server without such functions",
        ),
        pytest.param(Response(status_code=503), "Successful", "unknown", id="away again"),
    ],
)
async def test_the_series_behind_a_rate_are_asked_for_once_more(
    second: Response, phase: str, says: str | None
) -> None:
    async def answer(request: Request) -> Response:
        asks_again = b"serinus_probe" in await request.body()
        return second if asks_again else success(vector("1"))

    app = Starlette(routes=[Route("/{path:path}", answer, methods=["POST"])])
    async with serving(app, host="127.0.0.1", port=0) as port:
        asked = metric(
            "prometheus", f"http://127.0.0.1:{port}", "result[0] > 0.9", query="rate(x[2m])"
        )
        got = await measured(asked)
    assert got.phase == phase, got.message
    assert says is None or (got.metadata or {})["freshness"].startswith(says)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("web", {"timeoutSeconds": "soon"}),
        ("web", {"timeoutSeconds": -1}),
        ("web", {"headers": ["X-A: b"]}),
        ("web", {"headers": [{"key": "X A", "value": "b"}]}),
        ("web", {"headers": [{"key": "X-A", "value": "b\r\nX-B: c"}]}),
        ("web", {"url": ""}),
        ("web", {"url": "file:///etc/passwd"}),
        ("web", {"jsonPath": "{$.["}),
        ("web", {"method": 7}),
        ("prometheus", {"timeout": "soon"}),
        ("prometheus", {"headers": [7]}),
        ("prometheus", {"address": 7}),
        ("prometheus", {"authentication": {"basicAuth": "x"}}),
        ("prometheus", {"authentication": "x"}),
        ("prometheus", {"rangeQuery": 7}),
        ("prometheus", {"rangeQuery": {"start": "now()", "end": "now()", "step": "0s"}}),
    ],
    ids=str,
)
async def test_settings_of_a_wrong_shape_are_an_error_not_a_crash(
    kind: str, settings: dict[str, Any]
) -> None:
    app = Starlette(
        routes=[Route("/{path:path}", always(success({})), methods=["GET", "POST", "PUT"])]
    )
    async with serving(app, host="127.0.0.1", port=0) as port:
        got = await measured(metric(kind, f"http://127.0.0.1:{port}", **settings))
    assert (got.phase, bool(got.message)) == ("Error", True)
