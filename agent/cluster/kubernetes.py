"""The Kubernetes port over kubernetes-asyncio: its authentication and transport, our own semantics.

Only dicts travel: the library's models cost tens of milliseconds a list. Content types are explicit (its
default for a dict patch is wrong).
"""

import asyncio
import builtins
import random
from collections.abc import AsyncIterator, Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import msgspec
import yaml

from agent.api.meta import Object
from agent.api.names import FIELD_MANAGER
from agent.clock import Clock
from agent.cluster.discovery import LOCAL, Discovery, Served
from agent.cluster.port import Kind, Listing, WatchEvent
from agent.cluster.transport import Clients, Request, Transport, error_of, hang_up, words
from agent.errors import Forbidden, Gone, Invalid, NotFound, Unavailable

PAGE: Final = 500
LIST_STARTS: Final = 3
"""How often a list whose pages expired is begun anew."""
WATCH_SECONDS: Final = (240, 360)
WATCH_OPEN_SECONDS: Final = 10.0
MAX_LINE: Final = 8 * 1024 * 1024
URGENT_CONNECTIONS: Final = 16
ROUTINE_CONNECTIONS: Final = 64
MERGE: Final = "application/merge-patch+json"
JSON_PATCH: Final = "application/json-patch+json"
NOT_OLDER: Final = "NotOlderThan"
SIGNED: Final = (("fieldManager", FIELD_MANAGER),)
"""Query of every write: `managedFields` then say which fields are ours."""


class KubernetesCluster:
    """agent.cluster.port.Cluster of a real API server (or of the local facade). Make it with `connect`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._discovery = Discovery(self._resources)

    @property
    def skew_seconds(self) -> float:
        """API server's clock minus ours, from its Date header (resolution 1 s)."""
        return self._transport.skew_seconds

    async def get(self, kind: Kind, namespace: str, name: str, *, urgent: bool = False) -> Object:
        served = await self._discovery.served(kind, urgent=urgent)
        request = Request("GET", served.path(namespace, name))
        return served.named(await self._transport.call(request, urgent=urgent))

    async def list(
        self, kind: Kind, namespace: str | None = None, *, labels: str = "", fields: str = ""
    ) -> Listing:
        served = await self._discovery.served(kind)
        for start in range(1, LIST_STARTS + 1):
            try:
                return await self._pages(served, namespace, labels, fields)
            except Gone:
                if start == LIST_STARTS:
                    raise
            except NotFound:
                self._discovery.forget(kind)
                raise
        raise AssertionError("unreachable: the last start returns or raises")

    async def watch(
        self, kind: Kind, namespace: str | None = None, *, resource_version: str, labels: str = ""
    ) -> AsyncIterator[WatchEvent]:
        served = await self._discovery.served(kind)
        seconds = random.randint(*WATCH_SECONDS)  # noqa: S311  # jitter, so that watches do not end together
        query = (
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("resourceVersion", resource_version),
            ("timeoutSeconds", str(seconds)),
            *((("labelSelector", labels),) if labels else ()),
        )
        request = Request("GET", served.path(namespace), query)
        try:
            if resource_version:
                await self._check_reached(served, namespace, resource_version)
            async with asyncio.timeout(WATCH_OPEN_SECONDS):
                response = await self._transport.open(
                    request, seconds=seconds + 30, silence_seconds=seconds + 15
                )
        except TimeoutError:
            raise Unavailable(f"{request}: no answer in {WATCH_OPEN_SECONDS:.0f} s") from None
        except NotFound:
            self._discovery.forget(kind)
            raise
        try:
            async for line in _lines(response):
                yield _event(served, line)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(f"watch of {kind.plural} ended: {words(error)}") from error
        finally:
            hang_up(response)

    async def create(self, kind: Kind, obj: Object) -> Object:
        served = await self._discovery.served(kind)
        namespace = (obj.get("metadata") or {}).get("namespace") or "default"
        # Not repeated after an unknown outcome: the caller sees AlreadyExists or creates again itself.
        request = Request(
            "POST", served.path(namespace), SIGNED, body=served.named(obj), repeatable=False
        )
        return served.named(await self._transport.call(request))

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
        served = await self._discovery.served(kind, urgent=urgent)
        path = served.path(namespace, name) + ("/status" if status and served.has_status else "")
        # Absolute values, so a second time changes nothing more; with a version it is a Conflict.
        request = Request("PATCH", path, SIGNED, body=patch, media=MERGE)
        return served.named(await self._transport.call(request, urgent=urgent))

    async def json_patch(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        patch: builtins.list[dict[str, Any]],
        *,
        urgent: bool = False,
    ) -> Object:
        served = await self._discovery.served(kind, urgent=urgent)
        words_of = {operation.get("op") for operation in patch}
        request = Request(
            "PATCH",
            served.path(namespace, name),
            SIGNED,
            body=patch,
            media=JSON_PATCH,
            repeatable="test" in words_of or words_of == {"replace"},
            tested="test" in words_of,
        )
        return served.named(await self._transport.call(request, urgent=urgent))

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
        await self._transport.call(Request("DELETE", served.path(namespace, name), body=body))

    async def is_local(self) -> bool:
        """Whether this is the local cluster of `serinus cluster up`: one person's, on loopback."""
        try:
            answer = await self._transport.call(Request("GET", "/version"))
        except (NotFound, Forbidden):
            return False
        return str(answer.get("gitVersion", "")).endswith(LOCAL)

    async def aclose(self) -> None:
        await self._transport.aclose()

    async def _resources(self, path: str, *, urgent: bool) -> Object:
        return await self._transport.call(Request("GET", path), urgent=urgent)

    async def _check_reached(self, served: Served, namespace: str | None, version: str) -> None:
        """Raises Gone when the cluster is not as far as a version that it once had.

        After a restore from a backup it is not. A watch from there would be silent until it is; a list
        that must be no older is answered from the API server's memory, or says so after some seconds.
        """
        wanted = {"limit": "1", "resourceVersion": version, "resourceVersionMatch": NOT_OLDER}
        await self._transport.call(Request("GET", served.path(namespace), tuple(wanted.items())))

    async def _pages(
        self, served: Served, namespace: str | None, labels: str, fields: str
    ) -> Listing:
        items: builtins.list[Object] = []
        page = version = ""
        while True:
            query = {
                "limit": str(PAGE),
                "continue": page,
                "labelSelector": labels,
                "fieldSelector": fields,
            }
            request = Request(
                "GET",
                served.path(namespace),
                tuple((name, value) for name, value in query.items() if value),
            )
            answer = await self._transport.call(request)
            items += [served.named(item) for item in answer.get("items") or ()]
            meta = answer.get("metadata") or {}
            version = version or str(meta.get("resourceVersion", ""))
            page = meta.get("continue") or ""
            if not page:
                return Listing(tuple(items), version)


