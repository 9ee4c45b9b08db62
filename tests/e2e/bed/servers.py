"""Servers as owned processes: started detached, known by pid and start time, stopped within a time."""

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from tests.e2e.bed.errors import BedError
from tests.e2e.bed.guardian import REGISTER, guard
from tests.e2e.bed.identity import POLL_SECONDS, STOP_SECONDS, Identity, identity
from tests.e2e.bed.limits import off_the_clock


class Server:
    """A program that listens. Its output is appended to `log`; it may be started again after it ended.

    Args:
        name: of the log file and in messages.
        command: read again at each start.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | os.PathLike[str]],
        *,
        directory: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.command = list(command)
        self.log = directory / f"{name}.log"
        self._directory = directory
        self._environment = dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._identity: Identity | None = None

    def start(self) -> None:
        """Start it in a session of its own; `until` waits for what it is to do."""
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                self.command,
                cwd=self._directory,
                env={**os.environ, **self._environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._process, self._identity = process, identity(process.pid)
        register(self.name, process.pid)

    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def until(self, ready: Callable[[], bool], what: str, within_seconds: float) -> None:
        """Wait until `ready`. Raises BedError with the end of the log when it is not, or ends before."""
        deadline = time.monotonic() + within_seconds
        with off_the_clock():
            while not ready():
                if not self.running():
                    raise BedError(f"{self.name} ended before it was {what}:\n{self.tail()}")
                if time.monotonic() > deadline:
                    raise BedError(
                        f"{self.name} was not {what} within {within_seconds:g} s:\n{self.tail()}"
                    )
                time.sleep(POLL_SECONDS)

    def stop(self, within_seconds: float = STOP_SECONDS) -> None:
        """An orderly end, made to after that time. Nothing happens to one that does not run."""
        if self._identity is not None:
            self._identity.end(within_seconds)
        self._reap()

    def kill(self) -> None:
        """kill -9."""
        if self._identity is not None:
            self._identity.kill()
        self._reap()

    def tail(self, lines: int = 30) -> str:
        """The end of its output."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def _reap(self) -> None:
        if self._process is not None:
            self._process.wait(STOP_SECONDS)
        if self._identity is not None:
            _unregister(self._identity)
        self._process = self._identity = None


def register(name: str, pid: int) -> None:
    """Let a process end with the run that this one belongs to, if to any."""
    run, known = os.environ.get(REGISTER), identity(pid)
    if run and known is not None:
        file = Path(run) / "servers" / f"{name}-{pid}"
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_name(f".{file.name}")
        part.write_bytes(msgspec.json.encode(known))
        part.rename(file)
        guard(Path(run))


def end_registered(directory: Path, within_seconds: float = STOP_SECONDS) -> list[str]:
    """End all servers that were started for a run, the newest first; their names."""
    found = sorted(_files(directory), key=lambda file: file.stat().st_mtime_ns, reverse=True)
    ended = []
    for file in found:
        known = _known(file)
        if known.alive():
            ended.append(_name(file))
            known.end(within_seconds)
        file.unlink(missing_ok=True)
    return ended


def running(directory: Path) -> list[str]:
    """The names of a run's servers that are alive."""
    return [_name(file) for file in _files(directory) if _known(file).alive()]


def broken(directory: Path) -> list[str]:
    """The names of a run's servers that ended, and not because somebody stopped them."""
    return [_name(file) for file in _files(directory) if not _known(file).alive()]


def _files(directory: Path) -> list[Path]:
    return list((directory / "servers").glob("[!.]*-*"))


def _name(file: Path) -> str:
    return file.name.rpartition("-")[0]


def _known(file: Path) -> Identity:
    return msgspec.json.decode(file.read_bytes(), type=Identity)


def _unregister(known: Identity) -> None:
    run = os.environ.get(REGISTER)
    if run:
        for file in (Path(run) / "servers").glob(f"*-{known.pid}"):
            file.unlink(missing_ok=True)
