"""One request to an API server: what is sent, what its answer means, when it is sent again.

Everything here has a deadline. What failed is one of agent.errors; an unknown outcome is Unavailable.
"""

import random
from collections.abc import Awaitable, Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final

import aiohttp
import msgspec
import structlog

from agent.api.meta import Object
from agent.clock import Clock
from agent.errors import (
    AlreadyExists,
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    NotFound,
    SerinusError,
    Unavailable,
)

log = structlog.get_logger(__name__)

URGENT_SECONDS: Final = 1.0
ROUTINE_SECONDS: Final = 10.0
"""For all tries of one call together."""
TRY_SECONDS: Final = 5.0
"""For one try of a call about one object; a page of a list may take all of ROUTINE_SECONDS."""
CONNECT_SECONDS: Final = 2.0
TRIES: Final = 4
BACKOFF_SECONDS: Final = 0.1
RELOAD_SECONDS: Final = 10.0
"""Credentials are read again at most this often."""
SKEW_WARN_SECONDS: Final = 2.0
TOO_NEW: Final = "ResourceVersionTooLarge"
"""Why an API server does not answer from a version: it has not been there (after a restore) or lags."""
JSON: Final = "application/json"


class NotCarriedOut(Unavailable):
    """The API server refused for now (429): certainly nothing happened, any request may be repeated."""


class NotAuthenticated(Forbidden):
    """The API server does not know the credentials (401)."""


class Request(msgspec.Struct, frozen=True):
    """What to send.

    Attributes:
        repeatable: whether it may be sent again after an unknown outcome.
        tested: the body is a JSON patch with a `test`.
    """

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    body: Any = None
    media: str = JSON
    repeatable: bool = True
    tested: bool = False

    @property
    def is_page(self) -> bool:
        """Whether it asks for a page of a list."""
        return self.method == "GET" and bool(self.query)

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class Clients(msgspec.Struct, frozen=True):
    """Three kubernetes-asyncio clients with connections of their own.

    Attributes:
        urgent: weights down, abort intents. Never waits for the others.
        fresh: opens a new connection for each request: the second try of an urgent one.
        routine: everything else, watches included.
    """

    urgent: Any
    fresh: Any
    routine: Any


