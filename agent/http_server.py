"""An HTTP server as an owned resource: starts when entered, ends in bounded time, leaves signals alone."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

import uvicorn

from agent.errors import Invalid

START_SECONDS: Final = 10.0
STOP_SECONDS: Final = 5.0


class _Server(uvicorn.Server):
    """uvicorn without signal handlers: the process decides when its parts end."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def serving(
    app: Any, *, host: str, port: int, keep_alive_seconds: int = 30
) -> AsyncIterator[int]:
    """Serve an ASGI app while the context lasts; yields the port that was bound (port 0: a free one).

    Raises Invalid when the address cannot be bound.
    """
    try:
        listener = socket.create_server((host, port), backlog=512, reuse_port=False)
    except OSError as error:
        raise Invalid(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    # Accepted sockets inherit it; asyncio sets it only on sockets that name their protocol, and without it
    # a kept-alive connection answers 40 ms late (Nagle against delayed acknowledgements).
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        server_header=False,
        timeout_keep_alive=keep_alive_seconds,
        timeout_graceful_shutdown=int(STOP_SECONDS),
    )
    server = _Server(config)
    bound: int = listener.getsockname()[1]
    task = asyncio.create_task(server.serve(sockets=[listener]), name=f"http {host}:{bound}")
    try:
        async with asyncio.timeout(START_SECONDS):
            while not server.started:
                if task.done():
                    task.result()
                    raise Invalid(f"the HTTP server on {host}:{bound} ended at its start")
                await asyncio.sleep(0.005)
        yield bound
    finally:
        server.should_exit = True
        done, _ = await asyncio.wait({task}, timeout=STOP_SECONDS + 2)
        if not done:
            server.force_exit = True
            task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        listener.close()
