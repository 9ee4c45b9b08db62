"""Many HTTP calls as fast as they are answered, counted by who answered.

For shares of ten thousands of calls; the load of the demo is paced, and costs several times as much a call.
"""

import asyncio
import functools
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

from agent.demo.load import Tally
from agent.demo.upstream import SERVED_BY

CONNECTIONS: Final = 16
SECONDS: Final = 60.0
_SERVED_BY: Final = f"\r\n{SERVED_BY}: ".encode()
_LENGTH: Final = b"\r\ncontent-length: "


async def tally_of(
    host: str, port: int, *, authority: str, headers: Mapping[str, str], count: int
) -> Tally:
    """Make so many calls; those that nobody answered are errors. TimeoutError after a minute."""
    lines = ["GET / HTTP/1.1", f"host: {authority}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    request = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
    left = iter(range(count))
    loop = asyncio.get_running_loop()
    answers: Counter[tuple[str, int]] = Counter()
    async with asyncio.timeout(SECONDS):
        ends = []
        for _ in range(CONNECTIONS):
            ends.append(loop.create_future())
            caller = functools.partial(_Caller, request, left, answers, ends[-1])
            await loop.create_connection(caller, host, port)
        await asyncio.gather(*ends)
    broken = count - answers.total()
    return Tally(dict(answers), {"broken": broken} if broken else {})


class _Caller(asyncio.Protocol):
    """One connection: a call after the other, while there are any left."""

    def __init__(
        self,
        request: bytes,
        left: Iterator[int],
        answers: Counter[tuple[str, int]],
        end: asyncio.Future[None],
    ) -> None:
        self._request = request
        self._left = left
        self._answers = answers
        self._end = end
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._call()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if found and len(body) >= int(_value(head, _LENGTH) or b"0"):
            self._buffer = b""
            status = int(head.split(b" ", 2)[1])
            self._answers[_value(head, _SERVED_BY).decode(), status] += 1
            self._call()

    def connection_lost(self, _error: Exception | None) -> None:
        if not self._end.done():
            self._end.set_result(None)

    def _call(self) -> None:
        assert self._transport is not None
        if next(self._left, None) is None:
            self._transport.close()
        else:
            self._transport.write(self._request)


def _value(head: bytes, name: bytes) -> bytes:
    """A header's value, "" without it. Envoy writes names in lower case."""
    return head.partition(name)[2].partition(b"\r\n")[0]
