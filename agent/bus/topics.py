"""Topics: which event goes where, and under which key."""

from typing import Final

from agent.bus.codec import to_record
from agent.bus.port import Record
from agent.events.catalogue import ALERT_FIRING, ALERT_RESOLVED, command_type
from agent.events.event import Event

URGENT: Final = "serinus.urgent"
"""Alerts and abort commands: a consumer of its own, nothing waits before them."""
INBOX: Final = "serinus.inbox"
ROLLOUTS: Final = "serinus.rollouts"
DEAD_LETTER_SUFFIX: Final = ".dlq"

_URGENT_TYPES: Final = frozenset({ALERT_FIRING, ALERT_RESOLVED, command_type("abort")})


def topic_of(event: Event) -> str:
    """The topic of an event that comes in."""
    return URGENT if event.type in _URGENT_TYPES else INBOX


def key_of(event: Event) -> bytes | None:
    """The record's key: extension `partitionkey` (alert: fingerprint, sync: application), else the subject."""
    key = event.extensions.get("partitionkey") or event.subject
    return key.encode() if key else None


def record_of(event: Event) -> Record:
    """The event as a record of its topic."""
    return to_record(event, topic=topic_of(event), key=key_of(event))
