"""A real Prometheus that scrapes counters of a test's making."""

import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Final

import yaml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from agent.demo.processes import START_SECONDS, answers, free_port, running
from agent.http_server import serving
from tests.e2e.bed.tools import include, installed
from tests.e2e.loopback import loopback

SCRAPE: Final = "200ms"
METRIC: Final = "istio_requests_total"

Labels = tuple[tuple[str, str], ...]


class Service:
    """The counters of one target. `up` False: the target does not answer any more."""

    def __init__(self, rates: Mapping[Labels, float]) -> None:
        self.up = True
        self.born: dict[Labels, float] = {}
        self._rates = dict(rates)
        self._since = time.monotonic()
        self._stopped: float | None = None

    def stop(self) -> None:
        """No traffic any more; the counters stay."""
        self._stopped = time.monotonic()

    def text(self) -> str:
        """The exposition."""
        seconds = (self._stopped or time.monotonic()) - self._since
        counts = {labels: int(rate * seconds) for labels, rate in self._rates.items()}
        lines = [f"# TYPE {METRIC} counter"]
        for labels, count in {**counts, **self.born}.items():
            inner = ",".join(f'{name}="{value}"' for name, value in labels)
            lines.append(f"{METRIC}{{{inner}}} {count}")
        return "\n".join(lines) + "\n"


@contextlib.asynccontextmanager
async def scraping(services: Mapping[str, Service], directory: Path) -> AsyncIterator[str]:
    """The address of a Prometheus that scrapes each service as a job of its name."""
    include("prometheus")

    async def expose(request: Request) -> Response:
        service = services[request.path_params["name"]]
        if not service.up:
            return PlainTextResponse("gone", status_code=503)
        return PlainTextResponse(service.text(), media_type="text/plain; version=0.0.4")

    app = Starlette(routes=[Route("/{name}", expose)])
    async with contextlib.AsyncExitStack() as stack:
        target = await stack.enter_async_context(serving(app, host="127.0.0.1", port=0))
        config = {
            "global": {"scrape_interval": SCRAPE, "scrape_timeout": SCRAPE},
            "scrape_configs": [
                {
                    "job_name": name,
                    "metrics_path": f"/{name}",
                    "static_configs": [{"targets": [f"127.0.0.1:{target}"]}],
                }
                for name in services
            ],
        }
        file = directory / "prometheus.yml"
        file.write_text(yaml.safe_dump(config))
        port = free_port()
        child = await stack.enter_async_context(
            running(
                "Prometheus",
                [
                    installed("prometheus"),
                    f"--config.file={file}",
                    f"--storage.tsdb.path={directory / 'data'}",
                    f"--web.listen-address=127.0.0.1:{port}",
                    "--log.level=warn",
                ],
                log=directory / "prometheus.log",
            )
        )
        url = f"http://127.0.0.1:{port}"
        async with loopback(timeout=2.0) as client:
            await child.until("not ready", answers(client, f"{url}/-/ready"), START_SECONDS)
        yield url
