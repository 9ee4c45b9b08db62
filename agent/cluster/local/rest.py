"""The local store behind the Kubernetes REST API: the same client code for a cluster and for none.

Speaks what API clients use: discovery, get, list (paged), watch, create, patch, status, delete, and errors
as `Status` objects. One bearer token may do everything; the caller binds it to loopback.
"""

import asyncio
import hmac
from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from agent.api.meta import Object
from agent.cluster.local.store import LocalCluster
from agent.cluster.port import KINDS, Kind
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

MAX_BODY: Final = 3 * 1024 * 1024
VERSIONS: Final = {"networking.istio.io": ("v1", "v1beta1", "v1alpha3")}
"""Groups that serve one and the same object in several versions."""
ERRORS: Final[dict[type[SerinusError], tuple[int, str]]] = {
    NotFound: (404, "NotFound"),
    AlreadyExists: (409, "AlreadyExists"),
    Conflict: (409, "Conflict"),
    Invalid: (422, "Invalid"),
    Forbidden: (403, "Forbidden"),
    Gone: (410, "Expired"),
    Unavailable: (503, "ServiceUnavailable"),
}


class Facade:
    """An ASGI application over a store.

    Args:
        token: bearer token that every request must carry.
    """

    def __init__(self, store: LocalCluster, *, token: str) -> None:
        self._store = store
        self._token = token
        self._closing = asyncio.Event()
        self.app = Starlette(
            routes=[
                Route("/healthz", self._healthz),
                Route("/readyz", self._healthz),
                Route("/version", self._version),
                Route("/api", self._core_versions),
                Route("/apis", self._groups),
                Route("/api/{version}", self._resources),
                Route("/apis/{group}/{version}", self._resources),
                *_routes("/api/{version}", self._collection, self._object),
                *_routes("/apis/{group}/{version}", self._collection, self._object),
            ],
            exception_handlers={SerinusError: _on_error, msgspec.MsgspecError: _on_bad_json},
        )

    def close(self) -> None:
        """End all watches, so that the server can stop."""
        self._closing.set()

    async def _healthz(self, request: Request) -> Response:
        del request
        return Response("ok")

    async def _version(self, request: Request) -> Response:
        self._authenticate(request)
        return JSONResponse({"major": "1", "minor": "34", "gitVersion": "v1.34.0-serinus-local"})

    async def _core_versions(self, request: Request) -> Response:
        self._authenticate(request)
        return JSONResponse({"kind": "APIVersions", "versions": ["v1"]})

    async def _groups(self, request: Request) -> Response:
        self._authenticate(request)
        groups = []
        for group in dict.fromkeys(kind.group for kind in KINDS.values() if kind.group):
            versions = [
                {"groupVersion": f"{group}/{version}", "version": version}
                for version in _versions_of(group)
            ]
            groups.append({"name": group, "versions": versions, "preferredVersion": versions[0]})
        return JSONResponse({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})

    async def _resources(self, request: Request) -> Response:
        self._authenticate(request)
        group, version = request.path_params.get("group", ""), request.path_params["version"]
        if version not in _versions_of(group):
            raise NotFound(f"the server does not serve {group}/{version}")
        resources: list[dict[str, Any]] = []
        for kind in KINDS.values():
            if kind.group != group:
                continue
            entry = {
                "name": kind.plural,
                "singularName": kind.kind.lower(),
                "namespaced": kind.namespaced,
                "kind": kind.kind,
                "verbs": ["create", "delete", "get", "list", "patch", "watch"],
            }
            resources.append(entry)
            if self._store.has_status(kind):
                resources.append(
                    {**entry, "name": f"{kind.plural}/status", "verbs": ["get", "patch"]}
                )
        where = f"{group}/{version}" if group else version
        return JSONResponse(
            {"kind": "APIResourceList", "groupVersion": where, "resources": resources}
        )

    async def _collection(self, request: Request) -> Response:
        self._authenticate(request)
        kind, namespace = _kind(request), request.path_params.get("namespace")
        if request.method == "POST":
            obj = await _body(request)
            meta = dict(obj.get("metadata") or {})
            if namespace:
                meta["namespace"] = namespace
            return _answer(request, await self._store.create(kind, {**obj, "metadata": meta}), 201)
        query = request.query_params
        if query.get("watch") in ("1", "true"):
            return await self._watch(request, kind, namespace)
        listing = await self._store.list(kind, namespace, labels=query.get("labelSelector", ""))
        start, limit = int(query.get("continue") or 0), int(query.get("limit") or 0)
        items = listing.items[start : start + limit] if limit else listing.items
        meta = {"resourceVersion": listing.resource_version}
        if limit and start + limit < len(listing.items):
            meta["continue"] = str(start + limit)
        body = {
            "apiVersion": _asked_version(request),
            "kind": f"{kind.kind}List",
            "metadata": meta,
            "items": [_in_version(request, item) for item in items],
        }
        return Response(msgspec.json.encode(body), media_type="application/json")

    async def _object(self, request: Request) -> Response:
        self._authenticate(request)
        kind, parameters = _kind(request), request.path_params
        namespace, name = parameters.get("namespace", ""), parameters["name"]
        status = parameters.get("subresource") == "status"
        if status and not self._store.has_status(kind):
            raise NotFound(f"{kind.plural} has no status subresource")
        if request.method == "GET":
            return _answer(request, await self._store.get(kind, namespace, name))
        if request.method == "PATCH":
            return _answer(request, await self._patch(request, kind, namespace, name, status))
        if request.method == "PUT":
            obj = await _body(request)
            return _answer(
                request, await self._store.replace(kind, namespace, name, obj, status=status)
            )
        options = await _body(request, optional=True)
        conditions = options.get("preconditions") or {}
        propagation = str(
            options.get("propagationPolicy")
            or request.query_params.get("propagationPolicy")
            or "Background"
        )
        uid = str(conditions.get("uid") or "")
        await self._store.delete(kind, namespace, name, uid=uid, propagation=propagation)
        return JSONResponse({"kind": "Status", "apiVersion": "v1", "status": "Success"})

    async def _patch(
        self, request: Request, kind: Kind, namespace: str, name: str, status: bool
    ) -> Object:
        media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        raw = await _read(request)
        if media == "application/json-patch+json":
            operations = msgspec.json.decode(raw, type=list[dict[str, Any]])
            return await self._store.json_patch(kind, namespace, name, operations, status=status)
        if media in ("application/merge-patch+json", "application/strategic-merge-patch+json"):
            patch = msgspec.json.decode(raw, type=dict[str, Any])
            return await self._store.merge_patch(kind, namespace, name, patch, status=status)
        raise Invalid(f"content type {media!r} of a patch is not supported")

    async def _watch(self, request: Request, kind: Kind, namespace: str | None) -> Response:
        query = request.query_params
        version = query.get("resourceVersion") or str(self._store.now_version())
        events = self._store.watch(
            kind, namespace, resource_version=version, labels=query.get("labelSelector", "")
        )
        bookmarks = query.get("allowWatchBookmarks") in ("1", "true")
        seconds = float(query.get("timeoutSeconds") or 300)

        async def lines() -> AsyncIterator[bytes]:
            closing = asyncio.ensure_future(self._closing.wait())
            upcoming: asyncio.Future[Any] | None = None
            try:
                async with asyncio.timeout(seconds):
                    while not closing.done():
                        upcoming = asyncio.ensure_future(anext(events))
                        await asyncio.wait({upcoming, closing}, return_when=asyncio.FIRST_COMPLETED)
                        if not upcoming.done():
                            return
                        event = upcoming.result()
                        if event.type != "BOOKMARK" or bookmarks:
                            yield _line(event.type, _in_version(request, event.object))
            except (TimeoutError, StopAsyncIteration):
                return
            except SerinusError as error:
                yield _line("ERROR", _status(error))
            finally:
                for waiting in (closing, upcoming):
                    if waiting is not None and not waiting.done():
                        waiting.cancel()
                await asyncio.gather(*(w for w in (closing, upcoming) if w), return_exceptions=True)
                await events.aclose()  # type: ignore[attr-defined]  # an async generator

        return StreamingResponse(lines(), media_type="application/json")

    def _authenticate(self, request: Request) -> None:
        given = request.headers.get("authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {self._token}".encode()):
            raise Forbidden(
                "a bearer token is needed; it is in the kubeconfig of `serinus cluster up`"
            )


