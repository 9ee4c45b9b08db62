"""The benches run: small, on the local cluster. What they measure is not judged here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.processes import ROOT

SMALL = ("--runs", "1", "--idle", "1", "--storm", "3", "--rollouts", "2", "--local")
SMALL_ANALYSIS = ("--analysis-runs", "5", "--seconds", "11")


@pytest.mark.e2e
@pytest.mark.timeout(150)
@pytest.mark.parametrize("name", ["abort", "storm", "memory", "analysis"])
def test_it_measures_and_tells_people_and_programs(name: str, tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench", "--only", name, "--json", str(figures),
         *SMALL, *SMALL_ANALYSIS],
        cwd=ROOT, capture_output=True, text=True, timeout=140, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(figures.read_text())
    assert told["machine"]["processors"] >= 1
    for report in told["benches"][name]:
        assert report["title"] in done.stdout
        assert report["rows"]
        for row in report["rows"]:
            assert row["n"] >= 1, row
            assert row["p50"] is not None, row


def test_its_help_has_examples() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench", "--help"],
        cwd=ROOT, capture_output=True, text=True, timeout=50, check=True,
    )  # fmt: skip
    assert "python -m tests.bench --only abort" in done.stdout
