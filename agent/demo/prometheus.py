"""A real Prometheus on loopback that scrapes the demo's Envoy, when one is installed."""

import contextlib
import math
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import yaml

from agent.demo.processes import START_SECONDS, answers, free_port, running
from agent.demo.translate import METRIC
from agent.errors import Unavailable

INSTALL_LINE = "apt-get install --no-install-recommends prometheus prometheus-alertmanager"
QUERY_SECONDS = 2.0
ALERT = "CanaryErrors"


def binary() -> str | None:
    """The program, None when it is not installed (INSTALL_LINE says how; the demo never installs)."""
    return shutil.which("prometheus")


def configuration(*, metrics: str, alertmanager: str, rules_file: Path) -> dict[str, Any]:
    """Everything every second. `metrics` and `alertmanager` are host:port; "" sends no alerts.

    Only the renaming makes Envoy's counter the one of Istio's telemetry: its labels are already right.
    """
    config: dict[str, Any] = {
        "global": {
            "scrape_interval": "1s",
            "scrape_timeout": "1s",
            "evaluation_interval": "1s",
        },
        "rule_files": [str(rules_file.absolute())],
        "scrape_configs": [
            {
                "job_name": "envoy",
                "metrics_path": "/stats/prometheus",
                "params": {"filter": ["istio"]},
                "static_configs": [{"targets": [metrics]}],
                "metric_relabel_configs": [
                    {
                        "source_labels": ["__name__"],
                        "regex": METRIC,
                        "target_label": "__name__",
                        "replacement": METRIC.removeprefix("envoy_"),
                    }
                ],
            }
        ],
    }
    if alertmanager:
        config["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]}
    return config


def rules(*, rollout: str, threshold: float = 0.05, window: str = "4s") -> dict[str, Any]:
    """One alert on the canary's own answers. `rollout` is `namespace/name`, an explicit match."""
    by = "destination_service_name, destination_service_namespace, destination_version"
    metric = METRIC.removeprefix("envoy_")
    failed = f'rate({metric}{{destination_subset="canary", response_code=~"5.*"}}[{window}])'
    every = f'rate({metric}{{destination_subset="canary"}}[{window}])'
    rule = {
        "alert": ALERT,
        "expr": f"sum by ({by}) ({failed}) / sum by ({by}) ({every}) > {threshold}",
        "labels": {"severity": "critical", "rollout": rollout},
        "annotations": {
            "summary": "{{ $value | humanizePercentage }} of the canary's answers are 5xx "
            "({{ $labels.destination_version }})"
        },
    }
    return {"groups": [{"name": "canary", "rules": [rule]}]}


class Prometheus:
    """A running Prometheus; `url` is its base address."""

    def __init__(self, url: str, client: httpx.AsyncClient) -> None:
        self.url = url
        self._client = client

    async def value(self, query: str) -> float | None:
        """The value of an instant query with one result; None when there is none or it is NaN."""
        try:
            answer = await self._client.get(f"{self.url}/api/v1/query", params={"query": query})
        except httpx.TransportError as error:
            raise Unavailable(f"Prometheus: {error!r}") from error
        found = answer.json()["data"]["result"]
        if not found:
            return None
        value = float(found[0]["value"][1])
        return None if math.isnan(value) else value


@contextlib.asynccontextmanager
async def prometheus_running(
    *, admin_url: str, rollout: str, alertmanager_url: str = "", window: str = "4s"
) -> AsyncIterator[Prometheus]:
    """Start Prometheus on a free port, scraping Envoy's admin address, and stop it with the context.

    Raises Unavailable when it is not installed or does not become ready.
    """
    program = binary()
    if program is None:
        raise Unavailable(f"missing: prometheus ({INSTALL_LINE})")
    async with contextlib.AsyncExitStack() as stack:
        directory = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="serinus-prometheus-"))
        )
        rules_file, config_file = directory / "rules.yml", directory / "prometheus.yml"
        rules_file.write_text(yaml.safe_dump(rules(rollout=rollout, window=window)))
        config = configuration(
            metrics=admin_url.removeprefix("http://"),
            alertmanager=alertmanager_url.removeprefix("http://"),
            rules_file=rules_file,
        )
        config_file.write_text(yaml.safe_dump(config))
        port = free_port()
        command = [
            program,
            f"--config.file={config_file}",
            f"--storage.tsdb.path={directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--rules.alert.resend-delay=2s",
            "--log.level=warn",
        ]
        child = await stack.enter_async_context(
            running("Prometheus", command, log=directory / "prometheus.log")
        )
        client = await stack.enter_async_context(
            httpx.AsyncClient(timeout=QUERY_SECONDS, trust_env=False)
        )
        url = f"http://127.0.0.1:{port}"
        await child.until("not ready", answers(client, f"{url}/-/ready"), START_SECONDS)
        yield Prometheus(url, client)
