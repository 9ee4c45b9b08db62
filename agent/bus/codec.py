"""Events as records of the bus and back."""

from agent.bus.port import Record
from agent.events.decode import from_message
from agent.events.encode import to_json
from agent.events.event import Event


def to_record(event: Event, *, topic: str, key: bytes | None) -> Record:
    """Structured mode as a record: the envelope is the value."""
    headers = (("content-type", b"application/cloudevents+json"),)
    return Record(topic=topic, key=key, value=to_json(event), headers=headers)


def from_record(record: Record) -> Event:
    """The event of a record, structured or binary. Raises Undecodable with the reason."""
    return from_message(record.headers, record.value or b"")
