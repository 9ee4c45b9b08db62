"""The contract of every bus, on real Kafka."""

from collections.abc import Iterator

import pytest

from tests.contract.bus_contract import CONTRACT, Clause
from tests.e2e.bed.kafka import Broker
from tests.e2e.kafka_stage import staged

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    broker = Broker(tmp_path_factory.mktemp("kafka"))
    broker.start()
    yield broker
    broker.kill()


@pytest.mark.parametrize("clause", CONTRACT, ids=lambda clause: clause.__name__)
async def test_contract(clause: Clause, broker: Broker) -> None:
    async with staged(broker.address) as stage:
        await clause(stage)
