"""Seeded simulation: 200 runs with faults; `python -m tests.simulation --only N` replays one."""

import pytest

from tests.simulation.__main__ import play

SEEDS = 200


@pytest.mark.parametrize("seed", range(SEEDS))
def test_the_invariants_hold(seed: int) -> None:
    assert play(seed).violations == []


def test_a_seed_is_replayable() -> None:
    assert play(3) == play(3)
