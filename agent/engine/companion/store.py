"""The marks in their ConfigMap, by compare-and-swap, so that every replica and every restart goes on from them."""

from collections.abc import Mapping
from typing import Any, Final

import structlog

from agent.api.meta import Key
from agent.cluster.port import KINDS, Cluster
from agent.engine.companion.marks import Mark, bounded, decode, encode, member_of
from agent.errors import AlreadyExists, Conflict, NotFound

log = structlog.get_logger(__name__)

NAME: Final = "serinus-marks"
_CONFIG_MAP: Final = KINDS["ConfigMap"]


class MarkStore:
    """ConfigMap `namespace/serinus-marks`.

    Attributes:
        marks: as they were read or written last. Another replica may be ahead: then `swap` says so.
    """

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._version = ""
        self.marks: dict[Key, Mark] = {}

    async def load(self) -> None:
        """Read all. Members that are no marks of ours are left alone. Raises Unavailable or Forbidden."""
        try:
            found = await self._cluster.get(_CONFIG_MAP, self._namespace, NAME)
        except NotFound:
            self._version, self.marks = "", {}
            return
        marks: dict[Key, Mark] = {}
        for member, text in (found.get("data") or {}).items():
            try:
                mark = decode(str(text))
            except ValueError as error:
                log.error("marks.unreadable", member=member, error=str(error))
                continue
            marks[mark.key] = mark
        self._version, self.marks = str(found["metadata"]["resourceVersion"]), marks

    async def swap(self, changes: Mapping[Key, Mark | None]) -> None:
        """Store these marks (None removes one) if nobody has written since.

        Raises Conflict when somebody has: load and try again.
        """
        changes = bounded(self.marks, changes)
        data = {
            member_of(key): encode(mark) if mark is not None else None
            for key, mark in changes.items()
            if mark is not None or key in self.marks
        }
        if not data:
            return
        try:
            answer = await self._write(data)
        except (AlreadyExists, NotFound) as error:
            raise Conflict(str(error)) from error
        self._version = str(answer["metadata"]["resourceVersion"])
        for key, mark in changes.items():
            if mark is None:
                self.marks.pop(key, None)
            else:
                self.marks[key] = mark

    async def forget(self) -> bool:
        """Remove the marks: who drives tells by itself. Those with announcements that wait stay; whether none does.

        Raises Conflict when somebody else wrote meanwhile.
        """
        await self.load()
        await self.swap({key: None for key, mark in self.marks.items() if not mark.waiting})
        return not self.marks

    async def _write(self, data: dict[str, str | None]) -> Any:
        if self._version:
            patch = {"metadata": {"resourceVersion": self._version}, "data": data}
            return await self._cluster.merge_patch(_CONFIG_MAP, self._namespace, NAME, patch)
        metadata = {"name": NAME, "namespace": self._namespace}
        kept = {name: text for name, text in data.items() if text is not None}
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": kept}
        return await self._cluster.create(_CONFIG_MAP, body)
