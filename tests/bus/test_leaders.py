"""Which topics have a leader for every partition, by what a broker says of them."""

import pytest

from agent.bus.kafka.leaders import by_leader


def described(topic: str, *leaders: int, error: int = 0) -> dict[str, object]:
    partitions = [
        {"partition": number, "leader": leader, "error_code": 5 if leader < 0 else 0}
        for number, leader in enumerate(leaders)
    ]
    return {"topic": topic, "error_code": error, "partitions": partitions}


def test_partitions_are_asked_for_at_their_leaders() -> None:
    leaders, late = by_leader(["a", "b"], [described("b", 2), described("a", 1, 2, 1)])
    assert leaders == {1: {"a": [0, 2]}, 2: {"a": [1], "b": [0]}}
    assert late == []


@pytest.mark.parametrize(
    "answer",
    [[], [described("a")], [described("a", error=3)], [described("a", 1, -1)]],
    ids=["not named", "without partitions", "unknown", "one without a leader"],
)
def test_a_topic_is_late(answer: list[dict[str, object]]) -> None:
    assert by_leader(["a"], answer) == ({}, ["a"])


def test_the_others_are_not_late_with_it() -> None:
    leaders, late = by_leader(["a", "b"], [described("a", -1), described("b", 1)])
    assert (leaders, late) == ({1: {"b": [0]}}, ["a"])
