"""Encrypted and authenticated connections, and what is said when they cannot be made."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.bus.kafka.bus import KafkaBus
from agent.errors import Refused, Unavailable
from agent.settings import BusSettings
from tests.contract.bus_contract import Receiver, a_record, consuming
from tests.e2e.bed.kafka import PASSWORD, USER, Broker
from tests.e2e.kafka_stage import staged

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    broker = Broker(tmp_path_factory.mktemp("kafka"), secured=True)
    broker.start()
    yield broker
    broker.kill()


@pytest.fixture
def login(broker: Broker, tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "password").write_text(PASSWORD + "\n")
    return {
        "security_protocol": "SASL_SSL",
        "ca_file": str(broker.ca),
        "username": USER,
        "password_file": str(tmp_path / "password"),
    }


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-512", "PLAIN"])
async def test_records_go_through(mechanism: str, broker: Broker, login: dict[str, Any]) -> None:
    receiver = Receiver()
    changes = {**login, "mechanism": mechanism}
    async with (
        staged(broker.secure_address, **changes) as stage,
        consuming(stage.bus, receiver),
    ):
        await stage.bus.publish(a_record("secret"))
        await receiver.until_taken(1)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"password": "wrong"}, ("SaslAuthenticationFailed", "bus.username, its password")),
        ({"username": "nobody"}, ("SaslAuthenticationFailed", "bus.username, its password")),
        ({"mechanism": "SCRAM-SHA-256"}, ("bus.mechanism",)),
        ({"ca_file": ""}, ("CERTIFICATE_VERIFY_FAILED", "bus.ca_file")),
        (
            {"security_protocol": "SASL_PLAINTEXT", "ca_file": ""},
            ("bus.security_protocol",),
        ),
        ({"host": "localhost"}, ("localhost", "bus.ca_file")),
    ],
    ids=[
        "a wrong password",
        "an unknown user",
        "a mechanism that the broker does not have",
        "an authority that is not trusted",
        "no encryption where there must be",
        "another host than the certificate's",
    ],
)
async def test_what_is_in_the_way_is_said_with_what_to_check(
    changes: dict[str, str],
    words: tuple[str, ...],
    broker: Broker,
    login: dict[str, Any],
    tmp_path: Path,
) -> None:
    chosen = {**login, **changes}
    address = broker.secure_address
    if "host" in chosen:
        address = address.replace("127.0.0.1", chosen.pop("host"))
    if "password" in chosen:
        (tmp_path / "password").write_text(chosen.pop("password"))
    bus = KafkaBus(BusSettings(kind="kafka", brokers=(address,), **chosen))
    with pytest.raises(Unavailable) as unavailable:
        await bus.start()
    await bus.aclose()
    said = str(unavailable.value)
    assert all(word in said for word in (address, *words)), said
    assert PASSWORD not in said


@pytest.mark.parametrize(
    ("field", "content"),
    [("ca_file", None), ("ca_file", "no PEM"), ("cert_file", "no PEM"), ("password_file", "")],
)
def test_a_file_that_cannot_be_used_names_its_field(
    field: str, content: str | None, login: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "file"
    if content is not None:
        path.write_text(content)
    changes = {**login, field: str(path)}
    if field == "cert_file":
        changes["key_file"] = str(path)
    with pytest.raises(Refused, match=rf"bus\.{field}"):
        KafkaBus(BusSettings(kind="kafka", brokers=("a:1",), **changes))
