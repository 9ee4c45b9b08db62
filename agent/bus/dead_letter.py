"""Dead letters: what cannot be used keeps its bytes and headers, and says why it is here."""

from agent.bus.port import Bus, Record
from agent.bus.topics import DEAD_LETTER_SUFFIX

MAX_REASON = 1_000


def dead_letter(record: Record, reason: str, *, attempts: int = 1) -> Record:
    """The record for `<topic>.dlq`."""
    headers = (
        *record.headers,
        ("dlq-reason", reason[:MAX_REASON].encode()),
        ("dlq-topic", record.topic.encode()),
        ("dlq-partition", str(record.partition).encode()),
        ("dlq-offset", str(record.offset).encode()),
        ("dlq-attempts", str(attempts).encode()),
    )
    return Record(
        topic=record.topic + DEAD_LETTER_SUFFIX, key=record.key, value=record.value, headers=headers
    )


async def bury(bus: Bus, record: Record, reason: str) -> None:
    """Publish the dead letter. Raises Unavailable: then the record must not be committed."""
    await bus.publish(dead_letter(record, reason))
