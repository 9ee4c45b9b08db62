"""Cases with `compat: safe`: those of safe.json have another outcome than in Argo, all others the same."""

import json
from collections.abc import Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Final, NamedTuple

from agent.analysis.verdict import Compat
from tests.conformance.cases import Case
from tests.conformance.runner import run_cases

LISTED: Final = Path(__file__).parent / "safe.json"
COMPAT: Final[ContextVar[Compat]] = ContextVar("compat", default="argo")
"""Which verdicts the suites ask for."""


class Difference(NamedTuple):
    """What a case comes to in `safe`, and why that is another outcome than Argo's."""

    suite: str
    case: str
    expect: dict[str, Any]
    reason: str


def listed() -> list[Difference]:
    found = json.loads(LISTED.read_text(encoding="utf-8"))["differences"]
    return [Difference(**difference) for difference in found]


def expected_in_safe(cases: Sequence[Case], differences: Sequence[Difference]) -> list[Case]:
    """The cases with what is expected of them in `safe`."""
    expects = {(found.suite, found.case): found.expect for found in differences}
    return [case._replace(expect=expects.get((case.suite, case.id), case.expect)) for case in cases]


def no_longer_different(cases: Sequence[Case], differences: Sequence[Difference]) -> list[str]:
    """Listed cases that have Argo's outcome in `safe`, too: they need no place in the list."""
    names = {(found.suite, found.case) for found in differences}
    tallies = run_cases(case for case in cases if (case.suite, case.id) in names)
    failed = {(suite, name) for suite, tally in tallies.items() for name, _ in tally.failures}
    chosen = {(case.suite, case.id) for case in cases} & names
    return [f"{suite}: {name} does not differ from Argo" for suite, name in sorted(chosen - failed)]
