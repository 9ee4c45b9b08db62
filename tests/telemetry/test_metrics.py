"""Metrics: every name once, in Prometheus' manner, and nothing that grows without bound."""

import ast
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from agent.bus.metrics import Backlog
from agent.engine.ownership import SoleOwner
from agent.telemetry.metrics import Metrics
from tests.engine.shop import shop
from tests.simulation.virtual import run

SOURCE = Path(__file__).parent.parent.parent


def exposed(metrics: Metrics) -> dict[str, list[tuple[str, dict[str, str], float]]]:
    """Samples by family."""
    body, content_type = metrics.expose()
    assert content_type.startswith("text/plain")
    return {
        family.name: [(sample.name, sample.labels, sample.value) for sample in family.samples]
        for family in text_string_to_metric_families(body.decode())
    }


def test_every_metric_has_its_own_name_and_its_help() -> None:
    body, _ = Metrics().expose()
    named = re.findall(r"^# TYPE (\S+) ", body.decode(), re.MULTILINE)
    helped = re.findall(r"^# HELP (\S+) (\S.*)$", body.decode(), re.MULTILINE)
    assert [name for name, count in Counter(named).items() if count > 1] == []
    assert [name for name, _ in helped] == named
    assert all(re.fullmatch(r"serinus_[a-z_]+", name) for name in named)


def test_metrics_are_named_in_one_place_only() -> None:
    """Metrics that others make elsewhere would be in no registry of ours, or in two."""
    makers = {"Counter", "Gauge", "Histogram", "Summary", "GaugeMetricFamily"}
    found = set()
    for path in [*SOURCE.glob("agent/**/*.py"), *SOURCE.glob("handlers/**/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.ImportFrom)
                and (node.module or "").startswith("prometheus_")
                and makers & {name.name for name in node.names}
            ):
                found.add(path.relative_to(SOURCE).as_posix())
    assert found == {"agent/telemetry/metrics.py"}


def test_who_drives_is_asked_at_each_scrape() -> None:
    """A lease ends by the clock, and no event says so."""

    class Owner(SoleOwner):
        held = True

        def holds(self) -> bool:
            return self.held

    metrics, owner = Metrics(), Owner()
    metrics.observe_owner(owner)
    assert exposed(metrics)["serinus_owner"] == [("serinus_owner", {}, 1)]
    owner.held = False
    assert exposed(metrics)["serinus_owner"] == [("serinus_owner", {}, 0)]
    metrics.elected("lost")
    assert ("serinus_lease_changes_total", {"change": "lost"}, 1) in exposed(metrics)[
        "serinus_lease_changes"
    ]


def test_two_agents_in_one_process_count_apart() -> None:
    one, other = Metrics(), Metrics()
    one.alerts.labels("aborted").inc()
    assert exposed(one)["serinus_alerts"][0][2] == 1
    assert exposed(other)["serinus_alerts"] == []


@pytest.mark.parametrize(
    ("count", "family", "labels"),
    [
        (lambda m: m.wrote("VirtualService", "patch", "ok", 0.01), "serinus_writes",
         {"kind": "VirtualService", "verb": "patch", "result": "ok"}),
        (lambda m: m.passed("done"), "serinus_passes", {"result": "done"}),
        (lambda m: m.announced("aborted", "ok"), "serinus_announcements",
         {"transition": "aborted", "result": "ok"}),
        (lambda m: m.recorded("ok"), "serinus_kubernetes_events", {"result": "ok"}),
        (lambda m: m.unheeded(), "serinus_aborts_unheeded", {}),
        (lambda m: m.waited(0.2), "serinus_wake_wait_seconds", None),
        (lambda m: m.aborted(0.2), "serinus_abort_seconds", None),
    ],
    ids=["writes", "passes", "announcements", "events", "unheeded aborts", "waits", "aborts"],
)  # fmt: skip
def test_what_the_engine_reports_is_counted(
    count: Callable[[Metrics], None], family: str, labels: dict[str, str] | None
) -> None:
    metrics = Metrics()
    count(metrics)
    samples = exposed(metrics)[family]
    if labels is None:
        assert (f"{family}_count", {}, 1.0) in samples
    else:
        assert (f"{family}_total", labels, 1.0) in samples


def test_a_rollout_is_shown_as_long_as_it_lives() -> None:
    async def main() -> None:
        metrics = Metrics()
        async with shop() as world:
            metrics.observe_rollouts(world.engine)
            where = {"namespace": "shop", "name": "web"}
            assert exposed(metrics)["serinus_rollout_weight"] == [
                ("serinus_rollout_weight", where, 20.0)
            ]
            assert exposed(metrics)["serinus_rollout_exposed"] == [
                ("serinus_rollout_exposed", where, 1.0)
            ]

    run(main())


class Behind:
    """A bus with one partition that is behind."""

    def backlog(self) -> list[Backlog]:
        return [Backlog(topic="serinus.inbox", partition=3, records=7, held=2, oldest_seconds=1.5)]

    def silent_seconds(self) -> dict[str, float]:
        return {"serinus.urgent": 61.0}


def test_how_far_behind_the_bus_is_and_what_went_over_it() -> None:
    metrics = Metrics()
    metrics.observe_bus(Behind())
    metrics.published("serinus.rollouts", "ok", 0.002)
    metrics.consumed("serinus.inbox", "later")
    metrics.unreadable("serinus.inbox", "CorruptRecordException")
    metrics.rebalanced("serinus.inbox")
    metrics.rebuilt("producer", "stuck")
    found = exposed(metrics)
    place = {"topic": "serinus.inbox", "partition": "3"}
    assert found["serinus_bus_held_records"] == [("serinus_bus_held_records", place, 2)]
    assert found["serinus_bus_lag_records"] == [("serinus_bus_lag_records", place, 7)]
    assert found["serinus_bus_oldest_seconds"] == [("serinus_bus_oldest_seconds", place, 1.5)]
    assert found["serinus_bus_silent_seconds"][0][1:] == ({"topic": "serinus.urgent"}, 61)
    counted = {
        name: found[f"serinus_bus_{name}"][0][1:]
        for name in ("published", "consumed", "unreadable", "rebalances", "rebuilt")
    }
    assert counted == {
        "published": ({"topic": "serinus.rollouts", "result": "ok"}, 1),
        "consumed": ({"topic": "serinus.inbox", "result": "later"}, 1),
        "unreadable": ({"topic": "serinus.inbox", "reason": "CorruptRecordException"}, 1),
        "rebalances": ({"topic": "serinus.inbox"}, 1),
        "rebuilt": ({"part": "producer", "reason": "stuck"}, 1),
    }
    assert {s[0]: s[2] for s in found["serinus_bus_publish_seconds"]}[
        "serinus_bus_publish_seconds_count"
    ] == 1
