"""Records of our topics as lines for people and for programs. Pure."""

from typing import Any, Final

import msgspec

from agent.bus.codec import from_record
from agent.bus.port import Record
from agent.errors import Refused
from agent.events.event import Event

MAX_SHOWN: Final = 300
"""Characters of a value that is no event."""


def concerns(record: Record, rollout: str) -> bool:
    """Whether the record is about `namespace/name`: by its key, or its event's subject or data."""
    if not rollout or record.key == rollout.encode():
        return True
    try:
        event = from_record(record)
    except Refused:
        return False
    data = _data(event)
    named = f"{data.get('namespace', '')}/{data.get('name', '')}" if isinstance(data, dict) else ""
    return rollout in (event.subject, named)


def text_of(record: Record, unreadable: str = "") -> str:
    """One line: when, where, what, about what, and what happened."""
    place = f"{record.topic}/{record.partition}@{record.offset}"
    buried = _buried(record)
    try:
        event = None if unreadable else from_record(record)
        problem = unreadable
    except Refused as error:
        event, problem = None, str(error)
    at = event.time if event is not None else record.published_at
    when = "-" if at is None else at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    parts = [f"{when:24}", f"{place:28}"]
    if event is not None:
        parts += [f"{_short(event.type):18}", event.subject or "-", _said(event)]
    elif unreadable:
        parts += [f"{'unreadable':18}", problem]
    else:
        value = (record.value or b"").decode(errors="backslashreplace")
        cut = value[:MAX_SHOWN] + ("…" if len(value) > MAX_SHOWN else "")
        parts += [f"{'no event':18}", f"{problem}: {cut!r}"]
    if buried:
        parts.append(f"[dead letter of {buried['from']}: {buried['reason']}]")
    return printable("  ".join(part for part in parts if part).rstrip())


def json_of(record: Record, unreadable: str = "") -> str:
    """One JSON object in a line; `event` is the CloudEvent, else `problem` says why there is none."""
    item: dict[str, Any] = {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "publishedAt": record.published_at,
        "key": None if record.key is None else record.key.decode(errors="backslashreplace"),
    }
    if buried := _buried(record):
        item["deadLetter"] = buried
    try:
        if unreadable:
            raise Refused(unreadable)
        event = from_record(record)
        item["event"] = _envelope(event)
    except Refused as error:
        item["problem"] = str(error)
        item["value"] = (record.value or b"").decode(errors="backslashreplace")
    return msgspec.json.encode(item).decode()


def printable(text: str) -> str:
    """The text with everything escaped that could move a terminal's cursor or hide what follows."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def _short(event_type: str) -> str:
    return event_type.removeprefix("dev.serinus.").removesuffix(".v1")


def _data(event: Event) -> Any:
    try:
        return msgspec.json.decode(event.data) if event.data else None
    except msgspec.DecodeError:
        return None


def _said(event: Event) -> str:
    """The part of the data that a person wants to read first."""
    data = _data(event)
    if not isinstance(data, dict):
        return ""
    said = data.get("message")
    if not said:
        chosen = {
            name: data[name]
            for name in ("labels", "actor", "reason", "application", "gitRevision", "images")
            if data.get(name)
        }
        said = msgspec.json.encode(chosen).decode() if chosen else ""
    return str(said)


def _envelope(event: Event) -> dict[str, Any]:
    attributes = {
        "id": event.id,
        "source": event.source,
        "type": event.type,
        "subject": event.subject or None,
        "time": event.time,
        **event.extensions,
        "data": _data(event),
    }
    return {name: value for name, value in attributes.items() if value is not None}


def _buried(record: Record) -> dict[str, str]:
    """What the headers of a dead letter tell; {} for other records."""
    told = {
        name: (value or b"").decode(errors="backslashreplace")
        for name, value in record.headers
        if name.startswith("dlq-")
    }
    if "dlq-reason" not in told:
        return {}
    place = f"{told.get('dlq-topic')}/{told.get('dlq-partition')}@{told.get('dlq-offset')}"
    return {"reason": told["dlq-reason"], "from": place}
