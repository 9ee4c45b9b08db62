"""A very small HTTP/1.1 server on loopback: enough for the demo's upstreams and stand-ins, and fast."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from http import HTTPStatus

import msgspec

MAX_REQUEST = 1 << 20
STOP_SECONDS = 2.0


class Request(msgspec.Struct, frozen=True):
    """`path` without the query; header names in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class Answer(msgspec.Struct, frozen=True):
    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = {}
    content_type: str = "text/plain"


Handler = Callable[[Request], Answer]


@contextlib.asynccontextmanager
async def serving(handler: Handler, *, port: int = 0) -> AsyncIterator[tuple[str, int]]:
    """Serve `handler` on 127.0.0.1; yields (host, port). Open connections end with the context."""
    loop = asyncio.get_running_loop()
    connections: list[_Connection] = []
    server = await loop.create_server(
        lambda: _Connection(handler, connections), "127.0.0.1", port, backlog=512
    )
    try:
        host, bound = server.sockets[0].getsockname()[:2]
        yield host, bound
    finally:
        server.close()
        for connection in tuple(connections):
            connection.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(server.wait_closed(), STOP_SECONDS)


class _Connection(asyncio.Protocol):
    """One keep-alive connection; requests are answered in order."""

    def __init__(self, handler: Handler, open_connections: list["_Connection"]) -> None:
        self._handler = handler
        self._open = open_connections
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            self._transport = transport
            self._open.append(self)

    def connection_lost(self, _exc: Exception | None) -> None:
        self._open.remove(self)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while self._transport is not None and not self._transport.is_closing():
            parsed = _parse(self._buffer)
            if parsed is None:
                if len(self._buffer) > MAX_REQUEST:
                    self._transport.close()
                return
            request, used = parsed
            self._buffer = self._buffer[used:]
            self._transport.write(_encode(self._handler(request)))


def _parse(buffer: bytes) -> tuple[Request, int] | None:
    """The first whole request of the buffer and its length; None while it is incomplete."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return None
    first, *lines = buffer[:end].decode("latin-1").split("\r\n")
    method, target, _version = (*first.split(" ", 2), "", "")[:3]
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    length = headers.get("content-length", "0")
    total = end + 4 + (int(length) if length.isdecimal() else 0)
    if len(buffer) < total:
        return None
    return Request(method, target.partition("?")[0], headers, buffer[end + 4 : total]), total


def _encode(answer: Answer) -> bytes:
    lines = [
        f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}",
        f"content-type: {answer.content_type}",
        f"content-length: {len(answer.body)}",
        *(f"{name}: {value}" for name, value in answer.headers.items()),
    ]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + answer.body
