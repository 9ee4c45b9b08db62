"""The canary's share by the counters of requests: confirmed only by enough of them, and never by missing ones."""

import random
from typing import Any

import pytest

from agent.analysis.shares import Counts, counts, judge

NONE = Counts(0, 0)


def vector(*series: tuple[str, Any]) -> list[dict[str, Any]]:
    return [{"metric": {"version": name}, "value": [1.0, str(value)]} for name, value in series]


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        pytest.param(vector(("web-canary", 30), ("web-stable", 70)), Counts(30, 100), id="two versions"),
        pytest.param(vector(("web-canary", 30), ("web-canary", 5), ("x", 65)), Counts(35, 100), id="several series"),
        pytest.param(vector(("web-stable", 70)), Counts(0, 70), id="the canary has none yet"),
        pytest.param([], None, id="nothing"),
        pytest.param(None, None, id="no vector"),
        pytest.param("text", None, id="a text"),
        pytest.param(vector(("web-canary", "NaN")), None, id="not a number"),
        pytest.param(vector(("web-canary", "+Inf")), None, id="without end"),
        pytest.param(vector(("web-canary", -1)), None, id="less than nothing"),
        pytest.param([{"metric": {}}], None, id="no value"),
        pytest.param([{"metric": 3, "value": [1, "1"]}], None, id="no labels"),
        pytest.param([7], None, id="no series"),
    ],
)  # fmt: skip
def test_counters_are_read_or_absent(answer: Any, found: Counts | None) -> None:
    assert counts(answer, ("web-canary", "")) == found


@pytest.mark.parametrize(
    ("now", "weight", "state"),
    [
        pytest.param(Counts(200, 1000), 20, "confirmed", id="as asked"),
        pytest.param(Counts(245, 1000), 20, "confirmed", id="within chance"),
        pytest.param(Counts(255, 1000), 20, "off", id="too many"),
        pytest.param(Counts(145, 1000), 20, "off", id="too few"),
        pytest.param(Counts(0, 1000), 20, "off", id="none: the proxies do not know yet"),
        pytest.param(Counts(100, 499), 20, "few", id="not enough to tell"),
        pytest.param(Counts(0, 0), 20, "few", id="no request at all"),
        pytest.param(Counts(1000, 1000), 100, "confirmed", id="all"),
        pytest.param(Counts(999, 1000), 100, "confirmed", id="one was under way"),
        pytest.param(Counts(990, 1000), 100, "off", id="not all"),
        pytest.param(Counts(12, 1000), 1, "confirmed", id="one of a hundred"),
        pytest.param(Counts(-5, 1000), 20, "few", id="a counter began anew"),
        pytest.param(Counts(1200, 1000), 20, "few", id="more than all"),
    ],
)  # fmt: skip
def test_the_verdict(now: Counts, weight: int, state: str) -> None:
    shown = judge(NONE, now, weight, 500)
    assert shown.state == state
    assert shown.text


def test_only_what_came_since_the_beginning_counts() -> None:
    assert judge(Counts(5000, 5000), Counts(5200, 6000), 20, 500).state == "confirmed"
    assert judge(Counts(0, 6000), Counts(0, 6100), 20, 500).state == "few"


@pytest.mark.parametrize("weight", [1, 10, 50, 99, 100])
def test_a_split_that_is_in_force_is_confirmed_and_another_is_not(weight: int) -> None:
    rng = random.Random(weight)
    for _ in range(300):
        hits = sum(rng.random() < weight / 100 for _ in range(500))
        assert judge(NONE, Counts(hits, 500), weight, 500).state == "confirmed"
    half = sum(rng.random() < weight / 200 for _ in range(20_000))
    assert judge(NONE, Counts(half, 20_000), weight, 500).state == "off"
