"""A watch as an HTTP answer: one JSON line an event, until its time is up or one of both sides ends it."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from agent.cluster.port import WatchEvent
from agent.errors import SerinusError

MAX_SECONDS: Final = 3600.0


class WatchResponse(Response):
    """Sends what a watch yields.

    Args:
        line: the bytes of an event or of the error that ends the watch; b"" sends nothing.
        seconds: after which the server ends the watch.
        closing: set when the server stops.
    """

    def __init__(
        self,
        events: AsyncGenerator[WatchEvent, None],
        line: Callable[[WatchEvent | SerinusError], bytes],
        *,
        seconds: float,
        closing: asyncio.Event,
    ) -> None:
        super().__init__(media_type="application/json")
        del self.headers["content-length"]
        self._events = events
        self._line = line
        self._seconds = min(seconds, MAX_SECONDS)
        self._closing = closing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope
        await send(
            {
                "type": "http.response.start",
                "status": self.status_code,
                "headers": self.raw_headers,
            }
        )
        ends = asyncio.get_running_loop().time() + self._seconds
        enough = [
            asyncio.create_task(self._closing.wait(), name="watch: server stops"),
            asyncio.create_task(_disconnected(receive), name="watch: client leaves"),
        ]
        upcoming: asyncio.Task[bytes | None] | None = None
        try:
            while True:
                upcoming = asyncio.create_task(self._next(), name="watch: next event")
                left = ends - asyncio.get_running_loop().time()
                await asyncio.wait(
                    {upcoming, *enough}, timeout=left, return_when=asyncio.FIRST_COMPLETED
                )
                body = upcoming.result() if upcoming.done() else None
                if body is None:
                    break
                if body:
                    await send({"type": "http.response.body", "body": body, "more_body": True})
        finally:
            tasks = [*enough, *([upcoming] if upcoming is not None else [])]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._events.aclose()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _next(self) -> bytes | None:
        """The bytes to send next, None at the end."""
        try:
            return self._line(await anext(self._events))
        except StopAsyncIteration:
            return None
        except SerinusError as error:
            return self._line(error)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
