"""The Kubernetes port over kubernetes-asyncio: its authentication and transport, our own semantics.

Only dicts travel: the library's models cost tens of milliseconds a list. Content types are explicit (its
default for a dict patch is wrong). Two clients with connections of their own are the two budgets: urgent
writes never wait for routine ones.
"""

import builtins
import random
from collections.abc import AsyncIterator, Callable
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec
import structlog

from agent.api.meta import Object
from agent.clock import Clock
from agent.cluster.discovery import Discovery
from agent.cluster.port import Kind, Listing, WatchEvent
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
CONNECT_SECONDS: Final = 2.0
PAGE: Final = 500
ATTEMPTS: Final = 4
BACKOFF_SECONDS: Final = 0.1
MAX_RETRY_AFTER: Final = 10.0
WATCH_SECONDS: Final = (240, 360)
MAX_LINE: Final = 8 * 1024 * 1024
SKEW_WARN_SECONDS: Final = 2.0
MERGE: Final = "application/merge-patch+json"
JSON_PATCH: Final = "application/json-patch+json"


class KubernetesCluster:
    """agent.cluster.port.Cluster of a real API server (or of the local facade). Make it with `connect`."""

    def __init__(self, urgent: Any, routine: Any, clock: Clock) -> None:
        self._urgent = urgent
        self._routine = routine
        self._clock = clock
        self._discovery = Discovery(self._resources)
        self.skew_seconds = 0.0
        """API server's clock minus ours, from its Date header (resolution 1 s)."""

    async def get(self, kind: Kind, namespace: str, name: str, *, urgent: bool = False) -> Object:
        served = await self._discovery.served(kind)
        return await self._call("GET", served.path(namespace, name), urgent=urgent)

    async def list(self, kind: Kind, namespace: str | None = None, *, labels: str = "") -> Listing:
        served = await self._discovery.served(kind)
        path, items, page, version = served.path(namespace), [], "", ""
        while True:
            query = {"limit": str(PAGE), "continue": page, "labelSelector": labels}
            answer = await self._call("GET", path, query=query)
            items += [served.named(item) for item in answer.get("items") or ()]
            version = version or str(answer["metadata"]["resourceVersion"])
            page = answer["metadata"].get("continue") or ""
            if not page:
                return Listing(tuple(items), version)

    async def watch(
        self, kind: Kind, namespace: str | None = None, *, resource_version: str, labels: str = ""
    ) -> AsyncIterator[WatchEvent]:
        served = await self._discovery.served(kind)
        seconds = random.randint(*WATCH_SECONDS)  # noqa: S311  # jitter, so that watches do not end together
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(seconds),
            "labelSelector": labels,
        }
        timeout = aiohttp.ClientTimeout(
            total=seconds + 30, sock_connect=CONNECT_SECONDS, sock_read=seconds + 15
        )
        response = await self._send(
            "GET", served.path(namespace), query, None, "", timeout, self._routine
        )
        try:
            if response.status != 200:
                raise _error(response.status, await response.read(), response.headers)
            async for line in _lines(response):
                event = msgspec.json.decode(line)
                obj = event["object"]
                if event["type"] == "ERROR":
                    raise _error(int(obj.get("code") or 500), msgspec.json.encode(obj), {})
                yield WatchEvent(event["type"], served.named(obj))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(f"watch of {kind.plural} ended: {_words(error)}") from error
        finally:
            response.close()

    async def create(self, kind: Kind, obj: Object) -> Object:
        served = await self._discovery.served(kind)
        namespace = (obj.get("metadata") or {}).get("namespace") or "default"
        body = {"apiVersion": served.api_version, "kind": kind.kind, **obj}
        # Not repeated after an unknown outcome: the caller sees AlreadyExists or creates again itself.
        return await self._call("POST", served.path(namespace), body=body, attempts=1)

    async def merge_patch(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        patch: dict[str, Any],
        *,
        status: bool = False,
        urgent: bool = False,
    ) -> Object:
        served = await self._discovery.served(kind)
        path = served.path(namespace, name) + ("/status" if status and served.has_status else "")
        return await self._call("PATCH", path, body=patch, media=MERGE, urgent=urgent)

    async def json_patch(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        patch: builtins.list[dict[str, Any]],
        *,
        urgent: bool = False,
    ) -> Object:
        served = await self._discovery.served(kind)
        try:
            return await self._call(
                "PATCH", served.path(namespace, name), body=patch, media=JSON_PATCH, urgent=urgent
            )
        except Invalid as error:
            # A failed `test` is 422, as is a result that the schema refuses: only the words differ.
            if (
                any(operation.get("op") == "test" for operation in patch)
                and "test" in str(error).lower()
            ):
                raise Conflict(str(error)) from error
            raise

    async def delete(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        *,
        uid: str = "",
        propagation: str = "Background",
    ) -> None:
        served = await self._discovery.served(kind)
        body: dict[str, Any] = {
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "propagationPolicy": propagation,
        }
        if uid:
            body["preconditions"] = {"uid": uid}
        await self._call("DELETE", served.path(namespace, name), body=body)

    async def aclose(self) -> None:
        for client in (self._urgent, self._routine):
            await client.close()

    async def _resources(self, path: str) -> Object:
        return await self._call("GET", path)

    async def _call(
        self,
        method: str,
        path: str,
        *,
        query: dict[str, str] | None = None,
        body: Any = None,
        media: str = "application/json",
        urgent: bool = False,
        attempts: int = ATTEMPTS,
    ) -> Object:
        """One request with its retries. Patches carry a precondition or are absolute: safe to repeat."""
        if urgent:
            return await self._urgently(method, path, query, body, media)
        for attempt in range(1, attempts + 1):
            try:
                return await self._once(
                    method, path, query, body, media, ROUTINE_SECONDS, self._routine
                )
            except Unavailable as error:
                if attempt == attempts:
                    raise
                ceiling = BACKOFF_SECONDS * 2**attempt
                wait = error.retry_after_seconds or random.uniform(0, ceiling)  # noqa: S311  # jitter
                await self._clock.sleep(min(wait, MAX_RETRY_AFTER))
        raise AssertionError("unreachable")

    async def _urgently(
        self, method: str, path: str, query: dict[str, str] | None, body: Any, media: str
    ) -> Object:
        """A short deadline, and at once a second try: the pool opens a new connection for it."""
        try:
            return await self._once(method, path, query, body, media, URGENT_SECONDS, self._urgent)
        except Unavailable as error:
            log.warning("kubernetes.urgent_retry", method=method, path=path, error=str(error))
            return await self._once(method, path, query, body, media, URGENT_SECONDS, self._urgent)

    async def _once(
        self,
        method: str,
        path: str,
        query: dict[str, str] | None,
        body: Any,
        media: str,
        seconds: float,
        client: Any,
    ) -> Object:
        timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=min(seconds, CONNECT_SECONDS))
        response = await self._send(method, path, query, body, media, timeout, client)
        try:
            data = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(f"{method} {path}: {_words(error)}") from error
        finally:
            response.release()
        self._note_date(response.headers.get("Date", ""))
        if not 200 <= response.status < 300:
            raise _error(response.status, data, response.headers)
        try:
            answer: Object = msgspec.json.decode(data)
        except msgspec.MsgspecError as error:
            raise Unavailable(f"{method} {path}: the answer is not JSON ({error})") from error
        return answer

    async def _send(
        self,
        method: str,
        path: str,
        query: dict[str, str] | None,
        body: Any,
        media: str,
        timeout: aiohttp.ClientTimeout,
        client: Any,
    ) -> Any:
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = media
        try:
            return await client.call_api(
                path,
                method,
                query_params=[(name, value) for name, value in (query or {}).items() if value],
                header_params=headers,
                body=body,
                auth_settings=["BearerToken"],
                _preload_content=False,
                _request_timeout=timeout,
            )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(f"{method} {path}: {_words(error)}") from error

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


