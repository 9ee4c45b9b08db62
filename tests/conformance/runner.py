"""Runs cases by the module of their suite: `tests/conformance/suites/<suite with _ for ->.py`.

A module has `run(given, expect) -> list[str]`: the differences, empty when the case passes. It raises
Unsupported for what is not built. A suite without a module is unsupported as a whole.
"""

import importlib
import importlib.util
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.conformance.cases import Case, Unsupported

Run = Callable[[dict[str, Any], dict[str, Any]], list[str]]
PACKAGE = "tests.conformance.suites"


@dataclass
class Tally:
    """What became of the cases of one suite. `failures`: case id and its differences."""

    passed: int = 0
    unsupported: int = 0
    failures: list[tuple[str, list[str]]] = field(default_factory=list)

    def line(self, suite: str) -> str:
        return f"{suite}: {self.passed} passed, {len(self.failures)} failed, {self.unsupported} unsupported"


def _not_built(_given: dict[str, Any], _expect: dict[str, Any]) -> list[str]:
    raise Unsupported("no module for this suite")


def runner_of(suite: str, package: str = PACKAGE) -> Run:
    """The suite's `run`; a module that cannot be imported fails each of its cases."""
    module = suite.replace("-", "_")
    name = f"{package}.{module}"
    if not module.isidentifier() or importlib.util.find_spec(name) is None:
        return _not_built
    try:
        run: Run = importlib.import_module(name).run
    except Exception as error:  # noqa: BLE001 - a module that breaks on import fails its cases, not the run
        cause = error

        def broken(_given: dict[str, Any], _expect: dict[str, Any]) -> list[str]:
            raise cause

        return broken
    return run


def run_cases(cases: Iterable[Case], package: str = PACKAGE) -> dict[str, Tally]:
    """Tallies by suite, in order of their first case. An exception of a runner is a failure."""
    tallies: dict[str, Tally] = {}
    runners: dict[str, Run] = {}
    for case in cases:
        tally = tallies.setdefault(case.suite, Tally())
        if case.suite not in runners:
            runners[case.suite] = runner_of(case.suite, package)
        try:
            differences = runners[case.suite](case.given, case.expect)
        except Unsupported:
            tally.unsupported += 1
            continue
        except Exception as error:  # noqa: BLE001 - every case is judged, whatever another one meets
            differences = [f"the runner raised {type(error).__name__}: {error}"]
        if differences:
            tally.failures.append((case.id, differences))
        else:
            tally.passed += 1
    return tallies
