"""The contract of every bus, on real Kafka."""

import pytest

from tests.contract.bus_contract import CONTRACT, Clause
from tests.e2e import brokers
from tests.e2e.bed.kafka import Broker
from tests.e2e.kafka_stage import staged

pytestmark = pytest.mark.e2e
broker = brokers.of_module


@pytest.mark.parametrize("clause", CONTRACT, ids=lambda clause: clause.__name__)
async def test_contract(clause: Clause, broker: Broker) -> None:
    async with staged(broker.address) as stage:
        await clause(stage)