async def connect(
    clock: Clock, *, kubeconfig: Path | None = None, context: str = ""
) -> KubernetesCluster:
    """A client by kubeconfig, or as the service account of the pod it runs in.

    Raises Invalid, with the fix, when neither is there.
    """
    configuration = await _configuration(kubeconfig, context)
    from kubernetes_asyncio.client import ApiClient

    def client(connections: int) -> Any:
        own: Any = ApiClient(configuration=configuration)
        own.rest_client.pool_manager.connector._limit = connections  # noqa: SLF001  # no setting for it
        own.user_agent = "serinus"
        return own

    return KubernetesCluster(client(16), client(64), clock)


async def _configuration(kubeconfig: Path | None, context: str) -> Any:
    # Half a second and 70 MB: only who talks to an API server pays for it.
    from kubernetes_asyncio import config
    from kubernetes_asyncio.client import Configuration
    from kubernetes_asyncio.config import ConfigException

    configuration = type.__call__(Configuration)
    try:
        if kubeconfig is not None:
            await config.load_kube_config(
                config_file=str(kubeconfig),
                context=context or None,
                client_configuration=configuration,
            )
        else:
            load_incluster: Any = config.load_incluster_config  # untyped
            load_incluster(client_configuration=configuration)
    except ConfigException as error:
        where = (
            f"kubeconfig {kubeconfig}" if kubeconfig else "no kubeconfig is set and this is no pod"
        )
        raise Invalid(f"{where}: {error}; set cluster.kubeconfig") from error
    configuration.retries = False
    return configuration


async def _lines(response: Any) -> AsyncIterator[bytes]:
    """Lines of a chunked answer, of bounded length; a last line without its end is dropped."""
    buffer = bytearray()
    async for chunk in response.content.iter_any():
        buffer += chunk
        while (end := buffer.find(b"\n")) >= 0:
            line = bytes(buffer[:end])
            del buffer[: end + 1]
            if line.strip():
                yield line
        if len(buffer) > MAX_LINE:
            raise Unavailable(f"a watch event is longer than {MAX_LINE} bytes")


def _error(status: int, body: bytes, headers: Any) -> SerinusError:
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        decoded = {}
    if not isinstance(decoded, dict):
        decoded = {}
    message = str(decoded.get("message") or f"HTTP {status}")[:1000]
    reason = str(decoded.get("reason") or "")
    if status == 409 and reason == "AlreadyExists":
        return AlreadyExists(message)
    kinds: dict[int, Callable[[str], SerinusError]] = {
        401: Forbidden, 403: Forbidden, 404: NotFound, 409: Conflict, 410: Gone,
    }  # fmt: skip
    if status in kinds:
        return kinds[status](message)
    if status in (400, 405, 406, 413, 415, 422):
        return Invalid(message)
    try:
        after = float(headers.get("Retry-After", ""))
    except (TypeError, ValueError):
        after = 0.0
    return Unavailable(f"{message} (HTTP {status})", retry_after_seconds=after or None)


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__
