"""Dead letters: what cannot be used keeps its bytes and headers, and says why it is here."""

import msgspec
import structlog

from agent.bus.port import Bus, Record
from agent.bus.topics import DEAD_LETTER_SUFFIX
from agent.errors import Refused

log = structlog.get_logger(__name__)

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
    """Publish the dead letter, without its value if that is too large for any topic.

    Raises Unavailable: then the record must not be committed.
    """
    letter = dead_letter(record, reason)
    try:
        await bus.publish(letter)
    except Refused as error:
        left_out = ("dlq-value-left-out", str(len(record.value or b"")).encode())
        kept = tuple((name, (value or b"")[:MAX_REASON]) for name, value in letter.headers[-5:])
        log.warning("bus.dead_letter_cut", topic=letter.topic, reason=str(error))
        await bus.publish(
            msgspec.structs.replace(letter, key=None, value=b"", headers=(*kept, left_out))
        )
