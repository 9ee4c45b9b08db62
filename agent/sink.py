"""The HTTP door: a table of paths, each with who may enter and how bytes become events.

`/` takes CloudEvents; raw doors (Alertmanager's and Argo CD's webhooks) translate at the threshold.
Answers: 202 taken, 400 with the reason, 401, 404, 405, 408 too slow, 413 too long, 431, 503 later (never
a 4xx for "later": Alertmanager would wait a whole group_interval).
"""

import asyncio
import base64
import binascii
import hmac
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Final

import msgspec
import structlog
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from agent.clock import Clock
from agent.errors import Refused, Unavailable
from agent.events.decode import from_http
from agent.events.event import Event

log = structlog.get_logger(__name__)

MAX_BODY: Final = 1024 * 1024
MAX_HEADERS: Final = 100
BODY_SECONDS: Final = 10.0
"""A body that takes longer is no sender of ours: Alertmanager and Knative send at once."""
ACCEPT_SECONDS: Final = 15.0
"""After this a sender is asked to come again; what was taken by then is a no-op the second time."""
RETRY_AFTER_SECONDS: Final = 1

Translate = Callable[[bytes, Mapping[str, str], datetime], list[Event]]
Accept = Callable[[Sequence[Event], str], Awaitable[None]]
"""Takes events of a door; returning means durable. Raises Refused (400) or Unavailable (503)."""
Check = Callable[[], str]
"""A readiness check: "" when ready, else what is missing."""


class Token(msgspec.Struct, frozen=True):
    """Who may enter: a name for logs, the secret, and the doors it opens (`*` for all)."""

    name: str
    secret: str
    doors: tuple[str, ...] = ("*",)

    def __repr__(self) -> str:
        return f"Token({self.name!r})"


class RawDoor(msgspec.Struct, frozen=True):
    """A path whose bodies are another program's own format."""

    path: str
    name: str
    translate: Translate


class Sink:
    """An ASGI application.

    Args:
        tokens: empty only when the sink is bound to loopback (agent.settings checks that).
        checks: readiness checks by name.
        notes: what is worth knowing by name, though it keeps nobody from being ready; "" is left out.
        metrics: body and content type of `/metrics`.
    """

    def __init__(
        self,
        accept: Accept,
        clock: Clock,
        *,
        doors: Sequence[RawDoor] = (),
        tokens: Sequence[Token] = (),
        checks: Mapping[str, Check] | None = None,
        notes: Mapping[str, Check] | None = None,
        metrics: Callable[[], tuple[bytes, str]] | None = None,
        max_body: int = MAX_BODY,
    ) -> None:
        self._accept = accept
        self._clock = clock
        self._tokens = tuple(tokens)
        self._checks = dict(checks or {})
        self._notes = dict(notes or {})
        self._metrics = metrics
        self._max_body = max_body
        routes = [
            Route("/", self._cloudevents, methods=["POST", "OPTIONS"]),
            Route("/healthz", self._healthz),
            Route("/readyz", self._readyz),
            Route("/metrics", self._expose),
        ]
        routes += [Route(door.path, self._raw(door), methods=["POST"]) for door in doors]
        self.app = Starlette(routes=routes)

    async def _cloudevents(self, request: Request) -> Response:
        if request.method == "OPTIONS":
            # Webhook handshake of CloudEvents; Knative probes with it, too.
            origin = request.headers.get("webhook-request-origin", "*")
            headers = {
                "Allow": "POST, OPTIONS",
                "WebHook-Allowed-Origin": origin,
                "WebHook-Allowed-Rate": "*",
            }
            return Response(headers=headers)
        return await self._enter(
            request, "cloudevents", lambda body: from_http(request.headers.items(), body)
        )

    def _raw(self, door: RawDoor) -> Callable[[Request], Awaitable[Response]]:
        async def take(request: Request) -> Response:
            headers = dict(request.headers)
            return await self._enter(
                request, door.name, lambda body: door.translate(body, headers, self._clock.now())
            )

        return take

    async def _enter(
        self, request: Request, door: str, decode: Callable[[bytes], list[Event]]
    ) -> Response:
        if not self._may_enter(request, door):
            headers = {"WWW-Authenticate": "Bearer"}
            return _refusal(401, "a bearer token (or basic auth) of this door is needed", headers)
        if len(request.headers) > MAX_HEADERS:
            return _refusal(431, f"more than {MAX_HEADERS} headers")
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await self._body(request)
        except TimeoutError:
            return _refusal(
                408, f"the body did not arrive within {BODY_SECONDS:g} s", {"Connection": "close"}
            )
        except _TooLong:
            return _refusal(413, f"the body is longer than {self._max_body} bytes")
        except ClientDisconnect:
            return _refusal(400, "the body ended early")
        try:
            async with asyncio.timeout(ACCEPT_SECONDS):
                await self._accept(decode(body), door)
        except Refused as error:
            log.warning("sink.refused", door=door, reason=str(error))
            return _refusal(400, str(error))
        except (Unavailable, TimeoutError) as error:
            log.warning("sink.later", door=door, reason=str(error) or "took too long")
            asked = error.retry_after_seconds if isinstance(error, Unavailable) else None
            after = max(RETRY_AFTER_SECONDS, math.ceil(asked or 0))
            return _refusal(503, "try again later", {"Retry-After": str(after)})
        return Response(status_code=202)

    async def _body(self, request: Request) -> bytes:
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > self._max_body:
            raise _TooLong
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > self._max_body:
                raise _TooLong
        return bytes(body)

    def _may_enter(self, request: Request, door: str) -> bool:
        if not self._tokens:
            return True
        given = _given_secret(request.headers.get("authorization", ""))
        # Every token is compared, so that the time tells nothing about which one is near.
        found = [
            token
            for token in self._tokens
            if hmac.compare_digest(given, token.secret.encode())
            and ("*" in token.doors or door in token.doors)
        ]
        return bool(found)

    async def _healthz(self, request: Request) -> Response:
        del request
        return PlainTextResponse("ok\n")

    async def _readyz(self, request: Request) -> Response:
        del request
        missing = {name: reason for name, check in self._checks.items() if (reason := check())}
        notes = {name: text for name, note in self._notes.items() if (text := note())}
        body = {"ready": not missing, "missing": missing, **({"notes": notes} if notes else {})}
        return JSONResponse(body, status_code=503 if missing else 200)

    async def _expose(self, request: Request) -> Response:
        if not self._may_enter(request, "metrics"):
            return _refusal(
                401, "a bearer token of door metrics is needed", {"WWW-Authenticate": "Bearer"}
            )
        if self._metrics is None:
            return _refusal(404, "no metrics here")
        body, media = self._metrics()
        return Response(body, media_type=media)


class _TooLong(Exception):
    pass


def _given_secret(header: str) -> bytes:
    """The secret of an Authorization header: a bearer token, or the password of basic auth."""
    scheme, _, value = header.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip().encode()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value.strip(), validate=True).partition(b":")[2]
        except (binascii.Error, ValueError):
            return b""
    return b""


def _refusal(status: int, reason: str, headers: Mapping[str, str] | None = None) -> Response:
    """Short and machine-readable: Knative carries it to the dead-letter sink."""
    return JSONResponse({"error": reason}, status_code=status, headers=dict(headers or {}))
