"""The local store behind the Kubernetes REST API: the same client code for a cluster and for none.

Speaks what API clients use: discovery, get, list (paged), watch, create, replace, the patches, the status
and scale subresources, delete, and errors as `Status` objects. Not spoken: server-side apply, dry runs,
tables, protobuf. One bearer token may do everything; the caller binds it to loopback.
"""

import asyncio
import hmac
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from agent.api.meta import Object
from agent.cluster.local import patches, requests, served, status
from agent.cluster.local.kubeconfig import token_path
from agent.cluster.local.scale import patch_by, scale_of
from agent.cluster.local.status import NOTHING, Rejected, Subject
from agent.cluster.local.store import LocalCluster
from agent.cluster.local.streaming import WatchResponse
from agent.cluster.port import Kind, WatchEvent
from agent.errors import Gone, SerinusError

WATCH_SECONDS: Final = 300.0
OPEN_PATHS: Final = frozenset({"/healthz", "/livez", "/readyz"})

Endpoint = Callable[[Request], Awaitable[Response]]


class Facade:
    """An ASGI application over a store.

    Args:
        token: what every request must carry, as a bearer token or in its path.
    """

    def __init__(self, store: LocalCluster, *, token: str) -> None:
        self._store = store
        self._closing = asyncio.Event()
        inner = Starlette(
            routes=[
                *(Route(path, _healthy) for path in sorted(OPEN_PATHS)),
                *self._documents(),
                *self._resources("/api/{version}"),
                *self._resources("/apis/{group}/{version}"),
            ],
            exception_handlers={
                SerinusError: _on_error,
                msgspec.MsgspecError: _on_bad_json,
                HTTPException: _on_no_route,
            },
        )
        self.app = _Authenticated(inner, token)

    def close(self) -> None:
        """End all watches, so that the server can stop."""
        self._closing.set()

    # What there is.

    def _documents(self) -> list[Route]:
        def document(of: Callable[..., dict[str, Any]]) -> Endpoint:
            async def answer(request: Request) -> Response:
                named = request.path_params
                group, version = named.get("group", ""), named.get("version")
                if version is not None and version not in served.versions_of(group):
                    raise Rejected(404, "NotFound", requests.NO_SUCH_PATH)
                if version is None and group and not served.versions_of(group):
                    raise Rejected(404, "NotFound", requests.NO_SUCH_PATH)
                return _json(of(*named.values()))

            return answer

        def resources(*of: str) -> dict[str, Any]:
            group, version = of if len(of) > 1 else ("", of[0])
            return served.resources(group, version, self._store.has_status)

        def openapi(*of: str) -> dict[str, Any]:
            return served.openapi(*(of if len(of) > 1 else ("", of[0])))

        return [
            Route("/version", document(lambda: served.VERSION)),
            Route("/api", document(served.api_versions)),
            Route("/apis", document(served.groups)),
            Route("/api/{version}", document(resources)),
            Route("/apis/{group}", document(served.group)),
            Route("/apis/{group}/{version}", document(resources)),
            Route("/openapi/v3", document(served.openapi_index)),
            Route("/openapi/v3/api/{version}", document(openapi)),
            Route("/openapi/v3/apis/{group}/{version}", document(openapi)),
        ]

    def _resources(self, prefix: str) -> list[Route]:
        collection, one = ["GET", "POST"], ["GET", "PATCH", "PUT", "DELETE"]
        part = ["GET", "PATCH", "PUT"]
        space = prefix + "/namespaces/{namespace}/{plural}"
        return [
            Route(space, self._collection, methods=collection),
            Route(space + "/{name}", self._object, methods=one),
            Route(space + "/{name}/status", self._status, methods=part),
            Route(space + "/{name}/scale", self._scale, methods=part),
            Route(prefix + "/{plural}", self._collection, methods=collection),
            Route(prefix + "/{plural}/{name}", self._object, methods=one),
            Route(prefix + "/{plural}/{name}/status", self._status, methods=part),
        ]

    # Objects.

    async def _collection(self, request: Request) -> Response:
        kind, namespace = requests.kind_of(request), request.path_params.get("namespace")
        if request.method == "POST":
            return await self._create(request, kind, namespace)
        if request.query_params.get("watch") in ("1", "true"):
            return self._watch(request, kind, namespace)
        return self._list(request, kind, namespace)

    async def _create(self, request: Request, kind: Kind, namespace: str | None) -> Response:
        if kind.namespaced and namespace is None:
            raise Rejected(405, "MethodNotAllowed", f"{kind.plural} are created in a namespace")
        obj = await requests.body(request)
        meta = dict(obj.get("metadata") or {})
        if namespace is not None and meta.get("namespace") not in (None, "", namespace):
            raise Rejected(
                400,
                "BadRequest",
                f"the namespace of the object ({meta['namespace']}) is not that of the request ({namespace})",
            )
        if namespace is not None:
            meta["namespace"] = namespace
        return _answer(request, await self._store.create(kind, {**obj, "metadata": meta}), 201)

    def _list(self, request: Request, kind: Kind, namespace: str | None) -> Response:
        query = request.query_params
        limit = requests.number(query.get("limit"), "limit")
        version, after = requests.continued(query.get("continue", "")) or (
            self._store.now_version(),
            None,
        )
        if not self._store.remembers(kind, version):
            raise Gone("the continue parameter is too old; list from the beginning")
        found = self._store.select(kind, namespace, **requests.selectors_of(request))
        left = [obj for obj in found if after is None or requests.address(obj) > after]
        items = left[:limit] if limit else left
        # Of the first page: a watch from here tells what changed between the pages.
        meta: dict[str, Any] = {"resourceVersion": str(version)}
        if len(items) < len(left):
            meta["continue"] = requests.continue_token(version, requests.address(items[-1]))
            meta["remainingItemCount"] = len(left) - len(items)
        return _json(
            {
                "apiVersion": _asked_version(request),
                "kind": f"{kind.kind}List",
                "metadata": meta,
                "items": [_in_version(request, item) for item in items],
            }
        )

    def _watch(self, request: Request, kind: Kind, namespace: str | None) -> Response:
        query = request.query_params
        from_start = query.get("sendInitialEvents") in ("1", "true")
        events = self._store.watch(
            kind,
            namespace,
            resource_version="" if from_start else query.get("resourceVersion", ""),
            **requests.selectors_of(request),
        )
        bookmarks = query.get("allowWatchBookmarks") in ("1", "true")

        def line(event: WatchEvent | SerinusError) -> bytes:
            if isinstance(event, SerinusError):
                return _line("ERROR", status.failure(event, requests.subject_of(request)))
            if event.type == "BOOKMARK" and not bookmarks:
                return b""
            return _line(event.type, _in_version(request, event.object))

        seconds = requests.number(query.get("timeoutSeconds"), "timeoutSeconds") or WATCH_SECONDS
        return WatchResponse(events, line, seconds=seconds, closing=self._closing)

    async def _object(self, request: Request) -> Response:
        kind, namespace, name = requests.target_of(request)
        if request.method == "DELETE":
            return await self._delete(request, kind, namespace, name)
        return await self._read_or_write(request, kind, namespace, name, of_status=False)

    async def _status(self, request: Request) -> Response:
        kind, namespace, name = requests.target_of(request)
        if not self._store.has_status(kind):
            raise Rejected(404, "NotFound", requests.NO_SUCH_PATH)
        return await self._read_or_write(request, kind, namespace, name, of_status=True)

    async def _read_or_write(
        self, request: Request, kind: Kind, namespace: str, name: str, *, of_status: bool
    ) -> Response:
        store, to_status = self._store, of_status
        if request.method == "GET":
            return _answer(request, await store.get(kind, namespace, name))
        if request.method == "PUT":
            new = await requests.body(request)
            if not (new.get("metadata") or {}).get("resourceVersion") and "." in kind.group:
                raise Rejected(
                    422, "Invalid", "metadata.resourceVersion: must be specified for an update"
                )
            return _answer(
                request, await store.replace(kind, namespace, name, new, status=to_status)
            )
        raw, media = await requests.read(request), requests.media_of(request)
        if media == requests.JSON_PATCH:
            operations = msgspec.json.decode(raw, type=list[dict[str, Any]])
            new = await store.json_patch(kind, namespace, name, operations, status=to_status)
        elif media == requests.MERGE_PATCH:
            new = await store.merge_patch(
                kind, namespace, name, requests.decoded(raw), status=to_status
            )
        elif media == requests.STRATEGIC_PATCH and not requests.is_custom(kind):
            new = await store.strategic_patch(
                kind, namespace, name, requests.decoded(raw), status=to_status
            )
        else:
            raise requests.unsupported(kind)
        return _answer(request, new)

    async def _scale(self, request: Request) -> Response:
        kind, namespace, name = requests.target_of(request)
        if kind.kind not in served.SCALED:
            raise Rejected(404, "NotFound", requests.NO_SUCH_PATH)
        scale = scale_of(await self._store.get(kind, namespace, name))
        if request.method != "GET":
            raw, media = await requests.read(request), requests.media_of(request)
            if request.method == "PUT":
                wanted = requests.decoded(raw)
            elif media == requests.JSON_PATCH:
                wanted = patches.apply(scale, msgspec.json.decode(raw, type=list[dict[str, Any]]))
            elif media == requests.MERGE_PATCH:
                wanted = patches.merge(scale, requests.decoded(raw))
            else:
                raise requests.unsupported(kind)
            scale = scale_of(await self._store.merge_patch(kind, namespace, name, patch_by(wanted)))
        return _json(scale)

    async def _delete(self, request: Request, kind: Kind, namespace: str, name: str) -> Response:
        options = await requests.body(request, optional=True)
        query = request.query_params
        grace = options.get("gracePeriodSeconds", query.get("gracePeriodSeconds"))
        uid = str((options.get("preconditions") or {}).get("uid") or "")
        old = await self._store.get(kind, namespace, name)
        await self._store.delete(
            kind,
            namespace,
            name,
            uid=uid,
            propagation=str(
                options.get("propagationPolicy") or query.get("propagationPolicy") or "Background"
            ),
            grace_seconds=None
            if grace is None
            else requests.number(str(grace), "gracePeriodSeconds"),
        )
        return _json(status.success(requests.subject_of(request), old["metadata"]["uid"]))


