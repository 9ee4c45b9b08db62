"""Servers on loopback with every trouble that a measurement may meet."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from agent.http_server import serving
from tests.e2e.bed.certificates import self_signed

Answer = Callable[[Request], Awaitable[Response]]

TROUBLES: Final = ("down", "slow", "a page", "10 MB", "redirecting", "wrong TLS", "endless head")
SAYS: Final = {
    "down": "127.0.0.1",
    "slow": "did not answer within",
    "a page": "",
    "10 MB": "longer than",
    "redirecting": "30",
    "wrong TLS": "certificate verify failed",
    "endless head": "did not answer within",
}
"""What a message about each must hold."""


@asynccontextmanager
async def web(answer: Answer) -> AsyncIterator[str]:
    """The URL of a server that answers so."""
    app = Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "POST", "PUT"])])
    async with serving(app, host="127.0.0.1", port=0) as port:
        yield f"http://127.0.0.1:{port}"


@asynccontextmanager
async def troubled(trouble: str, directory: Path) -> AsyncIterator[str]:
    """The URL of a server with this trouble."""
    release = asyncio.Event()

    async def answer(request: Request) -> Response:
        await request.body()
        if trouble == "slow":
            await release.wait()
        if trouble == "10 MB":
            return Response(b"1" * 10_000_000)
        if trouble == "redirecting":
            return RedirectResponse("http://127.0.0.1:1/login", status_code=302)
        return HTMLResponse("<html>sign in</html>")

    async with AsyncExitStack() as stack:
        if trouble == "down":
            yield "http://127.0.0.1:1"
        elif trouble == "wrong TLS":
            certificate = directory / "wrong.pem"
            yield await stack.enter_async_context(tls(b"{}", certificate))
        elif trouble == "endless head":
            yield await stack.enter_async_context(_dripping())
        else:
            url = await stack.enter_async_context(web(answer))
            stack.callback(release.set)
            yield url


@asynccontextmanager
async def tls(body: bytes, certificate: Path) -> AsyncIterator[str]:
    """The URL of a server whose certificate, made here, is its own authority."""
    key = await asyncio.to_thread(self_signed, certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.readuntil(b"\r\n\r\n")
        if b"content-length: " in asked.lower():
            await reader.read(65536)
        writer.write(head + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0, ssl=context)
    async with server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@asynccontextmanager
async def _dripping() -> AsyncIterator[str]:
    """A server that begins its answer again and again and never ends the head."""
    writers: list[asyncio.StreamWriter] = []

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n")
        try:
            while not writer.is_closing():
                writer.write(b"X-A: b\r\n")
                await writer.drain()
                await asyncio.sleep(0.2)
        except (ConnectionError, asyncio.CancelledError):
            return

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for writer in writers:
            writer.close()
