"""HTTP to the outside: the one module that knows httpx.

A client of httpx 0.28 looks at all of its connections whenever a request begins or ends, which costs more than
the requests when there are many, and loses a place for good when one is cancelled. So a client here has one
connection and carries one request at a time; those that rest are taken up again, and one whose request failed is
closed. Deadlines are read timeouts, and a request that nobody waits for any more runs to its end in a task of ours.
Bodies are bounded while they are read.
"""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final, NamedTuple

import httpx
import msgspec

from agent.errors import Refused, Unavailable

CONNECT_SECONDS: Final = 5.0
SLACK_SECONDS: Final = 0.5
"""What a deadline of ours leaves to those of httpx, which know better what is missing."""
MOST_AT_ONCE: Final = 64
"""Requests to one server. Others wait their turn within their own deadline: a slow one holds up nobody else's."""
MOST_CONNECTIONS: Final = 1000
"""Requests to all servers together."""
MOST_RESTING: Final = 100
"""Connections that are kept for a next request, to all servers together."""
REST_SECONDS: Final = 5.0
_HEADER: Final = re.compile(r"[\t\x20-\x7e]*")
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
MAX_BODY: Final = 1024 * 1024


class Answer(msgspec.Struct, frozen=True):
    """Any answer, whatever its status. Header names are lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class TooLong(Unavailable):
    """The answer's body is longer than was asked for."""


class _Server(NamedTuple):
    """What a connection is good for: scheme, host and port, and whether its certificate is verified."""

    host: str
    verify: bool


class _Resting(NamedTuple):
    """A connection that waits for a next request, and since when (seconds of the loop's clock)."""

    server: _Server
    since: float


class _Places:
    """The places of one server, and how many requests have or want one."""

    def __init__(self) -> None:
        self.free = asyncio.Semaphore(MOST_AT_ONCE)
        self.requests = 0


