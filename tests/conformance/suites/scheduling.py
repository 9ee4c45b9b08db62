"""scheduling: the state of a run and the clock to what is measured now and when to wake."""

from typing import Any

from agent.analysis.schedule import due
from agent.api.analysis import AnalysisRun
from agent.api.decode import read
from agent.api.times import format_time, parse_time
from tests.conformance.compare import differences


def run(given: dict[str, Any], expect: dict[str, Any]) -> list[str]:
    plan = due(read(AnalysisRun, given["run"]), parse_time(given["now"]))
    got = {
        "measure": list(plan.measure),
        "resume": list(plan.resume),
        "nextWake": format_time(plan.next_wake) if plan.next_wake else None,
    }
    return differences(expect, got)
