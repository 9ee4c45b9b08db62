"""Whether topics that were just created can be used: each partition has a leader, which answers for it.

Brokers learn of a new topic one after the other, and name the leader of a partition before that one leads it.
What is sent meanwhile is refused, and aiokafka's consumer then asks for the beginning of a partition again only
after minutes.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from aiokafka.protocol.offset import OffsetRequest

from agent.errors import Unavailable

WAIT_SECONDS: Final = 20.0
PAUSE_SECONDS: Final = 0.05
_LATEST: Final = -1
_CONSUMER: Final = -1
_READ_UNCOMMITTED: Final = 0

Partitions = dict[str, list[int]]


async def until_led(admin: AIOKafkaAdminClient, topics: Sequence[str]) -> None:
    """Wait until every partition of these topics can be used. Raises Unavailable within a deadline."""
    late = list(topics)
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            while late:
                late = await _late(admin, topics)
                if late:
                    await asyncio.sleep(PAUSE_SECONDS)
    except TimeoutError as error:
        raise Unavailable(
            f"topic {', '.join(late)}: not every partition has a leader that answers, {WAIT_SECONDS:g} s "
            "after its creation; look at the brokers"
        ) from error


async def _late(admin: AIOKafkaAdminClient, topics: Sequence[str]) -> list[str]:
    try:
        leaders, late = by_leader(topics, await admin.describe_topics(sorted(topics)))
        for leader, partitions in leaders.items():
            answered = await _answered(admin, leader, partitions)
            late += [name for name in partitions if name not in answered]
    except (KafkaError, OSError):
        return list(topics)
    return sorted(set(late))


def by_leader(
    topics: Iterable[str], described: Iterable[Mapping[str, Any]]
) -> tuple[dict[int, Partitions], list[str]]:
    """Who leads which partitions, and topics of which some have no leader. Pure.

    Args:
        described: as in the answer to a metadata request.
    """
    found = {item["topic"]: item["partitions"] for item in described if item["error_code"] == 0}
    leaders: dict[int, Partitions] = {}
    late = []
    for topic in topics:
        partitions = found.get(topic, ())
        if not partitions or any(each["leader"] < 0 for each in partitions):
            late.append(topic)
            continue
        for each in partitions:
            leaders.setdefault(each["leader"], {}).setdefault(topic, []).append(each["partition"])
    return leaders, late


async def _answered(admin: AIOKafkaAdminClient, leader: int, asked: Partitions) -> set[str]:
    """Topics of which the leader tells the end of every partition asked for."""
    topics = [(name, [(number, _LATEST) for number in numbers]) for name, numbers in asked.items()]
    request = OffsetRequest(_CONSUMER, _READ_UNCOMMITTED, topics)
    answer = await admin._client.send(leader, request)  # noqa: SLF001 - the admin client has no call for it
    return {name for name, parts in answer.topics if all(code == 0 for _, code, *_ in parts)}
