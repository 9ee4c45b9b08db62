"""The fuzzer itself: what it asks, and that every listed difference is documented."""

import json
import re
from pathlib import Path

import pytest

from tests.fuzz.expressions import (
    LISTED,
    Answer,
    Disagreement,
    Question,
    disagreements,
    listed,
    ours,
    questions,
)

DIFFERENCES = json.loads(LISTED.read_text())["differences"]
PAGE = (Path(__file__).parents[2] / "docs/expressions.md").read_text()


def test_the_same_seed_asks_the_same_questions() -> None:
    assert questions(200, 7, ["result > 1"]) == questions(200, 7, ["result > 1"])
    assert questions(200, 7) != questions(200, 8)


def test_many_of_the_questions_have_a_value() -> None:
    answers = [ours(question) for question in questions(1_000, 5)]
    assert sum(not answer.error for answer in answers) > 400


@pytest.mark.parametrize(
    ("answer", "disagrees"),
    [
        (Answer(["int", "3"]), False),
        (Answer(["int", "4"]), True),
        (Answer(["float64", "3"]), True),
        (Answer(error="no"), True),
    ],
)
def test_another_value_another_type_and_an_error_are_disagreements(
    answer: Answer, disagrees: bool
) -> None:
    question = Question("1 + 2", "float", 0.5)
    assert bool(disagreements([question], [answer])) == disagrees


def test_a_disagreement_is_explained_only_when_all_patterns_are_found() -> None:
    difference = {"id": "x", "where": {"expression": "mean", "theirs": "not int$"}}
    question = Question("mean(1) == 1", "float", 0.5)
    said = Answer(error="interface conversion: interface {} is float64, not int")
    assert listed(Disagreement(question, Answer(["bool", "true"]), said), [difference]) == "x"
    other = Answer(["bool", "false"])
    assert not listed(Disagreement(question, Answer(["bool", "true"]), other), [difference])


@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda found: str(found["id"]))
def test_a_listed_difference_is_documented_with_its_reason(difference: dict[str, str]) -> None:
    assert f"`{difference['id']}`" in PAGE
    assert difference["reason"]
    assert difference["where"]


def test_the_page_names_no_difference_that_is_not_listed() -> None:
    named = re.findall(r"^\| `([a-z0-9-]+)` \|", PAGE, re.MULTILINE)
    assert sorted(named) == sorted(difference["id"] for difference in DIFFERENCES)
