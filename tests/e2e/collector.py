"""A loopback HTTP server that keeps what it is sent: the outlet of events under test."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.e2e.processes import free_port


class Collector:
    """Keeps CloudEvents (structured mode) in the order of their arrival."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.bodies: list[bytes] = []

    @property
    def events(self) -> list[dict[str, Any]]:
        return [msgspec.json.decode(body) for body in self.bodies]

    def of_type(self, transition: str) -> list[dict[str, Any]]:
        """Events of `dev.serinus.rollout.<transition>.v1`, each id once."""
        wanted = f"dev.serinus.rollout.{transition}.v1"
        return list(
            {event["id"]: event for event in self.events if event["type"] == wanted}.values()
        )


@asynccontextmanager
async def serve(app: Starlette, port: int) -> AsyncIterator[str]:
    """Serve an app on loopback while the context lasts."""
    server = uvicorn.Server(
        uvicorn.Config(
            app, host="127.0.0.1", port=port, log_level="warning", lifespan="off", ws="none"
        )
    )
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]  # a test keeps its own
    task = asyncio.create_task(server.serve())
    try:
        async with asyncio.timeout(10):
            while not server.started:
                await asyncio.sleep(0.01)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await asyncio.wait_for(task, 10)


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    """A collector that answers 202 to every event."""
    port = free_port()
    collector = Collector(f"http://127.0.0.1:{port}/")

    async def take(request: Request) -> Response:
        collector.bodies.append(await request.body())
        return Response(status_code=202)

    async with serve(Starlette(routes=[Route("/", take, methods=["POST"])]), port):
        yield collector


class Prometheus:
    """A stand-in for Prometheus' instant query: one number, changed by the test."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.value: float | None = 1.0
        self.queries: list[str] = []


@asynccontextmanager
async def a_prometheus(
    value: Callable[[Prometheus], float | None] = lambda own: own.value,
) -> AsyncIterator[Prometheus]:
    """Answers every query with the value; None is the empty vector."""
    port = free_port()
    own = Prometheus(f"http://127.0.0.1:{port}")

    async def query(request: Request) -> Response:
        form = await request.form()
        own.queries.append(str(form.get("query", request.query_params.get("query", ""))))
        number = value(own)
        result = [] if number is None else [{"metric": {}, "value": [0, str(number)]}]
        return JSONResponse(
            {"status": "success", "data": {"resultType": "vector", "result": result}}
        )

    app = Starlette(routes=[Route("/api/v1/query", query, methods=["GET", "POST"])])
    async with serve(app, port):
        yield own