async def connect(
    clock: Clock, *, kubeconfig: Path | None = None, context: str = ""
) -> KubernetesCluster:
    """A client by kubeconfig, or as the service account of the pod it runs in.

    Raises Invalid, with the fix, when neither is there.
    """
    # Half a second and 70 MB: only who talks to an API server pays for it.
    from kubernetes_asyncio.client import ApiClient, Configuration

    # Not the process-wide default that a call of the class would copy.
    configuration: Any = type.__call__(Configuration)
    await _load(configuration, kubeconfig, context)
    configuration.retries = False

    def client(connections: int) -> Any:
        configuration.connection_pool_maxsize = connections
        own: Any = ApiClient(configuration=configuration)
        own.user_agent = FIELD_MANAGER
        if _is_loopback(configuration.host):
            # A proxy of the environment cannot reach this machine's loopback; there is no setting for it.
            own.rest_client.pool_manager._trust_env = False  # noqa: SLF001
        return own

    async def reload() -> None:
        await _load(configuration, kubeconfig, context)

    clients = Clients(
        urgent=client(URGENT_CONNECTIONS),
        fresh=client(URGENT_CONNECTIONS),
        routine=client(ROUTINE_CONNECTIONS),
    )
    return KubernetesCluster(Transport(clients, clock, reload))


async def _load(configuration: Any, kubeconfig: Path | None, context: str) -> None:
    from kubernetes_asyncio import config
    from kubernetes_asyncio.config import ConfigException

    if kubeconfig is not None and not _is_file(kubeconfig):
        raise Invalid(f"there is no kubeconfig {kubeconfig}; set cluster.kubeconfig")
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
    except (ConfigException, OSError, yaml.YAMLError) as error:
        where = (
            f"kubeconfig {kubeconfig}" if kubeconfig else "no kubeconfig is set and this is no pod"
        )
        raise Invalid(f"{where}: {error}; set cluster.kubeconfig") from error
    if configuration.refresh_api_key_hook is not None:
        configuration.refresh_api_key_hook = _guarded(configuration.refresh_api_key_hook)


def _guarded(refresh: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The library reads a token again in the middle of a request; one that is not readable now is so later."""
    from kubernetes_asyncio.config import ConfigException

    async def refreshed(configuration: Any) -> None:
        try:
            answer = refresh(configuration)
            if asyncio.iscoroutine(answer):
                await answer
        except (ConfigException, OSError) as error:
            raise Unavailable(f"the credentials cannot be read: {error}") from error

    return refreshed


def _is_loopback(server: str) -> bool:
    host = urlsplit(server).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _event(served: Served, line: bytes) -> WatchEvent:
    """One line of a watch. Raises the error that an ERROR event means."""
    try:
        event = msgspec.json.decode(line, type=dict[str, Any])
        kind, obj = event["type"], event["object"]
    except (msgspec.MsgspecError, KeyError) as error:
        raise Unavailable(f"an event of {served.kind.plural} is not readable: {error}") from error
    if kind == "ERROR":
        raise error_of(int(obj.get("code") or 500), msgspec.json.encode(obj), {})
    return WatchEvent(kind, served.named(obj))


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


def _is_file(path: Path) -> bool:
    return path.is_file()
