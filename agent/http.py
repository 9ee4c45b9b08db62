"""HTTP to the outside: the one module that knows httpx.

httpx 0.28 loses a pool slot for good when a request is cancelled, so deadlines are read timeouts, a request
that nobody waits for any more runs to its end in a task of ours, and a client whose pool is exhausted is
replaced, and closed after the last of its requests. Bodies are bounded while they are read.
"""

import asyncio
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import httpx
import msgspec
import structlog

from agent.errors import Refused, Unavailable

log = structlog.get_logger(__name__)

CONNECT_SECONDS: Final = 5.0
SLACK_SECONDS: Final = 0.5
"""What a deadline of ours leaves to those of httpx, which know better what is missing."""
MOST_AT_ONCE: Final = 64
"""Requests to one server. Others wait their turn within their own deadline: a slow one holds up nobody else's."""
MOST_CONNECTIONS: Final = 1000
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


@dataclass(eq=False, slots=True)
class _Pool:
    """A client of httpx, and how many requests of ours it carries."""

    client: httpx.AsyncClient
    requests: int = 0


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
        self._trusted = _trusting(ca_file) if ca_file else None
        self._places: dict[str, _Places] = {}
        self._pools: dict[bool, _Pool] = {}
        self._replaced: set[_Pool] = set()
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
        pools, self._pools, self._replaced = {*self._pools.values(), *self._replaced}, {}, set()
        for pool in pools:
            await pool.client.aclose()

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
        host = shown_host(url)
        places = self._places.setdefault(host, _Places())
        places.requests += 1
        try:
            async with asyncio.timeout(seconds):
                await places.free.acquire()
            try:
                return await self._request(method, url, headers, body, seconds, verify, max_body)
            finally:
                places.free.release()
        except TimeoutError as error:
            raise Unavailable(
                f"{host} did not answer within {seconds:g} s: {MOST_AT_ONCE} requests wait for it already"
            ) from error
        finally:
            places.requests -= 1
            if not places.requests:
                self._places.pop(host, None)

    async def _request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        seconds: float,
        verify: bool,
        max_body: int,
    ) -> Answer:
        timeout = httpx.Timeout(CONNECT_SECONDS, read=seconds)
        loop = asyncio.get_running_loop()
        ends = loop.time() + seconds
        pool = self._pool(verify)
        pool.requests += 1
        try:
            async with pool.client.stream(
                method, url, headers=headers, content=body, timeout=timeout
            ) as response:
                read = bytearray()
                async for chunk in response.aiter_bytes():
                    read += chunk
                    if len(read) > max_body:
                        raise TooLong(
                            f"the answer of {shown_host(url)} is longer than {max_body} bytes"
                        )
                    if loop.time() > ends:
                        raise Unavailable(f"{shown_host(url)} did not answer within {seconds:g} s")
                names = {name.lower(): value for name, value in response.headers.items()}
                return Answer(response.status_code, names, bytes(read))
        except httpx.PoolTimeout as error:
            self._replace(verify, pool)
            raise Unavailable(f"no connection to {shown_host(url)} is free") from error
        except httpx.TimeoutException as error:
            raise Unavailable(f"{shown_host(url)} did not answer within {seconds:g} s") from error
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            raise Unavailable(f"{shown_host(url)}: {str(error) or type(error).__name__}") from error
        finally:
            pool.requests -= 1
            if pool in self._replaced and not pool.requests:
                self._replaced.discard(pool)
                await pool.client.aclose()

    def _pool(self, verify: bool) -> _Pool:
        if verify not in self._pools:
            limits = httpx.Limits(max_connections=MOST_CONNECTIONS, max_keepalive_connections=100)
            client = httpx.AsyncClient(
                verify=self._trusted if verify and self._trusted is not None else verify,
                limits=limits,
                follow_redirects=False,
                headers={"User-Agent": "serinus"},
            )
            self._pools[verify] = _Pool(client)
        return self._pools[verify]

    def _replace(self, verify: bool, pool: _Pool) -> None:
        """Leave a client whose pool is used up: once, however many requests waited for it in vain."""
        if self._pools.get(verify) is pool:
            del self._pools[verify]
            self._replaced.add(pool)
            log.warning("http.pool_replaced")


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
    return f"{parsed.scheme}://{parsed.host}" + (f":{parsed.port}" if parsed.port else "")
