"""When metrics are measured: gaps, delays, what is in flight, the wake-up time."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.analysis.schedule import Due, due, spread
from agent.api.analysis import (
    AnalysisRun,
    AnalysisRunSpec,
    AnalysisRunStatus,
    Measurement,
    Metric,
    MetricResult,
)
from agent.api.meta import ObjectMeta
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
        pytest.param(
            Metric(name="m", interval="80000000h"), ended(0), 1, Due((), (), None), id="in no year"
        ),
        pytest.param(
            Metric(name="m", initial_delay="80000000h"),
            None,
            1,
            Due((), (), None),
            id="never first",
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


def taken_up(
    asked: Metric, last: Measurement | None, now: datetime, since: datetime, uid: str = "u"
) -> Due:
    """The plan of a driver that took the run up then."""
    results = [] if last is None else [MetricResult(name=asked.name, measurements=[last], count=1)]
    status = AnalysisRunStatus(
        phase="Running", started_at=format_time(START), metric_results=results
    )
    meta = ObjectMeta(name="a", uid=uid)
    return due(
        AnalysisRun(metadata=meta, spec=AnalysisRunSpec(metrics=[asked]), status=status),
        now,
        since=since,
    )


@given(uid=st.text(max_size=40), seconds=st.floats(0, 1e6))
def test_a_run_is_put_off_by_less_than_half_a_second_and_a_tenth_of_its_gap(
    uid: str, seconds: float
) -> None:
    gap = timedelta(seconds=seconds)
    found = spread(uid, gap)
    assert timedelta(0) <= found <= min(gap / 10, timedelta(seconds=0.5))
    assert spread(uid, gap) == found


def test_many_runs_are_spread_evenly() -> None:
    tenths = [0] * 10
    for number in range(1000):
        tenths[int(spread(f"uid-{number}", timedelta(minutes=1)) / timedelta(seconds=0.05))] += 1
    assert min(tenths) > 60


@given(uid=st.uuids().map(str), past=st.integers(0, 3600))
def test_what_was_due_before_the_driver_began_is_spread_from_then(uid: str, past: int) -> None:
    since = at(65 + past)
    expected = since + spread(uid, timedelta(minutes=1))
    found = taken_up(EVERY_MINUTE, ended(5), since, since, uid)
    assert found == Due((), (), expected)
    after = expected + timedelta(milliseconds=1)
    assert taken_up(EVERY_MINUTE, ended(5), after, since, uid).measure == ("m",)


@pytest.mark.parametrize(
    ("asked", "last", "now"),
    [
        pytest.param(EVERY_MINUTE, None, 0, id="a first one"),
        pytest.param(Metric(name="m", initial_delay="30s"), None, 30.1, id="a first one, delayed"),
        pytest.param(EVERY_MINUTE, in_flight(20), 20, id="one in flight"),
    ],
)
def test_only_what_is_measured_again_is_put_off(
    asked: Metric, last: Measurement | None, now: float
) -> None:
    assert taken_up(asked, last, at(now), START) == plan(asked, last, at(now))
