"""Our interpreter beside the real expr-lang, as Argo calls it. Needs Go."""

import shutil

import pytest

from tests.fuzz.expressions import main

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(shutil.which("go") is None, reason="needs Go: https://go.dev/dl"),
]


@pytest.mark.timeout(600)
def test_no_expression_means_something_else_than_in_the_real_language(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code = main(["--count", "5000", "--seed", "20"])
    assert code == 0, capsys.readouterr().out
