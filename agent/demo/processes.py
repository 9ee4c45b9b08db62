"""Child processes of the demo: bounded start by a condition, bounded stop, output kept in a file."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import httpx

from agent.errors import Unavailable

START_SECONDS = 20.0
STOP_SECONDS = 5.0
POLL_SECONDS = 0.02
Probe = Callable[[], Awaitable[bool]]


def free_port() -> int:
    """A loopback port that was free a moment ago. Programs that can report a port of their own get 0."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Child:
    """A running process. Its output is in `log`."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self.process = process
        self.log = log

    def check(self) -> None:
        """Raises Unavailable with the last output when the process is gone."""
        code = self.process.returncode
        if code is not None:
            raise Unavailable(f"{self.name} ended with {code}: {self.last_line() or 'no output'}")

    def last_line(self) -> str:
        """The end of its output."""
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return lines[-1].strip() if lines else ""

    async def until(self, what: str, probe: Probe, within_seconds: float) -> None:
        """Wait until `probe` says true; `what` names the trouble while it does not ("not ready").

        Raises Unavailable when it does not in time, or when the process ends early.
        """
        try:
            async with asyncio.timeout(within_seconds):
                while True:
                    self.check()
                    if await probe():
                        return
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            raise Unavailable(f"{self.name}: {what} after {within_seconds:g} s") from None


@contextlib.asynccontextmanager
async def running(
    name: str,
    command: Sequence[str | os.PathLike[str]],
    *,
    log: Path,
    environment: Mapping[str, str] | None = None,
) -> AsyncIterator[Child]:
    """Own a process: it is told to end, and after STOP_SECONDS made to, when the context is left."""
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
        )
    try:
        yield Child(name, process, log)
    finally:
        await _stop(process)


async def _stop(process: asyncio.subprocess.Process) -> None:
    """Asked first, then made to; also made to when the wait itself is cancelled."""
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), STOP_SECONDS)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def answers(client: httpx.AsyncClient, url: str) -> Probe:
    """A probe that is true when GET `url` answers 200."""

    async def probe() -> bool:
        try:
            return (await client.get(url)).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    return probe
