"""The runner itself: what it counts, when it fails, and that the committed vectors pass."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.__main__ import main
from tests.conformance.cases import Case, MalformedFile, find_files, read_file
from tests.conformance.runner import run_cases

VECTORS = Path(__file__).parent / "vectors"
SUITES = "tests.conformance.sample_suites"


def write(directory: Path, suite: str, *cases: dict[str, Any]) -> Path:
    path = directory / f"{suite}.json"
    path.write_text(json.dumps({"suite": suite, "about": "", "cases": list(cases)}))
    return path


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out.splitlines()[-1]


def test_the_committed_vectors_pass_and_none_is_unsupported(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([str(VECTORS)]) == 0
    assert re.fullmatch(r"[1-9]\d* passed, 0 failed, 0 skipped", last_line(capsys))


def test_each_committed_case_has_an_id_of_its_own() -> None:
    ids = [(case.suite, case.id) for file in find_files([VECTORS]) for case in read_file(file)]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(
    ("suite", "passed", "failed", "unsupported"),
    [
        pytest.param("echo", 1, 0, 0, id="no difference is a pass"),
        pytest.param("differs", 0, 1, 0, id="a difference is a failure"),
        pytest.param("raises", 0, 1, 0, id="an exception is a failure"),
        pytest.param("not-built", 0, 0, 1, id="Unsupported is counted apart"),
        pytest.param("broken-import", 0, 1, 0, id="a module that cannot be imported is a failure"),
        pytest.param("nobody-wrote-it", 0, 0, 1, id="a suite without a module is unsupported"),
        pytest.param("no.module name", 0, 0, 1, id="and so is one that could have none"),
    ],
)
def test_what_becomes_of_a_case(suite: str, passed: int, failed: int, unsupported: int) -> None:
    tally = run_cases([Case(suite, "a", {}, {})], SUITES)[suite]
    assert (tally.passed, len(tally.failures), tally.unsupported) == (passed, failed, unsupported)
    assert (
        tally.line(suite) == f"{suite}: {passed} passed, {failed} failed, {unsupported} unsupported"
    )


def test_a_crash_is_shown_with_its_exception_and_the_next_case_still_runs() -> None:
    cases = [Case("raises", "a", {}, {}), Case("echo", "b", {}, {})]
    tallies = run_cases(cases, SUITES)
    assert tallies["raises"].failures == [("a", ["the runner raised KeyError: 'shown'"])]
    assert tallies["echo"].passed == 1


def test_an_empty_run_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, "phase")
    assert main([str(tmp_path)]) == 1
    assert last_line(capsys) == "0 passed, 0 failed, 0 skipped"


def test_a_place_that_is_missing_fails_even_when_another_passes(tmp_path: Path) -> None:
    assert main([str(VECTORS), str(tmp_path / "missing")]) == 1


def test_a_failed_case_fails_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(
        tmp_path,
        "phase",
        {
            "id": "wrong",
            "given": {"question": "step-text", "step": {"setWeight": 5}},
            "expect": {"text": "setWeight: 6"},
        },
    )
    assert main([str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert out.splitlines() == [
        "phase: 0 passed, 1 failed, 0 unsupported",
        "  wrong",
        '    text: expected "setWeight: 6", got "setWeight: 5"',
        "0 passed, 1 failed, 0 skipped",
    ]


def test_unsupported_cases_do_not_fail_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, "of-tomorrow", {"id": "a", "given": {}, "expect": {}})
    assert main([str(tmp_path)]) == 0
    assert last_line(capsys) == "0 passed, 0 failed, 1 skipped"


@pytest.mark.parametrize("choice", [["--suite", "other"], ["--case", "other"]], ids=" ".join)
def test_choosing_what_does_not_exist_is_an_empty_run(tmp_path: Path, choice: list[str]) -> None:
    write(tmp_path, "of-tomorrow", {"id": "a", "given": {}, "expect": {}})
    assert main([str(tmp_path), *choice]) == 1


def test_one_suite_and_one_case_can_be_chosen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case: dict[str, Any] = {"given": {}, "expect": {}}
    write(tmp_path, "of-tomorrow", {"id": "a", **case}, {"id": "b", **case})
    write(tmp_path, "of-yesterday", {"id": "a", **case})
    assert main([str(tmp_path), "--suite", "of-tomorrow", "--case", "b"]) == 0
    assert last_line(capsys) == "0 passed, 0 failed, 1 skipped"


@pytest.mark.parametrize("text", ["", "[]", '{"suite": "x"}', '{"suite": "x", "cases": [{}]}'])
def test_a_file_that_is_no_vector_file_fails_the_run(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(MalformedFile, match=r"a\.json"):
        read_file(tmp_path / "a.json")
    write(tmp_path, "of-tomorrow", {"id": "a", "given": {}, "expect": {}})
    assert main([str(tmp_path)]) == 1


def test_files_of_one_suite_are_counted_on_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, "of-tomorrow", {"id": name, "given": {}, "expect": {}})
    assert main([str(tmp_path / "one"), str(tmp_path / "two")]) == 0
    assert (
        capsys.readouterr().out.splitlines()[0] == "of-tomorrow: 0 passed, 0 failed, 2 unsupported"
    )
