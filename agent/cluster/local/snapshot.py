"""The store on disk: an append-only log of objects, compacted when it has grown.

A line is one JSON value, written and flushed to the kernel before the write is answered: it survives
kill -9 of the process. A last line that was cut short is dropped, that write was never answered.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from agent.api.meta import Object

COMPACT_AFTER: Final = 5_000
"""Lines that outnumber the objects before the log is written anew."""


class Snapshot:
    """Objects in `directory/objects.jsonl`."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._path = directory / "objects.jsonl"
        self._objects: dict[tuple[str, str, str], Object] = {}
        self._lines = 0
        self._read()
        self._file = self._path.open("ab")
        self._compact()

    def load(self) -> Iterator[Object]:
        """The objects as they were, oldest resource version first."""
        yield from sorted(
            self._objects.values(), key=lambda obj: int(obj["metadata"]["resourceVersion"])
        )

    def put(self, place: tuple[str, str, str], obj: Object) -> None:
        """Keep this version of an object."""
        self._objects[place] = obj
        self._append([*place, obj])

    def delete(self, place: tuple[str, str, str]) -> None:
        """Forget an object."""
        self._objects.pop(place, None)
        self._append([*place, None])

    def close(self) -> None:
        """Write a compact log and close it."""
        if not self._file.closed:
            self._compact()
            self._file.close()

    def _append(self, line: list[Any]) -> None:
        self._file.write(msgspec.json.encode(line) + b"\n")
        self._file.flush()
        self._lines += 1
        if self._lines > len(self._objects) + COMPACT_AFTER:
            self._compact()

    def _read(self) -> None:
        if not self._path.exists():
            return
        for line in self._path.read_bytes().split(b"\n"):
            try:
                kind, namespace, name, obj = msgspec.json.decode(line)
            except (msgspec.MsgspecError, ValueError, TypeError):
                continue  # the empty end of the file, or a line that was cut short
            self._lines += 1
            if obj is None:
                self._objects.pop((kind, namespace, name), None)
            else:
                self._objects[kind, namespace, name] = obj

    def _compact(self) -> None:
        beside = self._path.with_suffix(".new")
        with beside.open("wb") as file:
            for place, obj in self._objects.items():
                file.write(msgspec.json.encode([*place, obj]) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self._path)
        self._file.close()
        self._file = self._path.open("ab")
        self._lines = len(self._objects)
