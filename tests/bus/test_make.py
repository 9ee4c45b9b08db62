"""The bus that the settings name, and the files beside the product that go with it."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from agent.bus.kafka.bus import KafkaBus
from agent.bus.kafka.topics import Topic, differences, names, wanted
from agent.bus.make import JOIN_SECONDS, Wiring, static_instance
from agent.bus.memory import MemoryBus
from agent.bus.metrics import BusMeter
from agent.bus.outlet import FanOut
from agent.bus.topics import INBOX, ROLLOUTS, URGENT
from agent.clock import LoopClock
from agent.errors import Refused
from agent.http import Http
from agent.settings import BusSettings, OutletSettings, Settings, load

DEPLOY = Path(__file__).parents[2] / "deploy/kafka"
KAFKA = BusSettings(kind="kafka", brokers=("127.0.0.1:1",))


async def wired(settings: Settings) -> Wiring:
    clock = LoopClock(datetime(2026, 1, 1, tzinfo=UTC))
    return Wiring(settings, clock, Http(), meter=BusMeter(), environment={"K_SINK": ""})


async def test_without_kafka_one_process_drives_everything() -> None:
    wiring = await wired(Settings())
    assert isinstance(wiring.bus, MemoryBus)
    assert (wiring.owner, wiring.consumed, wiring.missing()) == (None, (), "")
    await wiring.start()


async def test_an_outlet_gets_what_is_published_and_is_no_bus() -> None:
    wiring = await wired(Settings(outlet=OutletSettings(url="http://a")))
    assert isinstance(wiring.bus, FanOut)
    assert not wiring.bus.durable


@pytest.mark.looptime(start=0)
async def test_without_brokers_a_start_goes_on_and_the_doors_open_after_a_while() -> None:
    wiring = await wired(Settings(bus=KAFKA))
    assert isinstance(wiring.kafka, KafkaBus)
    assert wiring.bus.durable
    assert wiring.consumed == (INBOX, URGENT)
    assert wiring.missing().startswith("waits for its share of serinus.inbox, serinus.urgent")
    await wiring.start()
    await wiring._clock.sleep(JOIN_SECONDS)
    assert wiring.missing() == "", "alerts need no broker"
    await wiring.bus.aclose()


@pytest.mark.parametrize("pod", ["", "serinus", "serinus-7d9c8b5f6d-x2x4z"])
def test_a_static_member_is_a_pod_of_a_stateful_set_or_refused(pod: str) -> None:
    """Two members of one id both own everything, and Kafka says nothing: so no id can be chosen."""
    with pytest.raises(Refused, match=r"bus\.static_member.*StatefulSet"):
        static_instance({"POD_NAME": pod})


def test_the_id_of_a_static_member_is_that_of_its_pod() -> None:
    pods = [
        static_instance({"POD_NAME": f"serinus-{number}", "POD_NAMESPACE": namespace})
        for number in range(2)
        for namespace in ("a", "b")
    ]
    assert pods[0] == "a.serinus-0"
    assert len(set(pods)) == 4
    assert not any("static" in field or "instance" in field for field in _text_fields())


def _text_fields() -> list[str]:
    return [name for name in BusSettings.__struct_fields__ if isinstance(getattr(KAFKA, name), str)]


def test_topics_have_the_prefix_of_the_settings() -> None:
    settings = BusSettings(kind="kafka", brokers=("a:1",), prefix="team.a")
    assert names(settings) == {
        INBOX: "team.a.inbox",
        f"{INBOX}.dlq": "team.a.inbox.dlq",
        URGENT: "team.a.urgent",
        f"{URGENT}.dlq": "team.a.urgent.dlq",
        ROLLOUTS: "team.a.rollouts",
    }
    assert {topic.name for topic in wanted(settings)} == set(names(settings).values())


def test_what_differs_is_said_and_what_does_not_is_not() -> None:
    want = Topic(name="t", partitions=12, configs={"cleanup.policy": "delete", "a": "1"})
    assert differences(want, want) == []
    have = Topic(name="t", partitions=6, configs={"cleanup.policy": "compact", "b": "2"})
    said = differences(want, have)
    assert [line.split(",")[0] for line in said] == ["6 partitions", "cleanup.policy=compact"]


def test_the_manifests_of_the_topics_are_what_init_creates() -> None:
    settings = BusSettings(kind="kafka", brokers=("a:1",), replication_factor=3)
    shown = {}
    for item in yaml.safe_load_all((DEPLOY / "topics.yaml").read_text()):
        configs = {name: str(value) for name, value in item["spec"]["config"].items()}
        name = item["metadata"]["name"]
        shown[name] = Topic(name=name, partitions=item["spec"]["partitions"], configs=configs)
        assert item["spec"]["replicas"] == 3
    assert shown == {topic.name: topic for topic in wanted(settings)}


def test_the_settings_that_are_shown_are_settings() -> None:
    assert load(DEPLOY / "serinus.yaml", {}).bus.username == "serinus"
