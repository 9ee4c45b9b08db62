"""The store on disk: an append-only log of objects, compacted when it has grown.

A line is one JSON value, handed to the kernel before the write is answered: an answered write survives
kill -9 of the process (not a power cut; only the compacted log is synced to the disk). A last line
that was cut short is dropped: that write was never answered.
"""

import fcntl
import os
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from agent.api.meta import Object
from agent.errors import Invalid, Unavailable

COMPACT_AFTER: Final = 5_000
"""Lines that outnumber the objects before the log is written anew."""

Place = tuple[str, str, str]
"""Kind, namespace ("" for cluster scope), name."""


class Content(NamedTuple):
    """What was stored: the newest resource version ever given, and the objects."""

    version: int
    objects: dict[Place, Object]


class Snapshot:
    """Objects in `directory/objects.jsonl`, for one process at a time.

    Raises Invalid when the directory is in use by another process or its log is damaged.
    """

    def __init__(self, directory: Path, *, compact_after: int = COMPACT_AFTER) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._path = directory / "objects.jsonl"
        self._compact_after = compact_after
        self._lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise Invalid(
                f"{directory} is in use by another process; stop it or choose another directory"
            ) from error
        try:
            self._version, self._objects = _read(self._path)
            self._file, self._size, self._lines = -1, 0, 0
            self._compact()
        except BaseException:
            os.close(self._lock)
            raise

    def load(self) -> Content:
        """What was stored when this process began."""
        return Content(self._version, dict(self._objects))

    def put(self, place: Place, obj: Object, version: int) -> None:
        """Keep this version of an object. Raises Unavailable when the disk refuses; nothing is kept then."""
        self._append(place, obj, version)
        self._objects[place] = obj
        self._compact_if_grown()

    def delete(self, place: Place, version: int) -> None:
        """Forget an object. Raises Unavailable as `put` does."""
        self._append(place, None, version)
        self._objects.pop(place, None)
        self._compact_if_grown()

    def close(self) -> None:
        """Write a compact log and let the next process in."""
        if self._file < 0:
            return
        try:
            self._compact()
        finally:
            os.close(self._file)
            os.close(self._lock)
            self._file = -1

    def _append(self, place: Place, obj: Object | None, version: int) -> None:
        line = _line(version, place, obj)
        try:
            written = os.write(self._file, line)
            if written != len(line):
                raise OSError(f"{written} of {len(line)} bytes were written")
        except OSError as error:
            # Half a line must not be continued by the next write.
            os.ftruncate(self._file, self._size)
            raise Unavailable(f"cannot write {self._path}: {error}") from error
        self._size += len(line)
        self._lines += 1
        self._version = version

    def _compact_if_grown(self) -> None:
        if self._lines > len(self._objects) + self._compact_after:
            self._compact()

    def _compact(self) -> None:
        beside = self._path.with_suffix(".new")
        # The first line keeps the version counter: the newest object may have been deleted.
        lines = [_line(self._version, ("", "", ""), None)]
        lines += [_line(self._version, place, obj) for place, obj in self._objects.items()]
        body = b"".join(lines)
        fresh = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        with os.fdopen(fresh, "wb", closefd=False) as file:
            file.write(body)
        os.fsync(fresh)
        beside.replace(self._path)
        if self._file >= 0:
            os.close(self._file)
        self._file, self._size, self._lines = fresh, len(body), len(lines)


def _line(version: int, place: Place, obj: Object | None) -> bytes:
    return msgspec.json.encode([version, *place, obj]) + b"\n"


def _read(path: Path) -> tuple[int, dict[Place, Object]]:
    version, objects = 1, dict[Place, Object]()
    if not path.exists():
        return version, objects
    *whole, _cut_short = path.read_bytes().split(b"\n")
    for number, line in enumerate(whole, start=1):
        try:
            at, kind, namespace, name, obj = msgspec.json.decode(line, type=_LINE)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise Invalid(
                f"{path}:{number}: damaged ({error}); move the file away to begin with an empty store"
            ) from error
        version = max(version, at)
        if obj is None:
            objects.pop((kind, namespace, name), None)
        else:
            objects[kind, namespace, name] = obj
    return version, objects


_LINE: Final = tuple[int, str, str, str, dict[str, Any] | None]
