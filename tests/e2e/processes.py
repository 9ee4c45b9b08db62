"""Processes under test: started, watched, stopped, and never left behind."""

import asyncio
import os
import random
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

from tests.e2e.bed.servers import register

T = TypeVar("T")

DEADLINE_SECONDS: Final = 20.0
POLL_SECONDS: Final = 0.04
SERVER_PORTS: Final = (12_000, 32_000)
ROOT: Final = Path(__file__).resolve().parents[2]


class Process:
    """`python ARGS…` in its own session, its output in a file.

    Args:
        name: of the log file, and in messages.
        environment: added to a minimal one; nothing of the caller's settings leaks in.
    """

    def __init__(
        self, name: str, *args: str, directory: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.log = directory / f"{name}.log"
        self._args = args
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(directory),
            "PYTHONUNBUFFERED": "1",
            **(environment or {}),
        }
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
        await self.wait()

    async def start(self, **environment: str) -> None:
        """Start it (again); `environment` is for this start only."""
        with self.log.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *self._args,
                cwd=ROOT,
                env={**self._environment, **environment},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        register(self.name, self._process.pid)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    def kill(self) -> None:
        """kill -9 of the whole session."""
        if self._process is not None and self._process.returncode is None:
            os.killpg(self._process.pid, signal.SIGKILL)

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal: STOP makes it hang, CONT go on."""
        assert self._process is not None
        self._process.send_signal(number)

    async def terminate(self) -> int:
        """SIGTERM, and the exit code of an orderly end."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
        return await self.wait()

    async def wait(self, deadline_seconds: float = DEADLINE_SECONDS) -> int:
        assert self._process is not None
        return await asyncio.wait_for(self._process.wait(), deadline_seconds)

    def output(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def tail(self, lines: int = 40) -> str:
        return "\n".join(self.output().splitlines()[-lines:])


async def until(
    condition: Callable[[], Awaitable[T]],
    what: str,
    *,
    deadline_seconds: float = DEADLINE_SECONDS,
    context: Process | None = None,
) -> T:
    """The first true answer of `condition`, asked again and again; an AssertionError after the deadline."""
    last: object = None
    try:
        async with asyncio.timeout(deadline_seconds):
            while True:
                answer = await condition()
                if answer:
                    return answer
                last = answer
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        log = f"\n--- {context.name}\n{context.tail()}" if context else ""
        raise AssertionError(
            f"not within {deadline_seconds} s: {what} (last: {last!r}){log}"
        ) from None


def free_port() -> int:
    """A port of the loopback interface that is free now.

    Below those that the kernel gives to outgoing connections: a server that is started again needs the
    port of before, and a client that knocks meanwhile could be given just that one.
    """
    while True:
        port = random.randrange(*SERVER_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
