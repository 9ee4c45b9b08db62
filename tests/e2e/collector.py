"""A loopback HTTP server that keeps what it is sent: the outlet of events under test."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from agent.http_server import serving
from tests.e2e.announcements import Announcements


class Collector(Announcements):
    """What came by HTTP."""

    def __init__(self) -> None:
        super().__init__()
        self.url = ""


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    """A collector that answers 202 to every event."""
    collector = Collector()

    async def take(request: Request) -> Response:
        collector.take(await request.body())
        return Response(status_code=202)

    app = Starlette(routes=[Route("/", take, methods=["POST"])])
    async with serving(app, host="127.0.0.1", port=0) as port:
        collector.url = f"http://127.0.0.1:{port}/"
        yield collector


class Prometheus:
    """A stand-in for Prometheus' instant query: one number, changed by the test."""

    def __init__(self) -> None:
        self.url = ""
        self.value: float | None = 1.0
        self.queries: list[str] = []


@asynccontextmanager
async def a_prometheus(
    value: Callable[[Prometheus], float | None] = lambda own: own.value,
) -> AsyncIterator[Prometheus]:
    """Answers every query with the value; None is the empty vector."""
    own = Prometheus()

    async def query(request: Request) -> Response:
        form = parse_qs((await request.body()).decode())
        own.queries.append(form.get("query", [""])[0])
        number = value(own)
        result = [] if number is None else [{"metric": {}, "value": [time.time(), str(number)]}]
        return JSONResponse(
            {"status": "success", "data": {"resultType": "vector", "result": result}}
        )

    app = Starlette(routes=[Route("/api/v1/query", query, methods=["GET", "POST"])])
    async with serving(app, host="127.0.0.1", port=0) as port:
        own.url = f"http://127.0.0.1:{port}"
        yield own
