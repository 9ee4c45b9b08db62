"""The HTTP door on a real socket: what only a server, its parser and its buffers can get wrong."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from agent import sink as module
from agent.clock import SystemClock
from agent.errors import Unavailable
from agent.events.catalogue import ALERT_FIRING, ALERT_RESOLVED, Alert
from agent.events.event import Event
from agent.http_server import serving
from agent.sink import RawDoor, Sink, Token
from handlers.alert.webhook import translate

CAPTURED = sorted((Path(__file__).parent / "e2e" / "data").glob("alertmanager-*.json"))
STRUCTURED = {"content-type": "application/cloudevents+json"}
TOKEN = {"authorization": "Bearer all-doors"}
EVENT = msgspec.json.encode(
    {
        "specversion": "1.0",
        "id": "1",
        "source": "/t",
        "type": "dev.test",
        "time": "2026-01-01T00:00:00Z",
    }
)


class Taken:
    """Takes events, or raises what it was given."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.events: list[Event] = []

    async def __call__(self, events: Sequence[Event], door: str) -> None:
        if self.error is not None:
            raise self.error
        self.events += events


@asynccontextmanager
async def a_sink(taken: Taken, **options: Any) -> AsyncIterator[tuple[httpx.AsyncClient, int]]:
    """A client of a sink that listens on loopback, and its port."""
    app = Sink(
        taken,
        SystemClock(),
        doors=(RawDoor("/webhooks/alertmanager", "alertmanager", translate),),
        tokens=(Token("ci", "all-doors"),),
        **options,
    ).app
    async with (
        serving(app, host="127.0.0.1", port=0) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        yield client, port


async def spoken(port: int, *said: bytes) -> bytes:
    """The first line that the server answers to these bytes; nothing more is sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for part in said:
            writer.write(part)
        await writer.drain()
        async with asyncio.timeout(5):
            return await reader.readline()
    finally:
        writer.close()
        await writer.wait_closed()


def head(*fields: str, path: str = "/") -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: sink", "Authorization: Bearer all-doors", *fields]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def test_events_are_taken_over_one_connection() -> None:
    taken = Taken()
    async with a_sink(taken) as (client, _):
        for _ in range(20):
            answer = await client.post("/", content=EVENT, headers={**STRUCTURED, **TOKEN})
            assert (answer.status_code, answer.content) == (202, b"")
            assert "server" not in answer.headers
    assert len(taken.events) == 20


@pytest.mark.parametrize(
    "body", [path.read_bytes() for path in CAPTURED], ids=[path.stem for path in CAPTURED]
)
async def test_what_alertmanager_sends_is_taken(body: bytes) -> None:
    taken = Taken()
    headers = {"content-type": "application/json", "user-agent": "Alertmanager/0", **TOKEN}
    async with a_sink(taken) as (client, _):
        for _ in range(2):
            answer = await client.post("/webhooks/alertmanager", content=body, headers=headers)
            assert answer.status_code == 202
    sent = msgspec.json.decode(body)["alerts"]
    first, again = taken.events[: len(sent)], taken.events[len(sent) :]
    assert [event.id for event in first] == [event.id for event in again]
    for alert, event in zip(sent, first, strict=True):
        firing = alert["status"] == "firing"
        assert event.type == (ALERT_FIRING if firing else ALERT_RESOLVED)
        data = msgspec.json.decode(event.data, type=Alert)
        assert (data.fingerprint, data.labels) == (alert["fingerprint"], alert["labels"])
        assert (data.starts_at, event.subject) == (alert["startsAt"], alert["labels"]["alertname"])


def test_there_are_captured_webhooks() -> None:
    assert len(CAPTURED) == 4


async def test_a_long_body_is_refused_before_it_is_sent() -> None:
    async with a_sink(Taken(), max_body=1000) as (_, port):
        assert b" 413 " in await spoken(port, head("Content-Length: 1001"))


async def test_a_long_body_in_chunks_is_refused_before_its_end() -> None:
    async with a_sink(Taken(), max_body=1000) as (_, port):
        chunk = b"200\r\n" + b"x" * 512 + b"\r\n"
        answer = await spoken(port, head("Transfer-Encoding: chunked"), chunk, chunk)
        assert b" 413 " in answer


async def test_without_a_token_no_body_is_waited_for() -> None:
    async with a_sink(Taken()) as (client, port):
        said = b"POST / HTTP/1.1\r\nHost: sink\r\nContent-Length: 100\r\n\r\n"
        assert b" 401 " in await spoken(port, said)
        wrong = await client.post("/", content=EVENT, headers={**TOKEN, "authorization": "x"})
        assert wrong.status_code == 401


async def test_a_body_that_stops_ends_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BODY_SECONDS", 0.05)
    async with a_sink(Taken()) as (_, port):
        assert b" 408 " in await spoken(port, head("Content-Length: 100"), b"{")


async def test_a_sender_that_goes_away_is_not_a_sender() -> None:
    taken = Taken()
    async with a_sink(taken) as (client, port):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head("Content-Length: 100", "Content-Type: application/cloudevents+json"))
        writer.write(EVENT[:50])
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        answer = await client.post("/", content=EVENT, headers={**STRUCTURED, **TOKEN})
        assert answer.status_code == 202
    assert len(taken.events) == 1


@pytest.mark.parametrize(
    "said",
    [b"\x16\x03\x01\x02\x00\x01\r\n\r\n", b"POST\r\n\r\n", head("Content-Length: x")],
    ids=["TLS", "half a request line", "a length that is no number"],
)
async def test_what_is_no_http_is_refused_and_the_door_stays_open(said: bytes) -> None:
    async with a_sink(Taken()) as (client, port):
        assert b" 400 " in await spoken(port, said)
        assert (await client.get("/healthz")).status_code == 200


async def test_later_says_when() -> None:
    taken = Taken(Unavailable("the cluster is away", retry_after_seconds=3.7))
    async with a_sink(taken) as (client, _):
        answer = await client.post("/", content=EVENT, headers={**STRUCTURED, **TOKEN})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "4")


async def test_what_probes_and_scrapers_see() -> None:
    ready = ""
    checks = {"engine": lambda: ready}
    async with a_sink(Taken(), checks=checks, metrics=lambda: (b"up 1\n", "text/plain")) as (
        client,
        _,
    ):
        options = await client.options("/", headers={"webhook-request-origin": "events.example"})
        assert options.headers["webhook-allowed-origin"] == "events.example"
        assert (await client.get("/healthz")).text == "ok\n"
        assert (await client.get("/readyz")).status_code == 200
        ready = "starting"
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.json()["missing"]) == (503, {"engine": "starting"})
        assert (await client.get("/metrics")).status_code == 401
        assert (await client.get("/metrics", headers=TOKEN)).text == "up 1\n"
        assert (await client.get("/nowhere")).status_code == 404
        assert (await client.delete("/")).status_code == 405
