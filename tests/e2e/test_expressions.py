"""Our interpreter beside the real expr-lang, as Argo calls it. Needs Go."""

import pytest

from tests.e2e.bed.tools import include, program
from tests.fuzz.expressions import main

pytestmark = pytest.mark.e2e


@pytest.mark.timeout(600)
def test_no_expression_means_something_else_than_in_the_real_language(
    capsys: pytest.CaptureFixture[str],
) -> None:
    include("expressions")
    program("go")
    code = main(["--count", "5000", "--seed", "20"])
    assert code == 0, capsys.readouterr().out
