"""A watch over TLS that is hung up on leaves no connection, whatever the server does."""

import asyncio
import gc
import socket
import ssl
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from agent.cluster.transport import hang_up
from tests.e2e.bed.certificates import self_signed

ANSWER = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """Of a server that begins an answer, and then neither says nor hears anything."""
    certificate = tmp_path / "server.pem"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, self_signed(certificate))
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            peer, _ = listener.accept()
            with context.wrap_socket(peer, server_side=True) as stream:
                stream.recv(4096)
                stream.sendall(ANSWER)
                over.wait(30)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"https://127.0.0.1:{listener.getsockname()[1]}/"
        over.set()
        thread.join(30)


def test_a_watch_that_is_hung_up_on_leaves_no_connection(url: str) -> None:
    async def main() -> None:
        async with aiohttp.ClientSession() as session:
            response = await session.get(url, ssl=False)
            assert await response.content.read(3) == b"abc"
            hang_up(response)

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        asyncio.run(main())
        gc.collect()
    assert [str(warning.message) for warning in said] == []
