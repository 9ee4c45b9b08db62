"""Where announcements go: how they are stamped, and which of them are out already."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import structlog

from agent.api.meta import Key, Object
from agent.api.names import OUTBOX_CONDITION
from agent.engine import outbox
from agent.rollout.types import Announcement

log = structlog.get_logger(__name__)


class Outlet:
    """Shared by all who write a Rollout's status: what they announce goes through `conditions`.

    Args:
        source: CloudEvents `source` of this agent.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self._confirmed: dict[Key, set[str]] = {}

    def confirm(self, key: Key, entry_id: str) -> None:
        """This entry is published: it may leave the outbox."""
        self._confirmed.setdefault(key, set()).add(entry_id)

    def confirmed(self, key: Key) -> frozenset[str]:
        """Entries that are published and may still stand in the outbox."""
        return frozenset(self._confirmed.get(key, ()))

    def keep_confirmed(self, key: Key, waiting: frozenset[str]) -> None:
        """Forget confirmations of entries that have left the outbox."""
        kept = self._confirmed.get(key, set()) & waiting
        if kept:
            self._confirmed[key] = kept
        else:
            self._confirmed.pop(key, None)

    def conditions(
        self,
        key: Key,
        observed: Object,
        status: dict[str, Any],
        announce: Sequence[Announcement],
        now: datetime,
    ) -> list[dict[str, Any]]:
        """The status's conditions with what waits in the observed outbox and what is announced now.

        Args:
            observed: the Rollout whose resourceVersion the write is conditional on.
            status: the next status.
        """
        before = observed.get("status") or {}
        try:
            waiting = outbox.without(outbox.stored(before), self.confirmed(key))
        except ValueError as error:
            # Another version of this agent wrote it: not ours to read, so not ours to throw away.
            log.error("outbox.unreadable", rollout=str(key), error=str(error))
            return _with_condition_of(before, status)
        metadata = observed["metadata"]
        stamp = outbox.Stamp(
            source=self._source,
            uid=str(metadata.get("uid", "")),
            resource_version=str(metadata.get("resourceVersion", "")),
            correlation_id=outbox.correlation_id({"metadata": metadata, "status": status}),
            now=now,
        )
        entries, dropped = outbox.add(waiting, outbox.freeze(announce, stamp))
        if dropped:
            log.warning("outbox.coalesced", rollout=str(key), entries=dropped)
        base = {"conditions": _with_condition_of(before, status)}
        return list(outbox.with_entries(base, entries, now).get("conditions") or ())


def _with_condition_of(before: dict[str, Any], status: dict[str, Any]) -> list[dict[str, Any]]:
    kept = [item for item in status.get("conditions") or () if item.get("type") != OUTBOX_CONDITION]
    ours = [item for item in before.get("conditions") or () if item.get("type") == OUTBOX_CONDITION]
    return [*kept, *ours]
