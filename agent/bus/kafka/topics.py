"""The topics on the brokers: which there must be, which there are, how the missing ones are made."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, Self

import msgspec
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from agent.bus.kafka.connection import START_SECONDS, disconnecting, explained
from agent.bus.kafka.leaders import until_led
from agent.bus.topics import DEAD_LETTER_SUFFIX, INBOX, ROLLOUTS, URGENT
from agent.errors import Refused, Unavailable
from agent.settings import BusSettings

CREATE_SECONDS: Final = 20.0
MAX_RECORD: Final = 1024 * 1024
MAX_DEAD_LETTER: Final = 2 * MAX_RECORD
"""A dead letter is its record and the reason: it must fit where the record fitted."""
_DAY_MS: Final = 24 * 3600 * 1000


class Topic(msgspec.Struct, frozen=True, kw_only=True):
    """A topic as it is, or as it is to be created."""

    name: str
    partitions: int
    configs: dict[str, str] = {}


def names(settings: BusSettings) -> dict[str, str]:
    """Names on the brokers by the names that the rest of the agent uses."""
    found = {}
    for topic in (INBOX, URGENT, ROLLOUTS):
        own = f"{settings.prefix}.{topic.rpartition('.')[2]}"
        found[topic] = own
        if topic != ROLLOUTS:
            found[topic + DEAD_LETTER_SUFFIX] = own + DEAD_LETTER_SUFFIX
    return found


def wanted(settings: BusSettings) -> tuple[Topic, ...]:
    """The topics as `serinus kafka init` creates them.

    None is compacted: what matters is the sequence of events, not the last one of a key. Work that nobody
    took for three days is of no use any more, since the objects decide.
    """
    name = names(settings)
    insync = {"min.insync.replicas": "2"} if settings.replication_factor >= 3 else {}

    def topic(logical: str, partitions: int, days: int, size: int) -> Topic:
        configs = {
            "cleanup.policy": "delete",
            "retention.ms": str(days * _DAY_MS),
            "max.message.bytes": str(size),
            **insync,
        }
        return Topic(name=name[logical], partitions=partitions, configs=configs)

    return (
        topic(INBOX, settings.partitions, 3, MAX_RECORD),
        topic(URGENT, settings.partitions, 3, MAX_RECORD),
        topic(ROLLOUTS, settings.partitions, 30, MAX_RECORD),
        topic(INBOX + DEAD_LETTER_SUFFIX, 1, 30, MAX_DEAD_LETTER),
        topic(URGENT + DEAD_LETTER_SUFFIX, 1, 30, MAX_DEAD_LETTER),
    )


class Topics:
    """Looks at and creates topics, by a connection of its own that lasts as long as the context.

    Every method raises Unavailable within a deadline.
    """

    def __init__(self, settings: BusSettings, options: Mapping[str, Any]) -> None:
        self._settings = settings
        self._options = options
        self._admin = AIOKafkaAdminClient(request_timeout_ms=int(START_SECONDS * 1000), **options)

    async def __aenter__(self) -> Self:
        try:
            async with asyncio.timeout(START_SECONDS):
                await self._admin.start()
        except (KafkaError, TimeoutError, OSError) as error:
            await self._close()
            raise await explained(error, self._settings, self._options) from error
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._close()

    async def _close(self) -> None:
        async with disconnecting(self._admin._client):  # noqa: SLF001 - `close` has no deadline
            pass

    def _new(self, topic: Topic) -> NewTopic:
        new = NewTopic(topic.name, topic.partitions, 1, topic_configs=topic.configs)
        # Set afterwards: the constructor refuses -1, "as the brokers are configured".
        new.replication_factor = self._settings.replication_factor
        return new

    async def existing(self, *, with_configs: bool = False) -> dict[str, Topic]:
        """Those of our topics that exist, by name; with the settings that `wanted` has an opinion about."""
        ours = {topic.name: topic for topic in wanted(self._settings)}
        async with _deadline("listing topics", START_SECONDS):
            # Asking for a topic by name would create it on brokers that create topics by themselves.
            present = sorted(set(ours) & set(await self._admin.list_topics()))
            described = await self._admin.describe_topics(present) if present else []
            configs = await self._configs([ours[name] for name in present]) if with_configs else {}
        return {
            item["topic"]: Topic(
                name=item["topic"],
                partitions=len(item["partitions"]),
                configs=configs.get(item["topic"], {}),
            )
            for item in described
            if item["error_code"] == 0
        }

    async def _configs(self, topics: Sequence[Topic]) -> dict[str, dict[str, str]]:
        asked = [
            ConfigResource(ConfigResourceType.TOPIC, topic.name, dict.fromkeys(topic.configs))
            for topic in topics
        ]
        found: dict[str, dict[str, str]] = {}
        for answer in await self._admin.describe_configs(asked) if asked else ():
            for code, _message, _kind, name, entries in answer.resources:
                # Without the right to describe them (code 29) there is nothing to compare.
                if code == 0:
                    found[name] = {entry[0]: entry[1] for entry in entries}
        return found

    async def create(self, topics: Sequence[Topic], *, dry_run: bool = False) -> None:
        """Create these, and wait until they can be used; one that exists by now is fine.

        Raises Refused when the brokers do not want it.
        """
        new = [self._new(topic) for topic in topics]
        if not new:
            return
        async with _deadline("creating topics", CREATE_SECONDS):
            answer = await self._admin.create_topics(
                new, timeout_ms=int(CREATE_SECONDS * 1000), validate_only=dry_run
            )
        # Failures are codes in the answer, not exceptions.
        for name, code, *message in answer.topic_errors:
            error = for_code(code)
            if code and error is not TopicAlreadyExistsError:
                said = next((text for text in message if text), error.__name__)
                raise Refused(f"the brokers refuse topic {name}: {said}", field="bus")
        if not dry_run:
            await until_led(self._admin, [topic.name for topic in topics])


def differences(want: Topic, have: Topic) -> list[str]:
    """How a topic differs from what would have been created, and what that means. Pure."""
    found = []
    if have.partitions != want.partitions:
        found.append(
            f"{have.partitions} partitions, {want.partitions} wanted: left as it is, since with more of "
            "them keys and rollouts would move"
        )
    found += [
        f"{name}={have.configs[name]}, {value} wanted: left as it is"
        for name, value in want.configs.items()
        if have.configs.get(name, value) != value
    ]
    return found


async def ensure(settings: BusSettings, options: Mapping[str, Any]) -> dict[str, Topic]:
    """Our topics, all of them. Raises Refused with the command when some are missing, or Unavailable."""
    async with Topics(settings, options) as topics:
        existing = await topics.existing()
        absent = [topic for topic in wanted(settings) if topic.name not in existing]
        if absent and not settings.create_topics:
            raise Refused(
                f"topic {', '.join(topic.name for topic in absent)} does not exist: create it with "
                "`serinus kafka init`, or set bus.create_topics",
                field="bus",
            )
        await topics.create(absent)
        return existing | {topic.name: topic for topic in absent}


@asynccontextmanager
async def _deadline(what: str, seconds: float) -> AsyncIterator[None]:
    """A time limit on questions to the brokers; what goes wrong is Unavailable."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except (KafkaError, OSError) as error:
        # TimeoutError is an OSError, too.
        late = isinstance(error, TimeoutError)
        said = "the brokers did not answer in time" if late else error or type(error).__name__
        raise Unavailable(f"{what}: {said}") from error