class _Authenticated:
    """Nothing but the health checks is answered without the token.

    It comes as a bearer token or as the path's prefix, because kubectl sends no credentials over HTTP
    without TLS.
    """

    def __init__(self, inner: Starlette, token: str) -> None:
        self._inner = inner
        self._header = f"Bearer {token}".encode()
        self._prefix = token_path(token)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in OPEN_PATHS:
            inside = self._admitted(scope)
            if inside is None:
                refusal = _refused(Rejected(401, "Unauthorized", "Unauthorized"))
                await refusal(scope, receive, send)
                return
            scope = {**scope, "path": inside}
        await self._inner(scope, receive, send)

    def _admitted(self, scope: Scope) -> str | None:
        """The path without the token, None for a request without the right one."""
        path = str(scope["path"])
        start, rest = path[: len(self._prefix)], path[len(self._prefix) :]
        if hmac.compare_digest(start.encode(), self._prefix.encode()) and rest.startswith("/"):
            return rest
        given = dict(scope["headers"]).get(b"authorization", b"")
        return path if hmac.compare_digest(given, self._header) else None


# Answers.


def _asked_version(request: Request) -> str:
    group, version = request.path_params.get("group", ""), request.path_params["version"]
    return f"{group}/{version}" if group else str(version)


def _in_version(request: Request, obj: Object) -> Object:
    return {**obj, "apiVersion": _asked_version(request)}


