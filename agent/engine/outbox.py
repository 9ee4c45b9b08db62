"""The outbox: announcements that wait, stored in the same status write as what they announce.

They travel in the condition `SerinusOutbox`, whose `message` is compact JSON: `{"v":1,"entries":[…]}`, and
`"cause":{…}` from an abort until its rollback is announced, by whoever survives. An entry is stored as the bytes that will be published, under an id made of what was observed, so that whoever
publishes it, and how often, publishes the same. Pure: nothing here reads a clock or logs.
"""

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from agent.api.meta import Object, Struct
from agent.api.names import OUTBOX_CONDITION
from agent.api.times import format_time, format_time_ms
from agent.events.catalogue import Cause, RolloutEvent, Timings, rollout_event_type
from agent.rollout.types import Announcement

VERSION: Final = 1
MAX_ENTRIES: Final = 32
MAX_BYTES: Final = 16 * 1024
MAX_EVENT_BYTES: Final = 4 * 1024
MAX_EVIDENCE_BYTES: Final = 2 * 1024
RESERVED: Final = frozenset({"aborted", "rolledback"})
"""Transitions for which one slot and the bytes of one event are kept free."""
PROGRESS: Final = frozenset(
    {"step", "weight", "paused", "resumed", "analysis", "held", "released", "drifted"}
)
"""Transitions of which, when room runs out, the newest speaks for those before it."""


class Entry(Struct):
    """One announcement that waits: id and type of its CloudEvent, and the event's JSON, frozen."""

    id: str
    type: str
    event: str

    @property
    def transition(self) -> str:
        """`aborted` for `dev.serinus.rollout.aborted.v1`."""
        return self.type.split(".")[-2]


class _Content(Struct):
    v: int = 0
    entries: list[Entry] | None = None
    cause: Cause | None = None


class Stamp(msgspec.Struct, frozen=True, kw_only=True):
    """What makes an announcement's identity.

    Attributes:
        source: CloudEvents `source` of this agent.
        uid, resource_version: of the Rollout as observed by the pass that announces.
        correlation_id: the same for all events of one run of a rollout.
        now: when it was decided.
    """

    source: str
    uid: str
    resource_version: str
    correlation_id: str
    now: datetime


def stored(status: dict[str, Any]) -> tuple[Entry, ...]:
    """The entries that wait in a status. Raises ValueError for a content that is not ours or newer."""
    return tuple(_content(status).entries or ())


def cause_of(status: dict[str, Any]) -> Cause | None:
    """Why the rollout was aborted, while its rollback is not announced. Raises ValueError as `stored`."""
    return _content(status).cause


def _content(status: dict[str, Any]) -> _Content:
    text = next(
        (
            str(condition.get("message") or "")
            for condition in status.get("conditions") or ()
            if condition.get("type") == OUTBOX_CONDITION
        ),
        "",
    )
    if not text:
        return _Content()
    try:
        content = msgspec.json.decode(text, type=_Content)
    except msgspec.MsgspecError as error:
        raise ValueError(f"condition {OUTBOX_CONDITION} is not readable: {error}") from error
    if content.v != VERSION:
        raise ValueError(
            f"condition {OUTBOX_CONDITION} has version {content.v}, known is {VERSION}"
        )
    return content


def with_entries(
    status: dict[str, Any], entries: Sequence[Entry], now: datetime, cause: Cause | None = None
) -> dict[str, Any]:
    """The status with exactly these entries waiting, and this cause; without any the condition is gone.

    The condition stays where it was in the list and keeps its transition time.
    """
    conditions: list[dict[str, Any]] = list(status.get("conditions") or ())
    place = next(
        (index for index, item in enumerate(conditions) if item.get("type") == OUTBOX_CONDITION),
        None,
    )
    if not entries and cause is None:
        if place is None:
            return status
        del conditions[place]
        return {**status, "conditions": conditions}
    text = encode(entries, cause)
    old = conditions[place] if place is not None else {}
    if old.get("message") == text:
        return status
    condition = {
        "type": OUTBOX_CONDITION,
        "status": "True",
        "reason": "AnnouncementsWait",
        "message": text,
        "lastUpdateTime": format_time(now),
        "lastTransitionTime": old.get("lastTransitionTime") or format_time(now),
    }
    if place is None:
        conditions.append(condition)
    else:
        conditions[place] = condition
    return {**status, "conditions": conditions}


def encode(entries: Sequence[Entry], cause: Cause | None = None) -> str:
    """The condition's message."""
    content = _Content(v=VERSION, entries=list(entries), cause=cause and bounded(cause))
    return msgspec.json.encode(content).decode()


def freeze(announcements: Sequence[Announcement], stamp: Stamp) -> tuple[Entry, ...]:
    """Entries of one status write; their order is their ordinal."""
    return tuple(
        freeze_one(
            item,
            stamp,
            (stamp.uid, stamp.resource_version, rollout_event_type(item.transition), str(ordinal)),
        )
        for ordinal, item in enumerate(announcements)
    )