class Transport:
    """Sends requests within their budget.

    Args:
        reload: reads the credentials again, after the API server did not know them.
    """

    def __init__(
        self, clients: Clients, clock: Clock, reload: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        self._clients = clients
        self._clock = clock
        self._reload = reload
        self._reloaded = float("-inf")
        self.skew_seconds = 0.0
        """API server's clock minus ours, from its Date header (resolution 1 s)."""

    async def call(self, request: Request, *, urgent: bool = False) -> Object:
        """The decoded answer, within the deadline of the budget."""
        try:
            return await self._within_budget(request, urgent)
        except NotAuthenticated:
            if not await self._reloaded_credentials():
                raise
            return await self._within_budget(request, urgent)

    async def open(self, request: Request, *, seconds: float, silence_seconds: float) -> Any:
        """The answer of a watch, to be read while it comes in and ended by `hang_up`.

        Args:
            seconds: for all of it.
            silence_seconds: without a byte, after which the connection counts as dead.
        """
        timeout = aiohttp.ClientTimeout(
            total=seconds, sock_connect=CONNECT_SECONDS, sock_read=silence_seconds
        )
        response = await self._send(request, timeout, self._clients.routine)
        if response.status == 200:
            return response
        try:
            raise error_of(response.status, await response.read(), response.headers)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(f"{request}: {words(error)}") from error
        finally:
            response.close()

    async def aclose(self) -> None:
        """Close all connections."""
        for client in (self._clients.urgent, self._clients.fresh, self._clients.routine):
            await client.close()

    async def _within_budget(self, request: Request, urgent: bool) -> Object:
        return await (self._urgently(request) if urgent else self._patiently(request))

    async def _urgently(self, request: Request) -> Object:
        """A short deadline, and at once a second try over a connection that is new."""
        try:
            return await self._once(request, URGENT_SECONDS, self._clients.urgent)
        except Unavailable as error:
            if not request.repeatable and not isinstance(error, NotCarriedOut):
                raise
            log.warning("kubernetes.urgent_retry", request=str(request), error=str(error))
            return await self._again(request, URGENT_SECONDS, self._clients.fresh)

    async def _patiently(self, request: Request) -> Object:
        ends = self._clock.monotonic() + ROUTINE_SECONDS
        one_try = ROUTINE_SECONDS if request.is_page else TRY_SECONDS
        send = self._once
        for attempt in range(1, TRIES + 1):
            left = ends - self._clock.monotonic()
            try:
                return await send(request, min(left, one_try), self._clients.routine)
            except Unavailable as error:
                if not request.repeatable and not isinstance(error, NotCarriedOut):
                    raise
                ceiling = BACKOFF_SECONDS * 2**attempt
                wait = error.retry_after_seconds or random.uniform(0, ceiling)  # noqa: S311  # jitter
                if attempt == TRIES or self._clock.monotonic() + wait >= ends:
                    raise
                await self._clock.sleep(wait)
                send = self._again
        raise AssertionError("unreachable: the last try returns or raises")

    async def _again(self, request: Request, seconds: float, client: Any) -> Object:
        """A further try. What was to be deleted and is not there was deleted by an earlier one."""
        try:
            return await self._once(request, seconds, client)
        except NotFound:
            if request.method == "DELETE":
                return {}
            raise

    async def _once(self, request: Request, seconds: float, client: Any) -> Object:
        timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=min(seconds, CONNECT_SECONDS))
        response = await self._send(request, timeout, client)
        try:
            data = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(f"{request}: {words(error)}") from error
        finally:
            response.release()
        self._note_date(response.headers.get("Date", ""))
        if not 200 <= response.status < 300:
            raise error_of(response.status, data, response.headers, tested=request.tested)
        try:
            answer: Object = msgspec.json.decode(data, type=dict[str, Any])
        except msgspec.MsgspecError as error:
            raise Unavailable(f"{request}: the answer is not a JSON object: {error}") from error
        return answer

    async def _send(self, request: Request, timeout: aiohttp.ClientTimeout, client: Any) -> Any:
        headers = {"Accept": JSON}
        if request.body is not None:
            headers["Content-Type"] = request.media
        if client is self._clients.fresh:
            headers["Connection"] = "close"
        try:
            return await client.call_api(
                request.path,
                request.method,
                query_params=list(request.query),
                header_params=headers,
                body=request.body,
                auth_settings=["BearerToken"],
                _preload_content=False,
                _request_timeout=timeout,
            )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(f"{request}: {words(error)}") from error

    async def _reloaded_credentials(self) -> bool:
        now = self._clock.monotonic()
        if self._reload is None or now - self._reloaded < RELOAD_SECONDS:
            return False
        self._reloaded = now
        await self._reload()
        log.info("kubernetes.credentials_reloaded")
        return True

    def _note_date(self, date: str) -> None:
        try:
            server = parsedate_to_datetime(date)
        except (TypeError, ValueError):
            return
        # The header has whole seconds, so its middle is half a second later.
        skew = server.timestamp() + 0.5 - self._clock.now().timestamp()
        if abs(skew) > SKEW_WARN_SECONDS >= abs(self.skew_seconds):
            log.warning("kubernetes.clock_skew", seconds=round(skew, 1))
        self.skew_seconds = skew


def error_of(
    status: int, body: bytes, headers: Mapping[str, str], *, tested: bool = False
) -> SerinusError:
    """The error that an answer means.

    Args:
        tested: the request was a JSON patch with a `test`. One that fails is answered by a 422 that says
            nothing, as is an operation that does not apply: with a `test` both mean that the object is not
            what the patch was made for. A 422 of validation names the object in its details.
    """
    try:
        decoded = msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        decoded = {}
    message = str(decoded.get("message") or f"HTTP {status}")[:1000]
    details = decoded.get("details") or {}
    if status == 409 and decoded.get("reason") == "AlreadyExists":
        return AlreadyExists(message)
    if status == 422 and tested and not details.get("name") and not details.get("causes"):
        return Conflict(f"a test of the patch failed: {message}")
    if any(cause.get("reason") == TOO_NEW for cause in details.get("causes") or ()):
        return Gone(message)
    kinds: dict[int, type[SerinusError]] = {
        401: NotAuthenticated, 403: Forbidden, 404: NotFound, 409: Conflict, 410: Gone,
        400: Invalid, 405: Invalid, 406: Invalid, 413: Invalid, 415: Invalid, 422: Invalid,
    }  # fmt: skip
    if status in kinds:
        return kinds[status](message)
    after = _seconds(headers.get("Retry-After")) or _seconds(details.get("retryAfterSeconds"))
    kind = NotCarriedOut if status == 429 else Unavailable
    return kind(f"{message} (HTTP {status})", retry_after_seconds=after or None)


def words(error: BaseException) -> str:
    """What to say about an error that may have no message."""
    return str(error) or type(error).__name__


def _seconds(value: object) -> float:
    try:
        return max(0.0, float(str(value)))
    except ValueError:
        return 0.0


def hang_up(response: aiohttp.ClientResponse) -> None:
    """Cut the connection of a watch: a goodbye in TLS waits for the server's, and would outlive the client."""
    connection = response.connection
    if connection is not None and connection.transport is not None:
        connection.transport.abort()
    response.close()
