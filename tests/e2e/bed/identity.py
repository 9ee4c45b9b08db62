"""Processes that are known by pid and start time, also after the pid was given to another one."""

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from tests.e2e.bed.errors import BedError

STOP_SECONDS: Final = 10.0
POLL_SECONDS: Final = 0.02


class Identity(msgspec.Struct, frozen=True):
    """A process, also after its pid was given to another one.

    Attributes:
        started: clock ticks from boot to its start.
    """

    pid: int
    started: int

    def alive(self) -> bool:
        """Whether it runs. One that ended and was not waited for (a zombie) does not."""
        state, started = _state(self.pid)
        return state not in (None, "Z") and started == self.started

    def end(self, within_seconds: float = STOP_SECONDS) -> None:
        """TERM, and KILL when it is still there after that time."""
        self.signal(signal.SIGTERM)
        if not wait_for(lambda: not self.alive(), within_seconds):
            self.kill()

    def kill(self) -> None:
        """kill -9, with all that it started. Raises BedError when even that does not help."""
        self.signal(signal.SIGKILL)
        if not wait_for(lambda: not self.alive(), STOP_SECONDS):
            raise BedError(f"process {self.pid} does not end")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to it and its children."""
        with contextlib.suppress(ProcessLookupError):
            if self.alive():
                os.killpg(self.pid, number)


def identity(pid: int) -> Identity | None:
    """The process of a pid, None when there is none."""
    state, started = _state(pid)
    return None if state is None else Identity(pid, started)


def _state(pid: int) -> tuple[str | None, int]:
    """State letter and start time of a process; (None, 0) when there is none."""
    try:
        # The name, in brackets, may hold anything: count from its end.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None, 0
    return fields[0], int(fields[19])


def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether the condition became true in that time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True
