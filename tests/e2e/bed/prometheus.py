"""Debian's Prometheus: everything each second; targets and rules are files of its directory."""

from pathlib import Path
from typing import Any, Final

import httpx
import yaml

from tests.e2e.bed.servers import Server
from tests.e2e.bed.tools import include, installed
from tests.e2e.processes import free_port

START_SECONDS: Final = 20.0


def build() -> None:
    """Install it when that is allowed."""
    installed("prometheus")


class Prometheus:
    """A server that may be killed and started again.

    `directory`/targets/*.yml (file_sd) says what it scrapes, `directory`/rules/*.yml what it evaluates.

    Args:
        alertmanager: base address of who gets the alerts, "" for nobody.
    """

    def __init__(self, directory: Path, *, alertmanager: str = "") -> None:
        include("prometheus")
        for name in ("rules", "targets"):
            (directory / name).mkdir(parents=True, exist_ok=True)
        config = directory / "prometheus.yml"
        config.write_text(yaml.safe_dump(_configuration(directory.absolute(), alertmanager)))
        self.url = f"http://127.0.0.1:{free_port()}"
        self.server = Server(
            "prometheus",
            [
                installed("prometheus"),
                f"--config.file={config}",
                f"--storage.tsdb.path={directory / 'data'}",
                f"--web.listen-address={self.url.removeprefix('http://')}",
                "--web.enable-lifecycle",
                # An Alertmanager that was away hears of a firing alert after this time; a minute else.
                "--rules.alert.resend-delay=2s",
                "--log.level=warn",
            ],
            directory=directory,
        )

    def start(self) -> None:
        """Start it (again) and wait until it is ready."""
        self.server.start()
        self.server.until(lambda: answers(f"{self.url}/-/ready"), "ready", START_SECONDS)


def answers(url: str) -> bool:
    """Whether a GET is answered by 200."""
    try:
        return httpx.get(url, timeout=2.0, trust_env=False).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def _configuration(directory: Path, alertmanager: str) -> dict[str, Any]:
    target = alertmanager.removeprefix("http://")
    return {
        "global": {
            "scrape_interval": "1s",
            "scrape_timeout": "1s",
            "evaluation_interval": "1s",
        },
        # Absolute: a rule file that is not found is left out without a word.
        "rule_files": [f"{directory}/rules/*.yml"],
        "scrape_configs": [
            {
                "job_name": "bed",
                "file_sd_configs": [
                    {"files": [f"{directory}/targets/*.yml"], "refresh_interval": "1s"}
                ],
            }
        ],
        "alerting": {
            "alertmanagers": [{"static_configs": [{"targets": [target]}]}] if target else []
        },
    }