def freeze_one(announcement: Announcement, stamp: Stamp, identity: Sequence[str]) -> Entry:
    """The entry of an announcement; the same identity is the same id."""
    kind = rollout_event_type(announcement.transition)
    event_id = hashlib.sha256("\n".join(identity).encode()).hexdigest()[:32]
    data = announcement.data
    cause = data.cause and bounded(data.cause)
    data = msgspec.structs.replace(data, cause=cause)
    envelope: dict[str, Any] = {
        "specversion": "1.0",
        "id": event_id,
        "source": stamp.source,
        "type": kind,
        "subject": f"{data.namespace}/{data.name}",
        "time": format_time_ms(stamp.now),
        "datacontenttype": "application/json",
        "partitionkey": f"{data.namespace}/{data.name}",
        "sequence": stamp.resource_version.zfill(20),
        "correlationid": stamp.correlation_id,
    }
    if cause is not None and cause.event_id:
        envelope["causationid"] = cause.event_id
    text = _event_text(envelope, data)
    if len(text.encode()) > MAX_EVENT_BYTES:
        text = _event_text(envelope, _cut(data))
    return Entry(id=event_id, type=kind, event=text)


def timed(announcement: Announcement, route_written_at: datetime) -> Announcement:
    """The announcement with the time at which the route was written."""
    timings = announcement.data.timings or Timings()
    timings = msgspec.structs.replace(timings, route_written_at=format_time_ms(route_written_at))
    return msgspec.structs.replace(
        announcement, data=msgspec.structs.replace(announcement.data, timings=timings)
    )


def add(waiting: Sequence[Entry], new: Iterable[Entry]) -> tuple[tuple[Entry, ...], int]:
    """The entries with the new ones at their end, within the bounds; and how many were left out.

    Room is made by coalescing progress, oldest first; what is left out after that is the oldest entry that
    is not about a rollback. An id that waits already is not added again.
    """
    entries, dropped = list(waiting), 0
    for entry in new:
        if any(item.id == entry.id for item in entries):
            continue
        entries.append(entry)
        while not _fits(entries, reserve=entry.transition not in RESERVED):
            victim = _victim(entries[:-1])
            if victim is None:
                break
            del entries[victim]
            dropped += 1
    return tuple(entries), dropped


def shortened(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """The entries without the one that is missed least; those about a rollback stay."""
    victim = _victim(entries)
    if victim is None or entries[victim].transition in RESERVED:
        return tuple(entries)
    return (*entries[:victim], *entries[victim + 1 :])


def is_full(entries: Sequence[Entry]) -> bool:
    """Whether a progress entry of full size would not fit any more: then nothing is raised."""
    return len(entries) + 2 > MAX_ENTRIES or len(encode(entries)) + 2 * MAX_EVENT_BYTES > MAX_BYTES


def without(entries: Sequence[Entry], ids: frozenset[str]) -> tuple[Entry, ...]:
    """The entries but for those whose ids are confirmed."""
    return tuple(entry for entry in entries if entry.id not in ids)


def correlation_id(rollout: Object) -> str:
    """One id for all events of one run: the rollout, its revision's hash, and when the run started."""
    metadata, status = rollout.get("metadata") or {}, rollout.get("status") or {}
    started = (status.get("duration") or {}).get("rolloutStartedAt") or ""
    text = "\n".join((str(metadata.get("uid", "")), str(status.get("currentPodHash", "")), started))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _fits(entries: Sequence[Entry], *, reserve: bool) -> bool:
    slots, room = (1, MAX_EVENT_BYTES) if reserve else (0, 0)
    return len(entries) + slots <= MAX_ENTRIES and len(encode(entries)) + room <= MAX_BYTES


def _victim(entries: Sequence[Entry]) -> int | None:
    for kinds in (PROGRESS, None):
        for index, entry in enumerate(entries):
            if entry.transition in kinds if kinds else entry.transition not in RESERVED:
                return index
    return 0 if entries else None


def _event_text(envelope: dict[str, Any], data: RolloutEvent) -> str:
    return msgspec.json.encode({**envelope, "data": msgspec.to_builtins(data)}).decode()


def bounded(cause: Cause) -> Cause:
    """The cause with no more evidence than an event may carry."""
    evidence = cause.evidence
    if evidence is None or len(msgspec.json.encode(evidence)) <= MAX_EVIDENCE_BYTES:
        return cause
    kept: dict[str, Any] = {"truncated": True}
    for name in sorted(evidence):
        candidate = {**kept, name: evidence[name]}
        if len(msgspec.json.encode(candidate)) <= MAX_EVIDENCE_BYTES:
            kept = candidate
    return msgspec.structs.replace(cause, evidence=kept)


def _cut(data: RolloutEvent) -> RolloutEvent:
    """The event without what is long: evidence, images, the ends of sentences."""
    cause = data.cause
    short: Cause | None = cause and msgspec.structs.replace(
        cause, summary=cause.summary[:400], evidence={"truncated": True}, actor=cause.actor[:100]
    )
    return msgspec.structs.replace(
        data,
        message=data.message[:400],
        cause=short,
        new=data.new and msgspec.structs.replace(data.new, images=None, deployment=None),
        old=data.old and msgspec.structs.replace(data.old, images=None, deployment=None),
    )
