"""Answers of the real expr-lang, kept (`python -m tests.fuzz.expressions --write`): ours are the same."""

import json
from pathlib import Path

import pytest

from tests.fuzz.expressions import Answer, Question, ours

FILE = Path(__file__).parent / "data/expressions.json"
ANSWERS = [
    (Question(expression, kind, result), Answer(value, error))
    for expression, kind, result, value, error in json.loads(FILE.read_text())
]


def test_there_are_values_and_errors() -> None:
    assert sum(not answer.error for _, answer in ANSWERS) >= 300
    assert sum(bool(answer.error) for _, answer in ANSWERS) >= 100


@pytest.mark.parametrize("start", range(0, len(ANSWERS), 50))
def test_an_expression_gives_the_value_or_the_words_of_the_real_language(start: int) -> None:
    part = ANSWERS[start : start + 50]
    assert [ours(question) for question, _ in part] == [answer for _, answer in part]
