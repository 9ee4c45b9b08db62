"""The list of verdicts that are others in `safe`: complete, with reasons, and none too many."""

from contextvars import copy_context
from pathlib import Path

import pytest

from tests.conformance.__main__ import main
from tests.conformance.cases import Case, find_files, read_file
from tests.conformance.compat import (
    COMPAT,
    Difference,
    expected_in_safe,
    listed,
    no_longer_different,
)
from tests.conformance.runner import run_cases

VECTORS = Path(__file__).parent / "vectors"
CASES = [case for file in find_files([VECTORS]) for case in read_file(file)]
GOOD = Case(
    "expressions",
    "good",
    {"question": "condition", "result": 1, "successCondition": "result < 2"},
    {"phase": "Successful"},
)


def in_safe(*arguments: str) -> int:
    return copy_context().run(main, [*arguments, "--compat", "safe"])


def test_the_committed_cases_have_the_listed_outcomes_in_safe(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert in_safe(str(VECTORS)) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith(" 0 failed, 0 skipped")


def test_every_difference_has_a_reason_and_is_listed_once() -> None:
    names = [(found.suite, found.case) for found in listed()]
    assert len(names) == len(set(names))
    assert all(found.reason and found.expect for found in listed())


def test_a_difference_that_is_not_listed_fails() -> None:
    def run() -> int:
        COMPAT.set("safe")
        tallies = run_cases(expected_in_safe(CASES, listed()[1:]))
        return sum(len(tally.failures) for tally in tallies.values())

    assert copy_context().run(run) == 1


def test_a_listed_case_that_is_as_in_argo_is_told() -> None:
    found = Difference("expressions", "good", {"phase": "Successful"}, "none")
    assert no_longer_different([GOOD], [found]) == ["expressions: good does not differ from Argo"]
    assert not no_longer_different([GOOD], [])
