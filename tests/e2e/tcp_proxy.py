"""A real Envoy that splits TCP connections as a VirtualService's tcp routes say, and clients that count them.

istiod puts tcp weights into the listener: several destinations become weighted clusters, those of weight 0 are
left out, a lone one takes everything. The listener is a file that Envoy watches.
"""

import asyncio
import contextlib
import functools
import socket
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec

from agent.api.meta import Object
from agent.demo.envoy import binary
from agent.demo.processes import Child, answers, running
from tests.e2e.loopback import loopback

TYPES: Final = "type.googleapis.com/envoy"
PROXY: Final = f"{TYPES}.extensions.filters.network.tcp_proxy.v3.TcpProxy"
LISTENER: Final = f"{TYPES}.config.listener.v3.Listener"
SECONDS: Final = 20.0


def proxied(service: Object, index: int = 0) -> dict[str, Any]:
    """The tcp proxy that a tcp route becomes; clusters are named after their hosts."""
    items = service["spec"]["tcp"][index]["route"]
    cluster: dict[str, Any] = {"cluster": items[0]["destination"]["host"]}
    if len(items) > 1:
        weighted = [
            {"name": item["destination"]["host"], "weight": int(item["weight"])}
            for item in items
            if item.get("weight")
        ]
        cluster = {"weighted_clusters": {"clusters": weighted}}
    return {"@type": PROXY, "stat_prefix": "tcp", **cluster}


class TcpProxy:
    """A running Envoy; made by `tcp_proxy_running`."""

    def __init__(
        self, child: Child, client: httpx.AsyncClient, directory: Path, admin: str, port: int
    ) -> None:
        self.port = port
        self._child = child
        self._client = client
        self._directory = directory
        self._admin = admin

    async def apply(self, service: Object, version: str) -> None:
        """Put the tcp route into force and wait until it is."""
        write_listener(self._directory, service, self.port, version)

        async def used() -> bool:
            query = {"format": "json", "filter": "listener_manager.lds.version_text"}
            answer = await self._client.get(f"{self._admin}/stats", params=query)
            return any(item.get("value") == version for item in answer.json()["stats"])

        await self._child.until(f"listener {version} is not in force", used, SECONDS)


def write_listener(directory: Path, service: Object, port: int, version: str) -> None:
    """Beside, then renamed over: Envoy notices moves only."""
    listener = {
        "@type": LISTENER,
        "name": "tcp",
        "address": _address(port),
        "filter_chains": [
            {
                "filters": [
                    {"name": "envoy.filters.network.tcp_proxy", "typed_config": proxied(service)}
                ]
            }
        ],
    }
    beside = directory / "lds.next"
    beside.write_bytes(msgspec.json.encode({"version_info": version, "resources": [listener]}))
    beside.replace(directory / "lds.json")


@contextlib.asynccontextmanager
async def tcp_proxy_running(
    service: Object, ports: Mapping[str, int], port: int, directory: Path
) -> AsyncIterator[TcpProxy]:
    """Start Envoy on a loopback port, in front of one upstream for each host of the route."""
    write_listener(directory, service, port, "0")
    source = {
        "path_config_source": {"path": str(directory / "lds.json")},
        "resource_api_version": "V3",
    }
    start = {
        "node": {"id": "t", "cluster": "t"},
        "admin": {"address": _address(0)},
        "dynamic_resources": {"lds_config": source},
        "static_resources": {"clusters": [_cluster(name, at) for name, at in ports.items()]},
    }
    (directory / "bootstrap.json").write_bytes(msgspec.json.encode(start))
    admin = directory / "admin"
    command: list[str | Path] = [binary(), "-c", directory / "bootstrap.json"]
    command += ["--admin-address-path", admin, "--concurrency", "1", "--disable-hot-restart"]
    command += ["--drain-time-s", "1", "--drain-strategy", "immediate", "-l", "warning"]
    async with (
        running("Envoy", command, log=directory / "envoy.log") as child,
        loopback(timeout=2) as client,
    ):

        async def has_admin() -> bool:
            return admin.exists() and ":" in admin.read_text()

        await child.until("no admin address", has_admin, SECONDS)
        url = f"http://{admin.read_text().strip()}"
        await child.until("not ready", answers(client, f"{url}/ready"), SECONDS)
        proxy = TcpProxy(child, client, directory, url, port)
        await proxy.apply(service, "start")
        yield proxy


class _Greeter(asyncio.Protocol):
    def __init__(self, name: str) -> None:
        self._name = name.encode()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(self._name)
        transport.close()


@contextlib.asynccontextmanager
async def greeters(*names: str) -> AsyncIterator[dict[str, int]]:
    """Servers that say their name and close; host to port."""
    loop = asyncio.get_running_loop()
    async with contextlib.AsyncExitStack() as stack:
        ports: dict[str, int] = {}
        for name in names:
            server = await loop.create_server(
                functools.partial(_Greeter, name), "127.0.0.1", 0, backlog=1024
            )
            stack.push_async_callback(_stop, server)
            ports[name] = server.sockets[0].getsockname()[1]
        yield ports


async def connections(port: int, count: int, *, at_once: int = 16) -> Counter[str]:
    """Open so many connections and count who answered; "" is one that failed."""
    seen: Counter[str] = Counter()
    left = iter(range(count))

    async def worker() -> None:
        for _ in left:
            seen[await _ask(port)] += 1

    await asyncio.gather(*(worker() for _ in range(at_once)))
    return seen


async def _ask(port: int) -> str:
    """By a bare socket: streams cost twice as much, and there are ten thousands of these."""
    loop = asyncio.get_running_loop()
    said = b""
    try:
        async with asyncio.timeout(SECONDS):
            with socket.socket() as client:
                client.setblocking(False)
                await loop.sock_connect(client, ("127.0.0.1", port))
                while part := await loop.sock_recv(client, 64):
                    said += part
    except (OSError, TimeoutError):
        return ""
    return said.decode()


async def _stop(server: asyncio.Server) -> None:
    server.close()
    await server.wait_closed()


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _cluster(name: str, port: int) -> dict[str, Any]:
    endpoint = {"endpoint": {"address": _address(port)}}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [endpoint]}],
        },
    }
