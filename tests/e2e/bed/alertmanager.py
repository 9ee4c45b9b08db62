"""Debian's Alertmanager, which tells its receiver at once."""

from pathlib import Path
from typing import Final

import yaml

from agent.demo.alertmanager import configuration
from tests.e2e.bed.prometheus import START_SECONDS, answers
from tests.e2e.bed.servers import Server
from tests.e2e.bed.tools import include, installed
from tests.e2e.processes import free_port

PROGRAM: Final = "prometheus-alertmanager"
WEBHOOK: Final = "http://127.0.0.1:8080/webhooks/alertmanager"
"""Where an agent of README's first example listens."""


def build() -> None:
    """Install it when that is allowed."""
    installed(PROGRAM)


class Alertmanager:
    """A server that may be killed and started again.

    Args:
        webhook: URL of its only receiver.
        token: what it sends along as bearer.
    """

    def __init__(self, directory: Path, *, token: str, webhook: str = WEBHOOK) -> None:
        include("alertmanager")
        directory.mkdir(parents=True, exist_ok=True)
        self.config = directory / "alertmanager.yml"
        self.config.write_text(yaml.safe_dump(configuration(webhook_url=webhook, token=token)))
        self.url = f"http://127.0.0.1:{free_port()}"
        self.server = Server(
            "alertmanager",
            [
                installed(PROGRAM),
                f"--config.file={self.config}",
                f"--storage.path={directory / 'data'}",
                f"--web.listen-address={self.url.removeprefix('http://')}",
                # No cluster, or it would listen on all interfaces.
                "--cluster.listen-address=",
                "--log.level=warn",
            ],
            directory=directory,
        )

    def start(self) -> None:
        """Start it (again) and wait until it is ready."""
        self.server.start()
        self.server.until(lambda: answers(f"{self.url}/-/ready"), "ready", START_SECONDS)
