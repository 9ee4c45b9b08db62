"""When metrics are measured: gaps, delays, what is in flight, the wake-up time."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.analysis.schedule import Due, due
from agent.api.analysis import (
    AnalysisRun,
    AnalysisRunSpec,
    AnalysisRunStatus,
    Measurement,
    Metric,
    MetricResult,
)
from agent.api.times import format_time

START = datetime(2024, 5, 1, 10, 0, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def plan(asked: Metric, last: Measurement | None, now: datetime, **spec: Any) -> Due:
    results = [] if last is None else [MetricResult(name=asked.name, measurements=[last], count=1)]
    status = AnalysisRunStatus(
        phase="Running", started_at=format_time(START), metric_results=results
    )
    return due(AnalysisRun(spec=AnalysisRunSpec(metrics=[asked], **spec), status=status), now)


def ended(seconds: float, phase: str = "Successful") -> Measurement:
    return Measurement(phase=phase, finished_at=format_time(at(seconds)))


def in_flight(resume: float | None) -> Measurement:
    return Measurement(phase="Running", resume_at=format_time(at(resume)) if resume else None)


EVERY_MINUTE = Metric(name="m", interval="1m")


@pytest.mark.parametrize(
    ("asked", "last", "now", "expected"),
    [
        pytest.param(EVERY_MINUTE, None, 0, Due(("m",), (), None), id="at once when new"),
        pytest.param(EVERY_MINUTE, ended(5), 60, Due((), (), at(65)), id="not before the gap"),
        pytest.param(EVERY_MINUTE, ended(5), 65, Due((), (), at(65)), id="not at its very end"),
        pytest.param(EVERY_MINUTE, ended(5), 65.1, Due(("m",), (), at(65)), id="after the gap"),
        pytest.param(
            EVERY_MINUTE, ended(5, "Error"), 16, Due(("m",), (), at(15)), id="10 s after an error"
        ),
        pytest.param(
            Metric(name="m", interval="1m", count=1), ended(5), 99, Due((), (), None), id="complete"
        ),
        pytest.param(
            Metric(name="m", initial_delay="30s"), None, 1, Due((), (), at(30)), id="delayed"
        ),
        pytest.param(EVERY_MINUTE, in_flight(20), 1, Due((), (), at(20)), id="resumed later"),
        pytest.param(
            EVERY_MINUTE, in_flight(20), 20, Due((), ("m",), at(20)), id="resumed in time"
        ),
        pytest.param(EVERY_MINUTE, in_flight(None), 1, Due((), ("m",), None), id="resumed at once"),
        pytest.param(
            Metric(name="m", interval="300000000h"),
            ended(0),
            1,
            Due((), (), None),
            id="beyond time",
        ),
    ],
)
def test_a_metric_is_due(
    asked: Metric, last: Measurement | None, now: float, expected: Due
) -> None:
    assert plan(asked, last, at(now)) == expected


@pytest.mark.parametrize(("last", "resume"), [(None, ()), (ended(0), ()), (in_flight(500), ("m",))])
def test_a_terminating_run_only_ends_what_is_in_flight(
    last: Measurement | None, resume: tuple[str, ...]
) -> None:
    assert plan(EVERY_MINUTE, last, at(300), terminate=True) == Due((), resume, None)


@given(
    interval=st.integers(0, 100_000),
    phase=st.sampled_from(["Successful", "Error"]),
    after=st.integers(-10, 10),
)
def test_a_metric_is_measured_strictly_after_its_wake_up_time(
    interval: int, phase: str, after: int
) -> None:
    asked = Metric(name="m", interval=f"{interval}ms")
    wake = plan(asked, ended(0, phase), at(0)).next_wake
    assert wake is not None
    later = plan(asked, ended(0, phase), wake + timedelta(milliseconds=after))
    assert later.measure == (("m",) if after > 0 else ())
    assert later.next_wake == wake
