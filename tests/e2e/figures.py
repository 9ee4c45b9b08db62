"""Figures that a test found out, printed at the end of the run, also when it passed in another process.

A plugin: a test asks for the fixture `figure` and calls it with a line.
"""

from collections.abc import Callable
from typing import Final

import pytest

Figure = Callable[[str], None]
PROPERTY: Final = "figure"


@pytest.fixture
def figure(record_property: Callable[[str, object], None]) -> Figure:
    """Keeps a line for the summary."""

    def keep(line: str) -> None:
        record_property(PROPERTY, line)

    return keep


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [
        report
        for outcome in ("passed", "failed")
        for report in terminalreporter.stats.get(outcome, ())
        if getattr(report, "when", "") == "call"
    ]
    told = {
        report.nodeid: [value for name, value in report.user_properties if name == PROPERTY]
        for report in reports
    }
    if any(told.values()):
        terminalreporter.section("figures")
    for nodeid, lines in told.items():
        for line in lines:
            terminalreporter.write_line(f"{nodeid.rpartition('::')[2]}: {line}")
