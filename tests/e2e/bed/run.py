"""A run: a directory, the parts that were started in it, and their end."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.e2e.bed.cache import locked
from tests.e2e.bed.errors import BedError
from tests.e2e.bed.guardian import (
    OWNED,
    REGISTER,
    end_strays,
    owner_of,
    runs,
    until_ownerless,
)
from tests.e2e.bed.identity import STOP_SECONDS
from tests.e2e.bed.limits import off_the_clock
from tests.e2e.bed.parts import PARTS, Addresses
from tests.e2e.bed.servers import end_registered
from tests.e2e.bed.tools import ROOT, include

START_SECONDS: Final = 180.0


def sweep(within_seconds: float = STOP_SECONDS) -> list[str]:
    """End what dead owners left behind; the names of their servers."""
    ended = []
    for directory in runs().glob(f"{OWNED}-*-*"):
        owner = owner_of(directory)
        if owner is not None and not owner.alive():
            ended += Run(directory).end(within_seconds, strays=True)
    return ended


def watch(directory: Path) -> None:
    """End a run as soon as its owner is gone."""
    until_ownerless(directory)
    Run(directory).end(strays=True)


class Run:
    """Parts that are shared by all who know the directory.

    Each is started once, by whom asks first, in a process of its own that ends when the part is up: so a
    part belongs to the run and not to the one of many test processes that happened to be first.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def part(self, name: str) -> Addresses:
        """Where a part is to be found; started when it is not up. Skips the test when it is left out.

        Raises BedError, for everybody who asks, when it does not start.
        """
        include(name)
        known, failed = self._file(name, "json"), self._file(name, "failed")
        with off_the_clock(), locked(self._file(name, "lock"), START_SECONDS):
            if failed.exists():
                raise BedError(f"{name} did not start:\n{failed.read_text()}")
            if not known.exists():
                if not PARTS[name].built():
                    raise BedError(
                        f"{name} is not built; run `make bed-build` (once, some minutes)"
                    )
                try:
                    self._start(name)
                except BedError as error:
                    failed.write_text(str(error))
                    raise
        addresses: Addresses = json.loads(known.read_text())
        return addresses

    def start_here(self, name: str) -> None:
        """Start a part from this process, which may end then."""
        directory = self.directory / name
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        addresses = PARTS[name].start(directory)
        part = self._file(name, "part")
        part.write_text(json.dumps(addresses))
        part.rename(self._file(name, "json"))

    def end(self, within_seconds: float = STOP_SECONDS, *, strays: bool = False) -> list[str]:
        """End all servers and remove the directory; the names of those that were alive.

        Args:
            strays: also end whoever knows the directory; not for a run that people have in their shells.
        """
        ended = end_registered(self.directory, within_seconds)
        if strays:
            end_strays(self.directory)
        shutil.rmtree(self.directory, ignore_errors=True)
        return ended

    def _start(self, name: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "tests.e2e.bed", "start", name, str(self.directory)],
            cwd=ROOT,
            env={**os.environ, REGISTER: str(self.directory)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=START_SECONDS,
            check=False,
        )
        if done.returncode:
            raise BedError(done.stdout.strip())

    def _file(self, name: str, kind: str) -> Path:
        self.directory.mkdir(parents=True, exist_ok=True)
        return self.directory / f"{name}.{kind}"
