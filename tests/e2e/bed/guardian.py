"""The end of a run whose owner was killed: a process of its own waits for it, and ends what was left."""

import contextlib
import os
import select
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.e2e.bed.cache import home
from tests.e2e.bed.identity import Identity, identity
from tests.e2e.bed.tools import ROOT

REGISTER: Final = "SERINUS_BED_DIR"
"""Directory of the run that all servers belong to; its end is theirs, also of those in other directories."""
OWNED: Final = "pytest"


def runs() -> Path:
    """The directory of all runs of this user."""
    return home() / "runs"


def owned_directory() -> Path:
    """Directory of a run that belongs to this process and ends with it, however it ends."""
    own = identity(os.getpid())
    assert own is not None, "the bed needs /proc"
    return runs() / f"{OWNED}-{own.pid}-{own.started}"


def owner_of(directory: Path) -> Identity | None:
    """Whose run it is; None for one that lasts until it is ended (`make bed`)."""
    name, *numbers = directory.name.split("-")
    if name != OWNED:
        return None
    pid, started = numbers
    return Identity(int(pid), int(started))


def guard(directory: Path) -> None:
    """Have a process end this run when its owner is gone. Once a run; nothing for a run without an owner."""
    if owner_of(directory) is None:
        return
    try:
        (directory / "guarded").touch(exist_ok=False)
    except FileExistsError:
        return
    # Not a child that somebody would have to wait for; and no member of the run, which it would end with.
    environment = {key: value for key, value in os.environ.items() if key != REGISTER}
    quiet = [(os.POSIX_SPAWN_OPEN, stream, os.devnull, os.O_RDWR, 0) for stream in range(3)]
    os.posix_spawn(
        sys.executable,
        [sys.executable, "-m", "tests.e2e.bed", "guard", str(directory)],
        {**environment, "PYTHONPATH": str(ROOT)},
        file_actions=quiet,
        setsid=True,
    )


def until_ownerless(directory: Path) -> None:
    """Wait, without asking again and again, until the owner of a run is gone."""
    owner = owner_of(directory)
    if owner is None:
        return
    try:
        file = os.pidfd_open(owner.pid)
    except ProcessLookupError:
        return
    try:
        # Between its end and the opening, the pid may have been given to another process.
        if owner.alive():
            select.select([file], [], [])
    finally:
        os.close(file)


def end_strays(directory: Path) -> None:
    """Kill what was started for a run whose owner is gone and is in no register: it is in their environment."""
    for stray in _strays(f"{REGISTER}={directory}".encode()):
        # It may lead no group, and what it started is found by itself.
        with contextlib.suppress(ProcessLookupError):
            os.kill(stray.pid, signal.SIGKILL)


def _strays(mark: bytes) -> Iterator[Identity]:
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            environment = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        found = identity(int(entry.name)) if mark in environment else None
        if found is not None and found.alive():
            yield found
