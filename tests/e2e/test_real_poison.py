"""Records that nobody can use, sent to an agent on the real parts: kept with the reason, and in nobody's way."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import pytest
import pytest_asyncio
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from agent.bus.port import Record
from agent.bus.topics import DEAD_LETTER_SUFFIX, INBOX, URGENT
from agent.events.catalogue import ALERT_FIRING
from tests.e2e.bed.run import Run
from tests.e2e.manifests import indefinite, renamed
from tests.e2e.processes import until
from tests.e2e.real_stage import RealStage, shared_staged

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(150),
    pytest.mark.asyncio(loop_scope="module"),
]

JSON: Final = (("content-type", b"application/cloudevents+json"),)
LARGE: Final = 2_000_000
Headers = tuple[tuple[str, bytes | None], ...]


def event(**changes: Any) -> dict[str, Any]:
    """An event that is whole but for the changes; None leaves an attribute out."""
    whole = {
        "specversion": "1.0",
        "id": "1",
        "source": "/test",
        "type": ALERT_FIRING,
        "time": datetime.now(UTC).isoformat(),
        "data": {},
        **changes,
    }
    return {name: value for name, value in whole.items() if value is not None}


def encoded(**changes: Any) -> bytes:
    return msgspec.json.encode(event(**changes))


class Poison(msgspec.Struct, frozen=True):
    """A record, and a part of the reason that its dead letter gives."""

    value: bytes | None
    reason: str
    headers: Headers = JSON
    codec: str | None = None
    key: bytes = b"poison"


POISON: Final = {
    "half an object": Poison(b'{"specversion": "1.0", "id"', "JSON"),
    "a page": Poison(b"<html>502</html>", "JSON"),
    "no UTF-8": Poison(b"\xff\xfe\x00", "JSON"),
    "no id": Poison(encoded(id=None), "id"),
    "no time": Poison(encoded(time=None), "time"),
    "another version of the envelope": Poison(encoded(specversion="0.3"), "specversion"),
    "an alert without labels": Poison(encoded(data={"fingerprint": "1"}), "starts"),
    "an alert that began at no time": Poison(
        encoded(data={"fingerprint": "1", "startsAt": "soon", "labels": {}}), "startsAt"),
    "a header that is no UTF-8": Poison(
        b"{}", "ce_id", (("ce_specversion", b"1.0"), ("ce_id", b"\xff"), ("ce_source", b"/t"),
                       ("ce_type", ALERT_FIRING.encode()), ("ce_time", b"2026-01-01T00:00:00Z"))),
    "nothing at all": Poison(None, "", ()),
    "two megabytes": Poison(b"x" * LARGE, "longer than"),
    "a snappy batch of garbage": Poison(b"\x82SNAPPY\x00" * 40, "JSON", codec="snappy"),
    "a key that is no UTF-8": Poison(b"{", "JSON", key=b"\xff\xfe"),
}  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory, bed: Run) -> AsyncIterator[RealStage]:
    """A canary that waits for a person, and topics that take what brokers refuse by default."""
    async with shared_staged(tmp_path_factory.mktemp("poison"), bed) as stage:
        admin = AIOKafkaAdminClient(bootstrap_servers=list(stage.kafka.settings.brokers))
        await admin.start()
        try:
            for topic in (INBOX, URGENT):
                name = stage.kafka.name(topic)
                configs = {"max.message.bytes": str(2 * LARGE)}
                await admin.alter_configs(
                    [ConfigResource(ConfigResourceType.TOPIC, name, configs=configs)]
                )
        finally:
            await admin.close()
        await stage.start_agent()
        await stage.apply(*renamed(indefinite(), stage.namespace))
        await stage.until_promoted()
        await stage.set_image("canary-demo:v2")
        await stage.until_phase("Paused")
        yield stage


async def _send(stage: RealStage, topic: str, poison: Poison) -> None:
    options: dict[str, Any] = {"max_request_size": 2 * LARGE, "compression_type": poison.codec}
    async with stage.kafka.foreign_producer(**options) as producer:
        await producer.send_and_wait(
            stage.kafka.name(topic), poison.value, key=poison.key, headers=list(poison.headers)
        )


async def _letter_of(stage: RealStage, topic: str, poison: Poison) -> Record:
    """The dead letter of the newest record of a topic."""
    name = stage.kafka.name(topic)
    newest = len(await stage.kafka.records(name))

    async def buried() -> Record | None:
        letters = await stage.kafka.records(f"{name}{DEAD_LETTER_SUFFIX}")
        return next(
            (each for each in letters if (each.key, each.value) == (poison.key, poison.value)), None
        )

    letter = await until(buried, f"letter {newest} of {topic}", context=stage.agent)
    assert letter is not None
    return letter


@pytest.mark.parametrize("topic", [INBOX, URGENT])
@pytest.mark.parametrize("name", POISON)
async def test_poison_becomes_a_dead_letter_as_it_was_and_says_why(
    stage: RealStage, topic: str, name: str
) -> None:
    poison = POISON[name]
    await _send(stage, topic, poison)
    letter = await _letter_of(stage, topic, poison)
    assert letter.headers[: len(poison.headers)] == poison.headers
    told = dict(letter.headers[len(poison.headers) :])
    assert poison.reason.lower() in (told["dlq-reason"] or b"").decode().lower()
    assert told["dlq-reason"]
    assert told["dlq-topic"] == stage.kafka.name(topic).encode()
    assert told["dlq-offset"] is not None


async def test_what_is_only_unknown_is_no_poison(stage: RealStage) -> None:
    letters = f"{stage.kafka.name(INBOX)}{DEAD_LETTER_SUFFIX}"
    before = len(await stage.kafka.records(letters))
    await _send(stage, INBOX, Poison(encoded(type="com.example.other"), ""))

    async def said() -> bool:
        return bool(stage.said("event.unknown_type"))

    await until(said, "it is counted", context=stage.agent)
    await _until_all_is_committed(stage)
    assert len(await stage.kafka.records(letters)) == before


async def test_the_rest_goes_on(stage: RealStage) -> None:
    """Behind all the poison, under its keys, events have their effect, and all of it is committed."""
    command = event(
        type="dev.serinus.command.promote.v1",
        source="/ci/test",
        id="promote",
        data={"namespace": stage.namespace, "name": stage.name, "actor": "ann"},
    )
    value = msgspec.json.encode(command)
    assert (await stage.status())["phase"] == "Paused"
    await _send(stage, INBOX, Poison(value, "", key=b"\xff\xfe"))
    await stage.until_promoted()
    await _until_all_is_committed(stage)
    assert stage.agent.running
    assert (
        await stage.post("/", value, **{"Content-Type": JSON[0][1].decode()})
    ).status_code == 202


async def _until_all_is_committed(stage: RealStage) -> None:
    kafka = stage.kafka

    async def done() -> bool:
        sent = {topic: len(await kafka.records(kafka.name(topic))) for topic in (INBOX, URGENT)}
        return all([await kafka.committed(topic) == count for topic, count in sent.items()])

    await until(done, "everything is committed", context=stage.agent)
