"""A steady client: keep-alive connections through the proxy, every answer attributed.

A call *fails by the switch* when the proxy or the connection failed it: a transport error, or an answer
of 5xx that the application did not make (no healthy upstream, unknown cluster, reset). A bad version's
own 5xx is counted as that version's.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Mapping

import msgspec

from agent.demo.upstream import SERVED_BY

REQUEST_SECONDS = 5.0
CONNECT_SECONDS = 2.0
SERVER_ERROR = 500


class Tally(msgspec.Struct, frozen=True):
    """What clients saw so far.

    Attributes:
        answers: (version, status) -> calls; version "" is an answer of the proxy itself.
        transport_errors: reset, refused or timed-out calls, by what they were.
    """

    answers: dict[tuple[str, int], int]
    transport_errors: dict[str, int]

    @property
    def total(self) -> int:
        return sum(self.answers.values()) + sum(self.transport_errors.values())

    @property
    def failed_by_switch(self) -> int:
        """Calls that failed although no version failed them; the promise is 0."""
        made_by_proxy = sum(
            count
            for (version, status), count in self.answers.items()
            if not version and status >= SERVER_ERROR
        )
        return made_by_proxy + sum(self.transport_errors.values())

    def of_version(self, version: str) -> tuple[int, int]:
        """(calls, calls answered with 5xx) of a version."""
        mine = [(s, n) for (v, s), n in self.answers.items() if v == version]
        return sum(n for _, n in mine), sum(n for s, n in mine if s >= SERVER_ERROR)

    def since(self, earlier: "Tally") -> "Tally":
        """What came after `earlier`, to count one act of the demo alone."""
        return Tally(
            dict(Counter(self.answers) - Counter(earlier.answers)),
            dict(Counter(self.transport_errors) - Counter(earlier.transport_errors)),
        )


class Load:
    """Calls at a bounded rate. Use `generating`; `tally()` may be read at any time."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        authority: str,
        rate: float = 200.0,
        connections: int = 8,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._address = (host, port)
        lines = ["GET / HTTP/1.1", f"host: {authority}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        self._request = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        self._gap = connections / rate
        self._connections = connections
        self._answers: Counter[tuple[str, int]] = Counter()
        self._errors: Counter[str] = Counter()
        self._changed = asyncio.Condition()

    def tally(self) -> Tally:
        return Tally(dict(self._answers), dict(self._errors))

    async def until_total(self, total: int, *, within_seconds: float) -> None:
        """Wait until so many calls were made; TimeoutError when they are not in time."""
        async with asyncio.timeout(within_seconds), self._changed:
            await self._changed.wait_for(
                lambda: self._answers.total() + self._errors.total() >= total
            )

    @contextlib.asynccontextmanager
    async def generating(self) -> AsyncIterator["Load"]:
        """Send calls while the context is open; the calls in flight are finished before it is left."""
        stop = asyncio.Event()
        tasks = [
            asyncio.create_task(self._worker(index, stop), name=f"load-{index}")
            for index in range(self._connections)
        ]
        try:
            yield self
        finally:
            stop.set()
            done, late = await asyncio.wait(tasks, timeout=REQUEST_SECONDS + CONNECT_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
            for task in done:
                task.result()

    async def _worker(self, index: int, stop: asyncio.Event) -> None:
        """One connection, paced by the clock: a slow answer is not followed by a burst."""
        loop = asyncio.get_running_loop()
        due = loop.time() + self._gap * index / self._connections
        stream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        try:
            while not await _stopped(stop, due - loop.time()):
                stream = await self._call(stream)
                due = max(due + self._gap, loop.time())
        finally:
            if stream is not None:
                await _close(stream[1])

    async def _call(
        self, stream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """One call; the connection to go on with, None when it is spent."""
        try:
            if stream is None:
                async with asyncio.timeout(CONNECT_SECONDS):
                    stream = await asyncio.open_connection(*self._address)
            async with asyncio.timeout(REQUEST_SECONDS):
                version, status, keep = await _exchange(*stream, self._request)
        except (OSError, EOFError, ValueError, TimeoutError) as error:
            self._errors[type(error).__name__] += 1
            keep = False
        else:
            self._answers[version, status] += 1
        async with self._changed:
            self._changed.notify_all()
        if keep or stream is None:
            return stream
        await _close(stream[1])
        return None


async def _stopped(stop: asyncio.Event, seconds: float) -> bool:
    """Wait `seconds`, less when the load is stopped; whether it is."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), max(0.0, seconds))
    return stop.is_set()


async def _exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes
) -> tuple[str, int, bool]:
    """Send a request and read its answer: (version that served it, status, may the connection go on)."""
    writer.write(request)
    await writer.drain()
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    status = int(head[0].split(" ", 2)[1])
    headers = {}
    for line in head[1:]:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    await reader.readexactly(int(headers.get("content-length", "0")))
    return headers.get(SERVED_BY, ""), status, headers.get("connection", "") != "close"


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError, TimeoutError):
        await asyncio.wait_for(writer.wait_closed(), CONNECT_SECONDS)
