"""Events to an HTTP sink besides the bus: done when all have taken them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from agent.bus.codec import to_record
from agent.bus.memory import MemoryBus
from agent.bus.outlet import FanOut, HttpOutlet
from agent.bus.topics import ROLLOUTS
from agent.clock import SystemClock
from agent.errors import Unavailable
from agent.events.decode import from_http
from agent.events.event import Event
from agent.http import Http
from agent.http_server import serving

EVENT = Event(
    id="1", source="serinus", type="dev.test", time=datetime(2026, 1, 1, tzinfo=UTC), data=b'{"a":1}'
)  # fmt: skip
RECORD = to_record(EVENT, topic=ROLLOUTS, key=b"k")


class Receiver:
    """A sink that answers as it is told."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.got: list[tuple[dict[str, str], bytes]] = []

    async def __call__(self, request: Request) -> Response:
        self.got.append((dict(request.headers), await request.body()))
        return Response(status_code=self.statuses.pop(0))

    @asynccontextmanager
    async def outlet(self, token: str = "") -> AsyncIterator[HttpOutlet]:
        app = Starlette(routes=[Route("/in", self.__call__, methods=["POST"])])
        http = Http()
        async with serving(app, host="127.0.0.1", port=0) as port:
            try:
                yield HttpOutlet(http, f"http://127.0.0.1:{port}/in", token=token)
            finally:
                await http.aclose()


async def test_a_record_is_posted_as_the_event_it_carries() -> None:
    receiver = Receiver(202, 204)
    async with receiver.outlet() as outlet:
        await outlet.publish(RECORD)
    async with receiver.outlet(token="secret") as outlet:
        await outlet.publish(RECORD)
    for headers, body in receiver.got:
        (event,) = from_http(headers.items(), body)
        assert (event.id, event.data) == ("1", b'{"a":1}')
    assert [headers.get("authorization") for headers, _ in receiver.got] == [None, "Bearer secret"]


@pytest.mark.parametrize("status", [302, 400, 401, 404, 429, 500, 503])
async def test_anything_but_success_is_later(status: int) -> None:
    async with Receiver(status).outlet() as outlet:
        with pytest.raises(Unavailable, match=str(status)):
            await outlet.publish(RECORD)


async def test_a_sink_that_is_not_there_is_later() -> None:
    http = Http()
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1"):
        await HttpOutlet(http, "http://127.0.0.1:1/in").publish(RECORD)
    await http.aclose()


async def test_the_bus_has_it_only_when_the_outlet_has_it_and_the_id_stays_the_same() -> None:
    receiver = Receiver(503, 202)
    bus = MemoryBus(SystemClock())
    async with receiver.outlet() as outlet:
        both = FanOut(bus, [outlet])
        assert both.durable == bus.durable
        with pytest.raises(Unavailable):
            await both.publish(RECORD)
        assert not bus.kept[ROLLOUTS]
        await both.publish(RECORD)
        await both.aclose()
    assert len(bus.kept[ROLLOUTS]) == 1
    assert receiver.got[0][1] == receiver.got[1][1]