class Http:
    """A client for everything that is not the API server. Redirects are not followed.

    Args:
        ca_file: PEM of authorities that are trusted besides the usual ones.
    """

    def __init__(self, *, ca_file: str = "") -> None:
        self._places: dict[str, _Places] = {}
        self._all_places = asyncio.Semaphore(MOST_CONNECTIONS)
        self._contexts = {True: _trusting(ca_file)} if ca_file else {}
        self._clients: set[httpx.AsyncClient] = set()
        self._resting: dict[httpx.AsyncClient, _Resting] = {}
        self._running: set[asyncio.Task[Answer]] = set()

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        seconds: float = 10.0,
        verify: bool = True,
        max_body: int = MAX_BODY,
    ) -> Answer:
        """One request. Raises Unavailable when there is no (whole) answer within `seconds`."""
        _check_headers(headers or {})
        task = asyncio.create_task(
            self._in_turn(method, url, headers or {}, body, seconds, verify, max_body)
        )
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        task.add_done_callback(_retrieved)
        # A server may send the head of its answer for ever; httpx knows no deadline for a whole answer.
        done, _ = await asyncio.wait({task}, timeout=seconds + SLACK_SECONDS)
        if not done:
            raise Unavailable(f"{shown_host(url)} did not answer within {seconds:g} s")
        return task.result()

    async def post(self, url: str, body: bytes) -> tuple[int, bytes]:
        """POST of JSON: status and body."""
        answer = await self.request(
            "POST", url, headers={"Content-Type": "application/json"}, body=body
        )
        return answer.status, answer.body

    async def aclose(self) -> None:
        """Wait for what runs, then close."""
        if self._running:
            await asyncio.wait(self._running, timeout=CONNECT_SECONDS)
        for client in tuple(self._clients):
            await self._close(client)

    async def _in_turn(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        seconds: float,
        verify: bool,
        max_body: int,
    ) -> Answer:
        try:
            parsed = httpx.URL(url)  # once: it takes a good part of a request's time
        except (httpx.InvalidURL, TypeError) as error:
            raise Unavailable(f"the URL: {error}") from error
        server = _Server(_shown(parsed), verify)
        async with self._place(server.host, seconds):
            return await self._request(method, parsed, headers, body, seconds, server, max_body)

    @asynccontextmanager
    async def _place(self, host: str, seconds: float) -> AsyncIterator[None]:
        """One of the server's places, and one of all. Raises Unavailable when none is free in time."""
        places = self._places.setdefault(host, _Places())
        places.requests += 1
        try:
            async with AsyncExitStack() as held:
                for free, wait in (
                    (places.free, f"{MOST_AT_ONCE} requests wait for it already"),
                    (self._all_places, f"{MOST_CONNECTIONS} requests wait for other servers"),
                ):
                    try:
                        async with asyncio.timeout(seconds if free.locked() else None):
                            await held.enter_async_context(free)
                    except TimeoutError as error:
                        raise Unavailable(
                            f"{host} did not answer within {seconds:g} s: {wait}"
                        ) from error
                yield
        finally:
            places.requests -= 1
            if not places.requests:
                self._places.pop(host, None)

    async def _request(
        self,
        method: str,
        url: httpx.URL,
        headers: Mapping[str, str],
        body: bytes,
        seconds: float,
        server: _Server,
        max_body: int,
    ) -> Answer:
        timeout = httpx.Timeout(CONNECT_SECONDS, read=seconds)
        loop = asyncio.get_running_loop()
        ends = loop.time() + seconds
        client, is_good = self._client(server), False
        try:
            async with client.stream(
                method, url, headers=headers, content=body, timeout=timeout
            ) as response:
                read = bytearray()
                async for chunk in response.aiter_bytes():
                    read += chunk
                    if len(read) > max_body:
                        raise TooLong(
                            f"the answer of {server.host} is longer than {max_body} bytes"
                        )
                    if loop.time() > ends:
                        raise Unavailable(f"{server.host} did not answer within {seconds:g} s")
                names = {name.lower(): value for name, value in response.headers.items()}
                is_good = True
                return Answer(response.status_code, names, bytes(read))
        except httpx.TimeoutException as error:
            raise Unavailable(f"{server.host} did not answer within {seconds:g} s") from error
        except (httpx.HTTPError, OSError, ValueError) as error:
            raise Unavailable(f"{server.host}: {str(error) or type(error).__name__}") from error
        finally:
            if is_good:
                self._resting[client] = _Resting(server, loop.time())
                await self._close_old()
            else:
                await self._close(client)

    def _client(self, server: _Server) -> httpx.AsyncClient:
        """One that rests, the one that was used last first; else a new one."""
        for client, resting in reversed(self._resting.items()):
            if resting.server == server:
                del self._resting[client]
                return client
        client = httpx.AsyncClient(
            verify=self._context(server.verify),
            limits=httpx.Limits(max_connections=1, keepalive_expiry=REST_SECONDS),
            follow_redirects=False,
            headers={"User-Agent": "serinus"},
        )
        self._clients.add(client)
        return client

    def _context(self, verify: bool) -> ssl.SSLContext:
        """Shared: to load the authorities takes longer than a request."""
        if verify not in self._contexts:
            self._contexts[verify] = httpx.create_ssl_context(verify=verify)
        return self._contexts[verify]

    async def _close_old(self) -> None:
        """Close what has rested for too long, and the oldest when too many rest."""
        ends = asyncio.get_running_loop().time() - REST_SECONDS
        while self._resting:
            client, resting = next(iter(self._resting.items()))
            if resting.since > ends and len(self._resting) <= MOST_RESTING:
                return
            await self._close(client)

    async def _close(self, client: httpx.AsyncClient) -> None:
        self._resting.pop(client, None)
        self._clients.discard(client)
        await client.aclose()


def _trusting(ca_file: str) -> ssl.SSLContext:
    context = httpx.create_ssl_context()
    try:
        context.load_verify_locations(ca_file)
    except (OSError, ssl.SSLError) as error:
        raise Refused(f"{ca_file}: {error}", field="http.ca_file") from error
    return context


def _check_headers(headers: Mapping[str, str]) -> None:
    """The values may be secrets, so errors of a library that show them are none for users."""
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            raise Unavailable(f"{name[:100]!r} is no name of a header")
        if not _HEADER.fullmatch(value):
            raise Unavailable(
                f"header {name!r} cannot be sent: there is a character in it that no header may have, such as a"
                " line break"
            )


def _retrieved(task: "asyncio.Task[Answer]") -> None:
    """Nobody may be waiting for the answer any more: its error is not a lost one."""
    if not task.cancelled():
        task.exception()


def shown_host(url: str) -> str:
    """What may be shown of a URL: paths carry tokens, queries carry secrets."""
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, TypeError):
        return "the URL"
    return _shown(parsed)


def _shown(url: httpx.URL) -> str:
    return f"{url.scheme}://{url.host}" + (f":{url.port}" if url.port else "")