def _answer(request: Request, obj: Object, code: int = 200) -> Response:
    return _json(_in_version(request, obj), code)


def _json(body: Any, code: int = 200) -> Response:
    return Response(msgspec.json.encode(body), status_code=code, media_type="application/json")


def _line(kind: str, obj: Any) -> bytes:
    return msgspec.json.encode({"type": kind, "object": obj}) + b"\n"


async def _healthy(_request: Request) -> Response:
    return Response("ok")


def _refused(error: SerinusError, subject: Subject = NOTHING) -> Response:
    body = status.failure(error, subject)
    answer = _json(body, body["code"])
    if "retryAfterSeconds" in body["details"]:
        answer.headers["Retry-After"] = str(body["details"]["retryAfterSeconds"])
    return answer


async def _on_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, SerinusError)  # noqa: S101  # registered for this type only
    return _refused(error, requests.subject_of(request))


async def _on_bad_json(_request: Request, error: Exception) -> Response:
    return _refused(Rejected(400, "BadRequest", f"error decoding the body: {error}"))


async def _on_no_route(_request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException) and error.status_code == 405:
        text = "the server does not allow this method on the requested resource"
        return _refused(Rejected(405, "MethodNotAllowed", text))
    return _refused(Rejected(404, "NotFound", requests.NO_SUCH_PATH))
