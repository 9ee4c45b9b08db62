"""Brokers for tests that share one."""

from collections.abc import Iterator

import pytest

from tests.e2e.bed.kafka import Broker


@pytest.fixture(scope="module")
def of_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """One for the tests of a module, none of which kills it: `broker = brokers.of_module`."""
    with Broker(tmp_path_factory.mktemp("kafka")) as broker:
        yield broker
