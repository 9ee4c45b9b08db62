"""What was fetched or built, kept by the hash of what it was made from; outside of the clone."""

import contextlib
import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from tests.e2e.bed.errors import BedError
from tests.e2e.bed.limits import off_the_clock

BUILD_SECONDS: Final = 3600.0
"""How long somebody waits for another one's build of the same thing."""
POLL_SECONDS: Final = 0.1


def home() -> Path:
    """The directory of everything that the bed keeps."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "serinus-bed"
    root.mkdir(parents=True, exist_ok=True)
    return root


class Artefact:
    """A directory whose content depends on nothing but `sources`.

    Args:
        name: what it is, for people.
        sources: everything that decides the content.
        build: fills an empty directory. It is moved to its final place when this returns.
    """

    def __init__(self, name: str, sources: Iterable[bytes], build: Callable[[Path], None]) -> None:
        digest = hashlib.sha256()
        for source in sources:
            digest.update(len(source).to_bytes(8, "big") + source)
        self.name = name
        self.directory = home() / f"{name}-{digest.hexdigest()[:16]}"
        self._build = build

    @property
    def built(self) -> bool:
        """Whether it is there, whole."""
        return self.directory.is_dir()

    def get(self) -> Path:
        """The directory; built first when it is missing, by one process at a time."""
        if self.built:
            return self.directory
        with off_the_clock(), locked(self.directory.with_suffix(".lock"), BUILD_SECONDS):
            if not self.built:
                part = self.directory.with_suffix(".part")
                # What a builder left that was killed.
                shutil.rmtree(part, ignore_errors=True)
                part.mkdir()
                self._build(part)
                part.rename(self.directory)
        return self.directory


@contextlib.contextmanager
def locked(path: Path, within_seconds: float) -> Iterator[None]:
    """Hold a lock file, which the kernel releases however its holder ends.

    Raises BedError when another one holds it all that time.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        deadline = time.monotonic() + within_seconds
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise BedError(f"{path} was held for {within_seconds:.0f} s") from None
                time.sleep(POLL_SECONDS)
        yield
