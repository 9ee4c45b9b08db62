"""The HTTP door: who may enter, and what is answered."""

import asyncio
import base64
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import httpx
import msgspec
import pytest

from agent import sink as module
from agent.clock import SystemClock
from agent.errors import Refused, Unavailable
from agent.events.event import Event
from agent.sink import RawDoor, Sink, Token
from handlers.alert.webhook import translate

EVENT: dict[str, Any] = {
    "specversion": "1.0",
    "id": "1",
    "source": "/t",
    "type": "dev.test",
    "time": "2026-01-01T00:00:00Z",
    "partitionkey": "k",
    "data": {"a": 1},
}
STRUCTURED = {"content-type": "application/cloudevents+json"}


class Taken:
    """Takes events, or raises what it was given."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.events: list[tuple[str, Event]] = []

    async def __call__(self, events: Sequence[Event], door: str) -> None:
        if self.error is not None:
            raise self.error
        self.events += [(door, event) for event in events]


def client(taken: Taken, **options: Any) -> httpx.AsyncClient:
    doors = (RawDoor("/webhooks/alertmanager", "alertmanager", translate),)
    app = Sink(taken, SystemClock(), doors=doors, **options).app
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://sink")


def body(**changes: Any) -> bytes:
    return msgspec.json.encode({**EVENT, **changes})


async def test_a_structured_event_is_taken() -> None:
    taken = Taken()
    async with client(taken) as http:
        answer = await http.post("/", content=body(), headers=STRUCTURED)
    assert (answer.status_code, answer.content) == (202, b"")
    assert [(door, event.id) for door, event in taken.events] == [("cloudevents", "1")]


async def test_a_binary_event_is_taken() -> None:
    taken = Taken()
    headers = {f"ce-{name}": str(value) for name, value in EVENT.items() if name != "data"}
    async with client(taken) as http:
        answer = await http.post(
            "/", content=b'{"a":1}', headers={**headers, "content-type": "application/json"}
        )
    assert answer.status_code == 202
    assert taken.events[0][1].data == b'{"a":1}'


async def test_a_batch_is_taken_in_order() -> None:
    taken = Taken()
    batch = msgspec.json.encode([{**EVENT, "id": str(n)} for n in range(3)])
    async with client(taken) as http:
        answer = await http.post(
            "/", content=batch, headers={"content-type": "application/cloudevents-batch+json"}
        )
    assert answer.status_code == 202
    assert [event.id for _, event in taken.events] == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("content", "headers", "said"),
    [
        (b"{", STRUCTURED, "JSON"),
        (msgspec.json.encode({"specversion": "1.0"}), STRUCTURED, "id"),
        (b"hello", {"content-type": "text/plain"}, "specversion"),
    ],
    ids=["not JSON", "an attribute is missing", "no CloudEvent"],
)
async def test_what_is_no_event_is_refused_with_the_reason(
    content: bytes, headers: dict[str, str], said: str
) -> None:
    taken = Taken()
    async with client(taken) as http:
        answer = await http.post("/", content=content, headers=headers)
    assert answer.status_code == 400
    assert said in answer.json()["error"]
    assert taken.events == []


async def test_a_raw_door_translates() -> None:
    webhook = {
        "version": "4",
        "alerts": [
            {
                "status": "firing",
                "labels": {"alertname": "A"},
                "startsAt": "2026-01-01T00:00:00Z",
                "fingerprint": "f",
            }
        ],
    }
    taken = Taken()
    async with client(taken) as http:
        answer = await http.post("/webhooks/alertmanager", content=msgspec.json.encode(webhook))
        wrong = await http.post("/webhooks/alertmanager", content=b"{}")
    assert answer.status_code == 202
    assert [(door, event.subject) for door, event in taken.events] == [("alertmanager", "A")]
    assert wrong.status_code == 400
    assert "alerts" in wrong.json()["error"]


@pytest.mark.parametrize(
    ("error", "status", "after"),
    [
        (Refused("no such thing"), 400, None),
        (Unavailable("the bus is away"), 503, "1"),
        (Unavailable("the bus is away", retry_after_seconds=7), 503, "7"),
    ],
)
async def test_later_is_never_a_refusal(error: Exception, status: int, after: str | None) -> None:
    async with client(Taken(error)) as http:
        answer = await http.post("/", content=body(), headers=STRUCTURED)
    assert (answer.status_code, answer.headers.get("retry-after")) == (status, after)
    # What is wrong inside is not told to the outside.
    assert "bus" not in answer.text


@pytest.mark.parametrize("declared", [True, False], ids=["declared", "chunked"])
async def test_a_long_body_is_not_read_to_its_end(declared: bool) -> None:
    sent = 0

    async def chunks() -> Any:
        nonlocal sent
        for _ in range(1000):
            sent += 1
            yield b"x" * 100

    headers = {**STRUCTURED, **({"content-length": "100000"} if declared else {})}
    async with client(Taken(), max_body=1024) as http:
        answer = await http.post("/", content=chunks(), headers=headers)
    assert answer.status_code == 413
    assert "1024" in answer.json()["error"]
    assert sent < 1000 or declared


async def test_a_body_that_does_not_arrive_ends_the_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "BODY_SECONDS", 0.01)
    messages: list[dict[str, Any]] = []

    async def receive() -> Any:
        # A client that has sent its headers and nothing more.
        await _never()

    async def send(message: Any) -> None:
        messages.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "headers": [(b"content-type", b"application/cloudevents+json")],
        "http_version": "1.1",
        "scheme": "http",
        "server": ("sink", 80),
    }
    taken = Taken()
    await Sink(taken, SystemClock()).app(scope, receive, send)
    assert messages[0]["status"] == 408
    assert taken.events == []


async def test_an_acceptance_without_end_is_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ACCEPT_SECONDS", 0.01)

    class Stuck(Taken):
        async def __call__(self, events: Sequence[Event], door: str) -> None:
            await _never()

    async with client(Stuck()) as http:
        answer = await http.post("/", content=body(), headers=STRUCTURED)
    assert answer.status_code == 503


async def _never() -> None:
    await asyncio.Event().wait()


async def test_too_many_headers_are_refused() -> None:
    headers = {f"x-{n}": "1" for n in range(module.MAX_HEADERS + 1)}
    async with client(Taken()) as http:
        answer = await http.post("/", content=body(), headers={**STRUCTURED, **headers})
    assert answer.status_code == 431


def basic(secret: str) -> str:
    return "Basic " + base64.b64encode(f"prometheus:{secret}".encode()).decode()


TOKENS = (Token("ci", "all-doors"), Token("am", "one-door", ("alertmanager",)))


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        ("", 401),
        ("Bearer wrong", 401),
        ("Bearer all-doors", 202),
        ("bearer all-doors", 202),
        (basic("all-doors"), 202),
        (basic("wrong"), 401),
        ("Basic ###", 401),
        ("Bearer one-door", 401),
        ("Digest all-doors", 401),
        ("Bearer ümlaut", 401),
    ],
)
async def test_a_door_opens_to_its_tokens_only(authorization: str, status: int) -> None:
    taken = Taken()
    headers: Mapping[str, Any] = {**STRUCTURED, "authorization": authorization.encode()}
    async with client(taken, tokens=TOKENS) as http:
        answer = await http.post("/", content=body(), headers=headers)
    assert answer.status_code == status
    assert len(taken.events) == (status == 202)
    if status == 401:
        assert answer.headers["www-authenticate"] == "Bearer"


async def test_nothing_is_read_before_the_token() -> None:
    read = 0

    async def chunks() -> Any:
        nonlocal read
        for _ in range(100):
            read += 1
            yield b"x"

    async with client(Taken(), tokens=TOKENS) as http:
        answer = await http.post("/", content=chunks(), headers=STRUCTURED)
    assert (answer.status_code, read) == (401, 0)


def test_a_token_does_not_show_its_secret() -> None:
    assert "all-doors" not in repr(TOKENS)


async def test_metrics_need_a_token_and_probes_do_not() -> None:
    async with client(Taken(), tokens=TOKENS, metrics=lambda: (b"up 1\n", "text/plain")) as http:
        refused = await http.get("/metrics")
        shown = await http.get("/metrics", headers={"authorization": "Bearer all-doors"})
        alive = await http.get("/healthz")
    assert (refused.status_code, shown.status_code, shown.text) == (401, 200, "up 1\n")
    assert alive.status_code == 200


@pytest.mark.parametrize(("reason", "status"), [("", 200), ("not synced", 503)])
async def test_readiness_names_what_is_missing(reason: str, status: int) -> None:
    checks: dict[str, Callable[[], str]] = {"cluster": lambda: reason, "bus": lambda: ""}
    async with client(Taken(), checks=checks) as http:
        answer = await http.get("/readyz")
    assert answer.status_code == status
    assert answer.json() == {
        "ready": not reason,
        "missing": {"cluster": reason} if reason else {},
    }


@pytest.mark.parametrize("note", ["", "companion: another engine lives"])
async def test_a_note_is_shown_and_keeps_nobody_from_being_ready(note: str) -> None:
    async with client(Taken(), notes={"engine": lambda: note}) as http:
        answer = await http.get("/readyz")
    assert answer.status_code == 200
    assert answer.json().get("notes") == ({"engine": note} if note else None)


async def test_the_webhook_handshake_is_answered() -> None:
    async with client(Taken()) as http:
        answer = await http.options("/", headers={"webhook-request-origin": "events.example"})
        wrong = await http.get("/")
    assert answer.headers["webhook-allowed-origin"] == "events.example"
    assert wrong.status_code == 405


def at(_body: bytes, _headers: Mapping[str, str], now: datetime) -> list[Event]:
    assert now.tzinfo is not None
    return []


async def test_a_door_without_events_is_taken() -> None:
    app = Sink(Taken(), SystemClock(), doors=(RawDoor("/x", "x", at),)).app
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://sink") as http:
        assert (await http.post("/x", content=b"?")).status_code == 202
