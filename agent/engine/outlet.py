"""Where announcements go: how they are stamped, and which of them are out already."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
import structlog

from agent.api.meta import Key, Object
from agent.api.names import OUTBOX_CONDITION
from agent.engine import outbox
from agent.events.catalogue import Cause, Timings
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
            known = outbox.cause_of(before)
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
        announce = [_explained(item, known) for item in announce]
        entries, dropped = outbox.add(waiting, outbox.freeze(announce, stamp))
        if dropped:
            log.warning("outbox.coalesced", rollout=str(key), entries=dropped)
        base = {"conditions": _with_condition_of(before, status)}
        cause = _cause_to_keep(status, announce, known)
        return list(outbox.with_entries(base, entries, now, cause).get("conditions") or ())


def _explained(announcement: Announcement, known: Cause | None) -> Announcement:
    """A rollback with the cause of its abort: whoever ends it need not be who began it."""
    if announcement.transition != "rolledback" or known is None:
        return announcement
    timings = announcement.data.timings or Timings()
    timings = msgspec.structs.replace(
        timings,
        cause_started_at=timings.cause_started_at or known.started_at,
        received_at=timings.received_at or known.received_at,
    )
    data = msgspec.structs.replace(announcement.data, cause=known, timings=timings)
    return msgspec.structs.replace(announcement, data=data)


def _cause_to_keep(
    status: dict[str, Any], announce: Sequence[Announcement], known: Cause | None
) -> Cause | None:
    """Why the rollout is aborted, while there is weight whose end must be told."""
    told = {item.transition: item.data.cause for item in announce}
    weights = (status.get("canary") or {}).get("weights") or {}
    if not status.get("abort") or "rolledback" in told:
        return None
    if not (weights.get("canary") or {}).get("weight"):
        return None
    return told.get("aborted") or known


def _with_condition_of(before: dict[str, Any], status: dict[str, Any]) -> list[dict[str, Any]]:
    kept = [item for item in status.get("conditions") or () if item.get("type") != OUTBOX_CONDITION]
    ours = [item for item in before.get("conditions") or () if item.get("type") == OUTBOX_CONDITION]
    return [*kept, *ours]
