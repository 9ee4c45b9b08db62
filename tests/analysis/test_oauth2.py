"""Tokens of the client-credentials grant: fetched once, kept until they end, shown nowhere, never waited for in vain."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from structlog.testing import capture_logs

from agent.analysis.providers import oauth2
from agent.analysis.providers.oauth2 import OAuth2, Tokens
from agent.analysis.providers.port import Asked
from agent.analysis.providers.registry import provider_of, providers
from agent.api.analysis import Measurement, Metric
from agent.api.decode import read
from agent.errors import Refused, Unavailable
from agent.http import Http
from tests.analysis.test_providers import NOW, vector
from tests.analysis.troubled_servers import SAYS, TROUBLES, troubled, web

SECRET = "client-s3cret"


class Issuer:
    """A token endpoint, and a resource that takes only its tokens."""

    def __init__(self, **token: Any) -> None:
        self.token = {"token_type": "bearer", "expires_in": 3600, **token}
        self.issued: list[str] = []
        self.forms: list[dict[str, list[str]]] = []
        self.logins: list[str] = []
        self.only_in_body = False
        self.revoked: set[str] = set()
        self.shown: list[str] = []

    async def answer(self, request: Request) -> Response:
        body = (await request.body()).decode()
        login = request.headers.get("authorization", "")
        if request.url.path == "/token":
            self.forms.append(parse_qs(body))
            self.logins.append(login)
            if self.only_in_body and "client_secret" not in self.forms[-1]:
                return JSONResponse({"error": "invalid_client"}, 401)
            self.issued.append(f"t0ken-{len(self.issued) + 1}")
            return JSONResponse({"access_token": self.issued[-1], **self.token})
        self.shown.append(login)
        token = login.removeprefix("Bearer ")
        if token not in self.issued or token in self.revoked:
            return JSONResponse({"error": "token"}, 401)
        if request.url.path.startswith("/api"):
            return vector("0.5")
        return JSONResponse({"rate": 0.5, "you": login})


def metric(
    kind: str, url: str, token_url: str, path: str = "{$.rate}", seconds: int = 20, **more: Any
) -> Metric:
    login = {
        "tokenUrl": token_url,
        "clientId": "shop",
        "clientSecret": SECRET,
        "scopes": ["a", "b"],
    }
    authentication = {"oauth2": {**login, **more}}
    settings: dict[str, Any] = {
        "web": {"url": f"{url}/x", "jsonPath": path, "timeoutSeconds": seconds},
        "prometheus": {"address": url, "query": "up", "timeout": seconds},
    }
    provider = {kind: {**settings[kind], "authentication": authentication}}
    conditions = {"web": "result != nil", "prometheus": "result[0] > 0"}
    return read(Metric, {"name": "m", "successCondition": conditions[kind], "provider": provider})


class Desk:
    def __init__(self, http: Http, url: str) -> None:
        self._providers = providers(http, {})
        self.url = url

    async def measure(self, kind: str, token_url: str = "", **more: Any) -> Measurement:
        asked = metric(kind, self.url, token_url or f"{self.url}/token", **more)
        return await provider_of(asked, self._providers).measure(Asked(metric=asked, now=NOW))


@asynccontextmanager
async def at(issuer: Issuer) -> AsyncIterator[Desk]:
    http = Http()
    async with web(issuer.answer) as url:
        try:
            yield Desk(http, url)
        finally:
            await http.aclose()


@pytest.mark.parametrize("kind", ["web", "prometheus"])
async def test_one_token_serves_all_measurements_of_a_client(kind: str) -> None:
    issuer = Issuer()
    async with at(issuer) as desk:
        found = await asyncio.gather(*(desk.measure(kind) for _ in range(20)))
        found.append(await desk.measure(kind))
        assert {(m.phase, m.message) for m in found} == {("Successful", "")}
        assert issuer.issued == ["t0ken-1"]
        (form,) = issuer.forms
        assert form == {"grant_type": ["client_credentials"], "scope": ["a b"]}
        pair = base64.b64decode(issuer.logins[0].removeprefix("Basic ")).decode()
        assert pair == f"shop:{SECRET}"
        await desk.measure(kind, scopes=["c"])
        assert issuer.issued == ["t0ken-1", "t0ken-2"]


async def test_a_server_that_wants_the_client_in_the_body_gets_it_there() -> None:
    issuer = Issuer()
    issuer.only_in_body = True
    async with at(issuer) as desk:
        assert (await desk.measure("web")).phase == "Successful"
    assert issuer.forms[1]["client_id"] == ["shop"]
    assert issuer.logins[1] == ""


@pytest.mark.parametrize(("expires_in", "fetched"), [(3600, 1), (5, 3), (None, 1), ("soon", 1)])
async def test_a_token_is_used_until_shortly_before_it_ends(expires_in: Any, fetched: int) -> None:
    issuer = Issuer(expires_in=expires_in)
    async with at(issuer) as desk:
        for _ in range(3):
            assert (await desk.measure("web")).phase == "Successful"
    assert len(issuer.issued) == fetched


async def test_a_token_that_was_revoked_is_replaced_in_the_same_measurement() -> None:
    issuer = Issuer()
    async with at(issuer) as desk:
        await desk.measure("web")
        issuer.revoked.add("t0ken-1")
        assert (await desk.measure("web")).phase == "Successful"
        issuer.revoked |= {"t0ken-2", "t0ken-3"}
        refused = await desk.measure("web")
    assert refused.message == "received non 2xx response code: 401"
    assert len(issuer.issued) == 3


async def test_neither_token_nor_secret_is_shown() -> None:
    """The resource answers with the header it got, the token endpoint with what was wrong about the secret."""
    issuer = Issuer()
    with capture_logs() as logs:
        async with at(issuer) as desk:
            made = await desk.measure("web", path="")
    assert (made.phase, '"you":"Bearer *****"' in made.value) == ("Successful", True)
    assert "t0ken" not in f"{made}{logs}"
    assert SECRET not in f"{made}{logs}"


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (
            JSONResponse({"error": "invalid_client", "error_description": f"not {SECRET}"}, 401),
            "HTTP 401: invalid_client: not *****",
        ),
        (JSONResponse({}, 500), "HTTP 500: no reason"),
        (JSONResponse([]), "HTTP 200 without an answer of a token endpoint"),
        (JSONResponse({}), "no access_token"),
        (JSONResponse({"access_token": 7}), "no access_token"),
        (JSONResponse({"access_token": "x" * 20_000}), "no access_token"),
        (JSONResponse({"access_token": "a\r\nX-B: c"}), "characters that no header may have"),
        (JSONResponse({"access_token": "a", "token_type": "mac"}), "type is 'mac', not Bearer"),
    ],
    ids=[
        "refused",
        "broken",
        "a list",
        "empty",
        "a number",
        "too long",
        "two lines",
        "another type",
    ],
)
async def test_what_is_no_token_is_an_error_that_names_the_endpoint(
    answer: Response, says: str
) -> None:
    async def give(request: Request) -> Response:
        await request.body()
        return answer

    http = Http()
    async with web(give) as url:
        made = await Desk(http, url).measure("web")
        await http.aclose()
    assert made.phase == "Error"
    assert made.message.startswith(f"no OAuth2 token from {url}: ")
    assert says in made.message
    assert SECRET not in made.message


@pytest.mark.parametrize("kind", ["web", "prometheus"])
@pytest.mark.parametrize("trouble", TROUBLES)
async def test_trouble_at_the_token_endpoint_is_bounded_and_named(
    kind: str, trouble: str, tmp_path: Path
) -> None:
    http = Http()
    async with troubled(trouble, tmp_path) as url, web(Issuer().answer) as resource:
        async with asyncio.timeout(10):
            made = await Desk(http, resource).measure(kind, f"{url}/token", seconds=1)
        assert (made.phase, "no OAuth2 token" in made.message) == ("Error", True)
        assert SAYS[trouble] in made.message
    await http.aclose()


async def test_a_hundred_that_wait_for_one_slow_endpoint_wait_once(tmp_path: Path) -> None:
    http = Http()
    async with troubled("slow", tmp_path) as url:
        desk = Desk(http, url)
        async with asyncio.timeout(10):
            found = await asyncio.gather(*(desk.measure("web", seconds=1) for _ in range(100)))
        assert {made.phase for made in found} == {"Error"}
    await http.aclose()


async def test_who_gives_up_takes_the_token_from_nobody() -> None:
    issuer = Issuer()
    async with at(issuer) as desk:
        tasks = [asyncio.create_task(desk.measure("web")) for _ in range(2)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        found = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(found[0], asyncio.CancelledError)
    assert isinstance(found[1], Measurement)
    assert found[1].phase == "Successful"


async def test_tokens_are_kept_of_so_many_clients_and_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(oauth2, "MAX_TOKENS", 2)
    issuer = Issuer()
    async with at(issuer) as desk:
        for scope in ("a", "b", "a", "c", "a", "b"):
            await desk.measure("web", scopes=[scope])
    assert len(issuer.issued) == 4


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, False),
        ({"tokenUrl": "https://idp/token", "clientId": "a", "clientSecret": "b"}, True),
        ({"tokenUrl": "https://idp/token", "clientId": "a"}, "clientSecret"),
        ({"tokenUrl": "https://idp/token"}, "clientId"),
        ({"clientId": "a", "clientSecret": "b"}, "tokenUrl"),
    ],
)
def test_all_of_it_or_nothing(given: dict[str, str], wanted: bool | str) -> None:
    settings = read(OAuth2, given)
    if isinstance(wanted, bool):
        assert settings.is_wanted("web") is wanted
        return
    with pytest.raises(Refused) as error:
        settings.is_wanted("web")
    assert error.value.detail == "missing mandatory parameter in metric for OAuth2 setup"
    assert error.value.field == f"provider.web.authentication.oauth2.{wanted}"


async def test_a_token_endpoint_that_is_no_url_is_named() -> None:
    http = Http()
    with pytest.raises(Unavailable, match="no OAuth2 token"):
        await Tokens(http).request(
            OAuth2(token_url="idp/token", client_id="a", client_secret="b"), "GET", "http://x",
            headers={}, body=b"", seconds=1, verify=True,
        )  # fmt: skip
    await http.aclose()
