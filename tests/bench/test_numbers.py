"""What is said about samples."""

import json
import math

import pytest

from tests.bench.abort import firing
from tests.bench.analysis import _lags
from tests.bench.numbers import Report, Row, percentile
from tests.bench.stage import NAMESPACE


@pytest.mark.parametrize(
    ("samples", "percent", "expected"),
    [
        ([3, 1, 2], 50, 2),
        ([4, 3, 2, 1], 50, 2),
        (range(1, 101), 99, 99),
        (range(1, 101), 100, 100),
        (range(1, 201), 99, 198),
        ([7], 1, 7),
    ],
)
def test_a_percentile_is_one_of_the_samples(
    samples: list[float], percent: float, expected: float
) -> None:
    assert percentile(samples, percent) == expected


def test_without_samples_there_is_no_figure() -> None:
    assert math.isnan(percentile([], 50))
    assert Row(name="a", unit="s", samples=[]).as_json()["p50"] is None


def test_a_ratio_is_of_the_medians_and_only_where_there_is_something_to_compare() -> None:
    row = Row(name="a", unit="ms", samples=[10, 20, 30], baseline=8)
    assert row.ratio == 2.5
    assert row.as_json()["ratio"] == 2.5
    assert "ratio" not in Row(name="a", unit="ms", samples=[1]).as_json()


def test_a_table_has_a_line_a_row_and_its_notes() -> None:
    report = Report("a bench")
    report.add("many", "ms", 1, 2, 3, baseline=1)
    report.add("one", "MiB", 42)
    report.notes.append("a note")
    title, head, many, one, note = report.text().splitlines()
    assert title == "a bench"
    assert head.split() == ["n", "p50", "p99", "max", "ratio"]
    assert many.split() == ["many", "3", "2.00", "3.00", "3.00", "ms", "2.00×"]
    assert one.split() == ["one", "1", "42.00", "MiB"]
    assert note.strip() == "a note"
    assert json.loads(json.dumps(report.as_json()))["rows"][1] == {
        "name": "one", "unit": "MiB", "n": 1, "p50": 42, "p99": 42, "max": 42,
    }  # fmt: skip


def test_a_webhook_has_one_alert_a_rollout_each_with_its_own_fingerprint() -> None:
    alerts = firing(["a", "b"])
    assert [alert["labels"]["rollout"] for alert in alerts] == [f"{NAMESPACE}/a", f"{NAMESPACE}/b"]
    assert len({alert["fingerprint"] for alert in alerts}) == 2


def test_a_measurement_is_late_by_what_lies_between_its_due_time_and_its_query() -> None:
    """Times in objects are whole seconds; the last measurement of a run has no follower to look at."""
    ended = ["1970-01-01T00:01:40Z", "1970-01-01T00:01:45Z"]
    assert _lags({"run": ended}, {"run": [100.2, 105.3, 110.25]}) == pytest.approx([0.3, 0.25])
    assert _lags({"run": ended[:1]}, {"run": [100.2, 107.9]}) == pytest.approx([2.9])
    assert _lags({"run": ended[:1]}, {"run": [100.2]}) == []
