"""Counting which version answers: what the tests of splits share."""

import math
from collections.abc import Mapping
from typing import Final

from agent.demo.envoy import Envoy
from agent.demo.load import Load, Tally

CALLS: Final = 10_000
SPLITS: Final = (1, 10, 30, 50, 99)
FLIPS: Final = 200
FAST: Final = 20_000.0


def deviation(hits: int, calls: int, percent: int) -> float:
    """How many standard deviations the hits are off. 4 is exceeded 6 times in 100,000 runs."""
    share = percent / 100
    return (hits - calls * share) / math.sqrt(calls * share * (1 - share))


async def calls(
    envoy: Envoy, headers: Mapping[str, str] | None = None, count: int = CALLS
) -> Tally:
    load = Load(envoy.host, envoy.port, authority="shop", rate=FAST, headers=headers)
    async with load.generating():
        await load.until_total(count, within_seconds=60)
    return load.tally()