def _routes(prefix: str, collection: Any, single: Any) -> list[Route]:
    verbs = ["GET", "PATCH", "PUT", "DELETE"]
    return [
        Route(prefix + "/namespaces/{namespace}/{plural}", collection, methods=["GET", "POST"]),
        Route(prefix + "/namespaces/{namespace}/{plural}/{name}", single, methods=verbs),
        Route(
            prefix + "/namespaces/{namespace}/{plural}/{name}/{subresource}", single, methods=verbs
        ),
        Route(prefix + "/{plural}", collection, methods=["GET", "POST"]),
        Route(prefix + "/{plural}/{name}", single, methods=verbs),
        Route(prefix + "/{plural}/{name}/{subresource}", single, methods=verbs),
    ]


def _versions_of(group: str) -> tuple[str, ...]:
    known = VERSIONS.get(group)
    return known or tuple(
        dict.fromkeys(kind.version for kind in KINDS.values() if kind.group == group)
    )


def _kind(request: Request) -> Kind:
    group, version = request.path_params.get("group", ""), request.path_params["version"]
    plural = request.path_params["plural"]
    for kind in KINDS.values():
        if (kind.group, kind.plural) == (group, plural) and version in _versions_of(group):
            return kind
    raise NotFound(f"the server does not serve {plural} in {group or 'core'}/{version}")


def _asked_version(request: Request) -> str:
    group, version = request.path_params.get("group", ""), request.path_params["version"]
    return f"{group}/{version}" if group else str(version)


def _in_version(request: Request, obj: Object) -> Object:
    return {**obj, "apiVersion": _asked_version(request)}


def _answer(request: Request, obj: Object, status: int = 200) -> Response:
    return Response(
        msgspec.json.encode(_in_version(request, obj)),
        status_code=status,
        media_type="application/json",
    )


async def _read(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise Invalid(f"the body is longer than {MAX_BODY} bytes")
    return bytes(body)


async def _body(request: Request, *, optional: bool = False) -> dict[str, Any]:
    raw = await _read(request)
    if optional and not raw:
        return {}
    return msgspec.json.decode(raw, type=dict[str, Any])


def _line(kind: str, obj: Any) -> bytes:
    return msgspec.json.encode({"type": kind, "object": obj}) + b"\n"


def _status(error: Exception) -> dict[str, Any]:
    code, reason = ERRORS.get(type(error), (500, "InternalError"))  # type: ignore[arg-type]
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": str(error),
        "reason": reason,
        "code": code,
    }


async def _on_error(request: Request, error: Exception) -> Response:
    del request
    body = _status(error)
    return JSONResponse(body, status_code=body["code"])


async def _on_bad_json(request: Request, error: Exception) -> Response:
    del request
    body = {**_status(error), "reason": "BadRequest", "code": 400}
    return JSONResponse(body, status_code=400)
