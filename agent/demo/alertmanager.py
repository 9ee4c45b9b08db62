"""A real Alertmanager on loopback that tells the agent at once, when one is installed."""

import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import yaml

from agent.demo.processes import START_SECONDS, answers, free_port, running
from agent.demo.prometheus import INSTALL_LINE
from agent.errors import Unavailable

PROBE_SECONDS = 2.0


def binary() -> str | None:
    """The program (Debian's name, then upstream's), None when it is not installed."""
    return shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")


def configuration(*, webhook_url: str, token: str) -> dict[str, Any]:
    """One receiver without waiting: the default group_wait of 30 s dwarfs everything after it."""
    return {
        "route": {
            "receiver": "serinus",
            "group_by": ["alertname", "rollout"],
            "group_wait": "0s",
            "group_interval": "1s",
            "repeat_interval": "1h",
        },
        "receivers": [
            {
                "name": "serinus",
                "webhook_configs": [
                    {
                        "url": webhook_url,
                        "send_resolved": True,
                        "http_config": {"authorization": {"type": "Bearer", "credentials": token}},
                    }
                ],
            }
        ],
    }


@contextlib.asynccontextmanager
async def alertmanager_running(*, webhook_url: str, token: str) -> AsyncIterator[str]:
    """Start Alertmanager on a free port; yields its base address. It ends with the context.

    The token is kept in a directory that only this user can read. Raises Unavailable when the program
    is not installed or does not become ready.
    """
    program = binary()
    if program is None:
        raise Unavailable(f"missing: alertmanager ({INSTALL_LINE})")
    async with contextlib.AsyncExitStack() as stack:
        directory = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="serinus-alertmanager-"))
        )
        config_file = directory / "alertmanager.yml"
        config = configuration(webhook_url=webhook_url, token=token)
        config_file.write_text(yaml.safe_dump(config))
        port = free_port()
        command = [
            program,
            f"--config.file={config_file}",
            f"--storage.path={directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--cluster.listen-address=",
            "--log.level=warn",
        ]
        child = await stack.enter_async_context(
            running("Alertmanager", command, log=directory / "alertmanager.log")
        )
        client = await stack.enter_async_context(
            httpx.AsyncClient(timeout=PROBE_SECONDS, trust_env=False)
        )
        url = f"http://127.0.0.1:{port}"
        await child.until("not ready", answers(client, f"{url}/-/ready"), START_SECONDS)
        yield url
