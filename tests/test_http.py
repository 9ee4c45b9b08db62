"""HTTP to the outside, against a server on loopback: bounds, deadlines, and what errors may tell."""

import asyncio
import gc
import gzip
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from agent.errors import Invalid, Refused, Unavailable
from agent.http import Http, TooLong
from agent.http_server import serving

Answer = Callable[[Request], Awaitable[Response]]


@asynccontextmanager
async def answering(answer: Answer) -> AsyncIterator[tuple[Http, str]]:
    """A client, and the URL of a server that answers so."""
    app = Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "POST"])])
    http = Http()
    async with serving(app, host="127.0.0.1", port=0) as port:
        try:
            yield http, f"http://127.0.0.1:{port}"
        finally:
            await http.aclose()


async def test_an_answer_is_whole_whatever_its_status() -> None:
    async def answer(request: Request) -> Response:
        body = await request.body()
        return Response(body.upper(), status_code=418, headers={"X-Kind": request.method})

    async with answering(answer) as (http, url):
        got = await http.request("POST", f"{url}/x", body=b"abc")
        assert (got.status, got.body, got.headers["x-kind"]) == (418, b"ABC", "POST")
        assert await http.post(f"{url}/x", b"{}") == (418, b"{}")


async def test_redirects_are_not_followed() -> None:
    async def answer(request: Request) -> Response:
        del request
        return RedirectResponse("http://127.0.0.1:1/elsewhere")

    async with answering(answer) as (http, url):
        assert (await http.request("GET", url)).status == 307


async def test_a_long_answer_is_not_read_to_its_end() -> None:
    async def answer(request: Request) -> Response:
        del request
        return PlainTextResponse("x" * 100_000)

    async with answering(answer) as (http, url):
        with pytest.raises(TooLong, match="1000 bytes"):
            await http.request("GET", url, max_body=1000)
        assert (await http.request("GET", url)).status == 200


async def test_no_answer_ends_at_the_deadline_and_the_client_stays_usable() -> None:
    release = asyncio.Event()

    async def answer(request: Request) -> Response:
        if request.path_params["path"] == "slow":
            await release.wait()
        return PlainTextResponse("ok")

    async with answering(answer) as (http, url):
        with pytest.raises(Unavailable, match=r"within 0\.05 s"):
            await http.request("GET", f"{url}/slow", seconds=0.05)
        assert (await http.request("GET", url)).body == b"ok"
        release.set()


async def test_an_answer_in_drops_ends_at_the_deadline() -> None:
    async def drops() -> AsyncIterator[bytes]:
        for _ in range(1000):
            yield b"."
            await asyncio.sleep(0.01)

    async def answer(request: Request) -> Response:
        del request
        return StreamingResponse(drops())

    async with answering(answer) as (http, url):
        with pytest.raises(Unavailable, match="within"):
            await http.request("GET", url, seconds=0.1)


async def test_a_caller_that_is_cancelled_costs_no_connection() -> None:
    release = asyncio.Event()
    waiting = asyncio.Event()

    async def answer(request: Request) -> Response:
        if request.path_params["path"] == "slow":
            waiting.set()
            await release.wait()
        return PlainTextResponse("ok")

    async with answering(answer) as (http, url):
        for _ in range(5):
            waiting.clear()
            task = asyncio.create_task(http.request("GET", f"{url}/slow"))
            await asyncio.wait_for(waiting.wait(), 5)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        release.set()
        assert (await http.request("GET", url)).body == b"ok"


async def test_after_much_cancelling_plain_requests_still_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """httpx loses places of its pool for good when requests are cancelled; ours must not be."""
    rng = random.Random(3)
    monkeypatch.setattr("agent.http.MOST_AT_ONCE", 10)
    monkeypatch.setattr("agent.http.MOST_RESTING", 5)

    async def answer(request: Request) -> Response:
        await asyncio.sleep(rng.uniform(0, 0.01))
        closes = {"connection": "close"} if rng.random() < 0.5 else {}
        return PlainTextResponse("ok", headers=closes)

    async def impatient(http: Http, url: str) -> int:
        given_up = 0
        for _ in range(12):
            try:
                async with asyncio.timeout(rng.uniform(0, 0.012)):
                    await http.request("GET", url)
            except TimeoutError:
                given_up += 1
        return given_up

    async with answering(answer) as (http, url):
        given_up = await asyncio.gather(*(impatient(http, url) for _ in range(30)))
        assert sum(given_up) > 30
        for _ in range(3):
            assert (await http.request("GET", url, seconds=40)).body == b"ok"
        many = await asyncio.gather(*(http.request("GET", url, seconds=40) for _ in range(100)))
        assert {got.status for got in many} == {200}


async def _peers(http: Http, url: str, many: int, **more: Any) -> list[str]:
    """The connections that as many requests at once came by, as the server sees them."""
    found = await asyncio.gather(*(http.request("GET", url, **more) for _ in range(many)))
    return [got.body.decode() for got in found]


async def _peer(request: Request) -> Response:
    assert request.client is not None
    return PlainTextResponse(str(request.client.port))


async def test_a_connection_carries_one_request_at_a_time_and_the_next_one_afterwards() -> None:
    async with answering(_peer) as (http, url):
        first = await _peers(http, url, 8)
        assert len(set(first)) == 8
        assert set(await _peers(http, url, 8)) == set(first)
        # One by one: the connection that was used last.
        assert len({(await _peers(http, url, 1))[0] for _ in range(5)}) == 1


async def test_a_connection_is_of_one_server_and_one_way_to_verify_it() -> None:
    async with answering(_peer) as (http, url), answering(_peer) as (_, other):
        strict = await _peers(http, url, 1)
        assert await _peers(http, url, 1, verify=False) != strict
        assert await _peers(http, other, 1) != strict
        assert await _peers(http, url, 1) == strict


async def test_few_connections_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.http.MOST_RESTING", 3)
    async with answering(_peer) as (http, url):
        first = await _peers(http, url, 8)
        assert len(set(first) & set(await _peers(http, url, 8))) == 3


async def test_a_connection_that_rests_for_too_long_is_closed_with_the_next_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    closed = asyncio.Event()

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        assert await reader.read() == b""
        closed.set()
        writer.close()

    async with (
        await asyncio.start_server(speak, "127.0.0.1", 0) as server,
        answering(_peer) as (http, url),
    ):
        port = server.sockets[0].getsockname()[1]
        await http.request("GET", f"http://127.0.0.1:{port}/")
        await http.request("GET", url)
        assert not closed.is_set()
        monkeypatch.setattr("agent.http.REST_SECONDS", 0.0)
        await http.request("GET", url)
        await asyncio.wait_for(closed.wait(), 5)


async def test_after_a_request_that_failed_the_next_one_is_answered() -> None:
    release = asyncio.Event()

    async def answer(request: Request) -> Response:
        if request.path_params["path"] == "slow":
            await release.wait()
        return await _peer(request)

    async with answering(answer) as (http, url):
        before = await _peers(http, url, 1)
        with pytest.raises(Unavailable):
            await http.request("GET", f"{url}/slow", seconds=0.05)
        assert await _peers(http, url, 1) != before
        release.set()
        # A client that is left open is a warning at its collection, and warnings are errors here.
        gc.collect()


async def test_requests_to_all_servers_together_are_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("agent.http.MOST_CONNECTIONS", 2)
    release = asyncio.Event()

    async def hang(request: Request) -> Response:
        del request
        await release.wait()
        return PlainTextResponse("late")

    async with answering(hang) as (http, slow), answering(_peer) as (_, fine):
        waiting = [asyncio.create_task(http.request("GET", slow)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="2 requests wait for other servers"):
            await http.request("GET", fine, seconds=0.05)
        release.set()
        assert [(await one).body for one in waiting] == [b"late", b"late"]
        assert (await http.request("GET", fine)).status == 200


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (b"", "disconnected"),
        (b"SSH-2.0-server\r\n", "127.0.0.1"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", "127.0.0.1"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc", "127.0.0.1"),
    ],
    ids=["nothing", "another protocol", "half a body", "no gzip"],
)  # fmt: skip
async def test_what_is_no_whole_answer_is_no_answer(said: bytes, words: str) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    http = Http()
    async with server:
        with pytest.raises(Unavailable, match=words):
            await http.request("GET", f"http://127.0.0.1:{port}/", seconds=5)
        await http.aclose()


async def test_a_small_answer_that_unpacks_to_a_long_one_is_not_kept() -> None:
    packed = gzip.compress(b"0" * 5_000_000)

    async def answer(request: Request) -> Response:
        return Response(packed, headers={"content-encoding": "gzip"})

    async with answering(answer) as (http, url):
        with pytest.raises(TooLong):
            await http.request("GET", url)


@pytest.mark.parametrize(
    "url",
    ["http://user:pw@127.0.0.1:1/bot1:secret/x?token=secret", "http://[", "ftp://x/secret", ""],
)
async def test_errors_show_the_host_only(url: str) -> None:
    http = Http()
    with pytest.raises(Unavailable) as error:
        await http.request("GET", url, seconds=2)
    await http.aclose()
    assert "secret" not in str(error.value)
    assert "pw" not in str(error.value)


async def test_a_port_in_use_is_named() -> None:
    async def answer(request: Request) -> Response:
        del request
        return PlainTextResponse("ok")

    async with answering(answer) as (_, url):
        port = int(url.rpartition(":")[2])
        with pytest.raises(Invalid, match=f"127.0.0.1:{port}"):
            async with serving(Starlette(), host="127.0.0.1", port=port):
                pass


async def test_a_server_that_does_not_answer_keeps_its_own_places_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("agent.http.MOST_AT_ONCE", 5)
    release = asyncio.Event()

    async def hang(request: Request) -> Response:
        del request
        await release.wait()
        return PlainTextResponse("late")

    async def answer(request: Request) -> Response:
        del request
        return PlainTextResponse("ok")

    async with answering(hang) as (http, slow), answering(answer) as (_, fine):
        waiting = [asyncio.create_task(http.request("GET", slow, seconds=0.5)) for _ in range(40)]
        await asyncio.sleep(0)
        assert (await http.request("GET", fine)).body == b"ok"
        found = await asyncio.gather(*waiting, return_exceptions=True)
        said = {str(error).partition(" s: ")[2] for error in found}
        assert said == {"", "5 requests wait for it already"}
        release.set()


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({"Authorization": "Bearer s3cret\n"}, "header 'Authorization' cannot be sent"),
        ({"X-Key": "s3crét"}, "header 'X-Key' cannot be sent"),
        ({"X Key": "s3cret"}, "'X Key' is no name of a header"),
    ],
)
async def test_a_header_that_cannot_be_sent_is_named_and_not_shown(
    headers: dict[str, str], words: str
) -> None:
    http = Http()
    with pytest.raises(Unavailable, match=words) as error:
        await http.request("GET", "http://127.0.0.1:1/", headers=headers)
    assert "s3cr" not in str(error.value)
    await http.aclose()


def test_authorities_that_cannot_be_read_are_refused_with_the_setting() -> None:
    with pytest.raises(Refused, match=r"http\.ca_file: /nowhere\.pem"):
        Http(ca_file="/nowhere.pem")
