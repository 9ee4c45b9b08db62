"""The judge as a provider: what it reads of Prometheus' samples, and what it says about them."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from agent.analysis.providers.port import Asked
from agent.analysis.providers.sequential import Sequential
from agent.analysis.sequential.ladder import ladder
from agent.analysis.sequential.state import State, decode
from agent.api.analysis import Measurement
from agent.api.names import JUDGE_STATE
from agent.api.times import parse_time
from tests.analysis.sequential.given import metric
from tests.analysis.sequential.tsdb import Traffic, Tsdb

Each = Callable[[float], None]
NOW = datetime(2026, 5, 1, 10, tzinfo=UTC)
START = NOW.timestamp()


class Bench:
    """Traffic that is scraped, and a judge that looks when it said it would."""

    def __init__(self, traffic: Traffic, *, scrape: float = 15.0, **own: Any) -> None:
        self.traffic, self.tsdb = traffic, Tsdb()
        self.scrape = scrape
        self.metric = metric(metric_interval="15s", **own)
        self.judge = Sequential(self.tsdb)
        self.state = ""
        self.now = NOW
        self.scraped = START - 120
        self.labels: dict[str, str] = {}
        self.background = False
        self.each: Each = lambda _at: None

    async def look(self, *, after: float = 0.0, missing: Any = "error") -> Measurement:
        """Let time go on, then look."""
        self.now += timedelta(seconds=after)
        while self.scraped + self.scrape <= self.now.timestamp():
            self.scraped += self.scrape
            self.traffic.serve(self.scrape)
            self.each(self.scraped)
            self.traffic.scrape(self.tsdb, self.scraped + 3.2, **self.labels)
        made = await self.judge.measure(
            Asked(
                metric=self.metric,
                now=self.now,
                state=self.state,
                missing=missing,
                background=self.background,
            )
        )
        self.state = (made.metadata or {}).get(JUDGE_STATE, self.state)
        return made

    async def until_decided(self, looks: int = 400) -> Measurement:
        made = await self.look()
        for _ in range(looks):
            if made.phase != "Running":
                return made
            assert made.resume_at is not None
            self.now = parse_time(made.resume_at)
            made = await self.look()
        return made


def bad_canary(**own: Any) -> Bench:
    return Bench(Traffic(1, rate=20, canary=0.2, stable=0.005), **own)


def good_canary(**own: Any) -> Bench:
    return Bench(Traffic(1, rate=200, canary=0.005, stable=0.005, share=0.3), **own)


async def test_a_bad_canary_is_seen_after_tens_of_requests_and_it_is_said_in_words() -> None:
    bench = bad_canary()
    made = await bench.until_decided()
    assert made.phase == "Failed"
    numbers = made.metadata or {}
    assert float(numbers["canaryRequests"]) <= 100
    assert float(numbers["ratioAtLeast"]) >= 1.5
    assert float(numbers["evidence"]) >= 100
    assert re.fullmatch(
        r"canary fails [\d.]+× as often as stable, at least [\d.]+× with 99 % certainty, after \d+ requests",
        made.message,
    )
    assert made.value.startswith('{"ratio":')


async def test_a_good_canary_goes_on_early() -> None:
    bench = good_canary(safeToAdvance={"ratio": 3, "beta": 0.05, "minRequests": 1000})
    made = await bench.until_decided()
    assert made.phase == "Successful"
    assert float((made.metadata or {})["canaryRequests"]) >= 1000
    assert "that it fails 3× as often is refuted with 95 % certainty" in made.message
    assert (bench.now - NOW).total_seconds() < 300


async def test_beside_the_steps_it_goes_on_watching() -> None:
    bench = good_canary(safeToAdvance={})
    bench.background = True
    made = await bench.until_decided(looks=40)
    assert made.phase == "Running"
    bench.traffic.bad["canary"] = 0.2
    assert (await bench.until_decided()).phase == "Failed"


@pytest.mark.parametrize(
    ("at_end", "phase"), [("inconclusive", "Inconclusive"), ("successful", "Successful")]
)
async def test_when_the_looks_are_used_up_the_settings_decide(at_end: str, phase: str) -> None:
    bench = good_canary(metric_count=5, atEnd=at_end)
    made = await bench.until_decided()
    assert (made.phase, "no evidence in 5 looks" in made.message) == (phase, True)
    assert (bench.now - NOW).total_seconds() < 90


def known(made: Measurement) -> State:
    """What is remembered, but for how often somebody looked."""
    rungs = ladder(1.5, None).points
    state = decode((made.metadata or {})[JUDGE_STATE], comparisons=1, points=len(rungs))
    return msgspec.structs.replace(state, looks=0, first=0.0)


async def test_when_it_looks_does_not_change_what_is_decided_and_when() -> None:
    """Late, early and doubled looks come to the same strata, and stop at the same one."""
    straight = bad_canary()
    wanted = await straight.until_decided()
    for rhythm in ([1.0], [7.0, 7.0, 0.0, 50.0], [0.0, 0.0, 400.0]):
        bench = bad_canary()
        made = await bench.look()
        for after in rhythm * 100:
            if made.phase != "Running":
                break
            made = await bench.look(after=after)
        assert (made.phase, made.message) == (wanted.phase, wanted.message)
        assert known(made) == known(wanted)


async def test_samples_that_come_twice_or_in_another_order_count_once() -> None:
    bench = bad_canary()
    wanted = await bench.until_decided()
    other = bad_canary()

    def shuffle(_at: float) -> None:
        for samples in other.tsdb.series.values():
            samples[:] = sorted([*samples, *samples[-3:]], key=lambda pair: -pair[0])

    other.each = shuffle
    assert (await other.until_decided()).message == wanted.message


async def test_a_counter_that_begins_anew_is_no_hole() -> None:
    bench = bad_canary()
    wanted = await bench.until_decided()
    other = bad_canary()
    restarts = iter([False] * 12 + [True] + [False] * 400)

    def restart(_at: float) -> None:
        if next(restarts):
            # The gateway counted up to here, was scraped, and starts again.
            other.traffic.scrape(other.tsdb, other.scraped + 3.1)
            other.traffic.counted.clear()

    other.each = restart
    made = await other.until_decided()
    assert (made.phase, made.message) == (wanted.phase, wanted.message)


async def test_failures_that_a_series_begins_with_count() -> None:
    """The canary's first failure makes a series that is born with it: no rate would see it."""
    bench = Bench(Traffic(3, rate=20, canary=0.0, stable=0.005))
    assert (await bench.look(after=60)).phase == "Running"
    bench.tsdb.asked.clear()
    bench.traffic.bad["canary"] = 1.0
    made = await bench.until_decided(looks=3)
    assert made.phase == "Failed"
    assert any("last_over_time" in form["query"] for form in bench.tsdb.asked)


async def test_what_a_new_target_counted_before_it_was_scraped_is_not_evidence() -> None:
    """A gateway that was just discovered has months in its counters."""
    bench = good_canary()
    await bench.look()

    def discover(at: float) -> None:
        labels = {"instance": "old", "job": "istio", "__name__": "istio_requests_total"}
        for version, code, value in (("canary", "503", 5e4), ("stable", "200", 9e6)):
            bench.tsdb.sample(
                at + 1,
                value,
                destination_service_name=f"web-{version}",
                response_code=code,
                **labels,
            )

    bench.each = discover
    made = await bench.look(after=60)
    assert made.phase == "Running"
    assert float((made.metadata or {})["canaryBad"]) < 100


async def test_a_target_that_was_away_counts_from_where_it_was() -> None:
    bench = good_canary()
    await bench.look(after=60)
    first = await bench.look(after=15)
    bench.scraped += 600
    bench.traffic.serve(15)
    bench.now += timedelta(seconds=600)
    made = await bench.look(after=30)
    grown = float((made.metadata or {})["canaryRequests"]) - float(
        (first.metadata or {})["canaryRequests"]
    )
    assert made.phase == "Running"
    assert 0 < grown < 5000


@pytest.mark.parametrize(
    ("policy", "phase"),
    [("error", "Error"), ("inconclusive", "Inconclusive"), ("ignore", "Running")],
)
async def test_an_arm_that_vanishes_is_never_success(policy: str, phase: str) -> None:
    bench = good_canary(safeToAdvance={"minRequests": 4000})
    await bench.look()
    await bench.look(after=15)
    bench.scraped += 3600
    made = await bench.look(after=200, missing=policy)
    assert made.phase == phase
    assert "no data of canary" in made.message
    assert (made.metadata or {})["missingData"] in ("stale sample", "no data")


async def test_what_was_never_there_is_waited_for_by_name_and_then_missed() -> None:
    bench = good_canary(grace="2m", safeToAdvance={})
    bench.traffic.rate = 0
    made = await bench.look()
    assert made.phase == "Running"
    assert made.message == (
        "waits for requests of canary: nothing matches"
        ' istio_requests_total{destination_service_name="web-canary"} yet'
    )
    made = await bench.look(after=130)
    assert made.phase == "Error"
    assert "nothing matched" in made.message
    assert "within 2m" in made.message


async def test_no_traffic_is_no_success_at_the_end_either() -> None:
    bench = good_canary(metric_count=4, atEnd="successful")
    bench.traffic.serve(15)
    bench.traffic.rate = 0
    made = await bench.until_decided()
    assert made.phase == "Inconclusive"
    assert "waits for requests of canary" in made.message


async def test_a_prometheus_that_is_away_is_an_error_and_costs_no_evidence() -> None:
    bench = bad_canary(r0=10)
    await bench.look()
    seen = await bench.look(after=15)
    bench.tsdb.away = True
    made = await bench.look(after=15)
    assert (made.phase, made.metadata) == ("Error", None)
    bench.tsdb.away = False
    after = await bench.look(after=15)
    assert float((after.metadata or {})["canaryRequests"]) > float(
        (seen.metadata or {})["canaryRequests"]
    )


async def test_an_answer_with_warnings_is_not_counted_and_not_lost() -> None:
    bench = good_canary()
    await bench.look()
    before = await bench.look(after=15)
    bench.tsdb.warnings = ["partial response"]
    doubted = await bench.look(after=30)
    assert (doubted.phase, "partial response" in doubted.message) == ("Error", True)
    bench.tsdb.warnings = []
    after = await bench.look(after=0)
    grown = [float((made.metadata or {})["canaryRequests"]) for made in (before, after)]
    assert grown[1] - grown[0] == pytest.approx(200 * 0.3 * 30)


async def test_the_guard_sees_what_both_arms_suffer() -> None:
    bench = Bench(Traffic(5, rate=50, canary=0.3, stable=0.3), guard={"rate": 0.05})
    made = await bench.until_decided()
    assert made.phase == "Failed"
    assert "more than 5 % with 99 % certainty" in made.message
    alone = Bench(Traffic(5, rate=50, canary=0.3, stable=0.3))
    assert (await alone.until_decided(looks=60)).phase == "Running"


async def test_a_state_of_other_settings_begins_anew_and_says_so() -> None:
    bench = bad_canary()
    bench.state = '{"v":1,"f":0,"c":[[1,2,3]]}'
    made = await bench.look()
    assert made.phase == "Running"
    assert "other settings" in (made.metadata or {})["note"]


async def test_bursts_of_stable_s_last_hour_weaken_what_follows() -> None:
    def bursts(bench: Bench) -> None:
        bench.scraped = START - 3700
        rng = bench.traffic.rng

        def burst(_at: float) -> None:
            if rng.random() < 0.3:
                key = ("stable", "503")
                bench.traffic.counted[key] = bench.traffic.counted.get(key, 0) + 12

        bench.each = burst

    plain, careful = bad_canary(), bad_canary(dispersion="auto")
    bursts(plain)
    bursts(careful)
    first, second = await plain.until_decided(), await careful.until_decided()
    assert 4 < float((second.metadata or {})["dispersion"]) < 30
    assert float((second.metadata or {})["canaryRequests"]) > float(
        (first.metadata or {})["canaryRequests"]
    )


async def test_slow_requests_are_counted_from_buckets_edge_by_edge() -> None:
    bench = Bench(
        Traffic(2, rate=0, canary=0, stable=0),
        canary={"buckets": 'latency_bucket{service="web-canary"}'},
        stable={"buckets": 'latency_bucket{service="web-stable"}'},
        slowerThan=[250, 500],
        r0=1.2,
    )
    counts = {"canary": [0.0, 0.0, 0.0], "stable": [0.0, 0.0, 0.0]}

    def serve(at: float) -> None:
        for version, (fast, slow, number) in {
            "canary": (60, 75, 100), "stable": (890, 895, 900)
        }.items():  # fmt: skip
            for le, index, new in (("250", 0, fast), ("500.0", 1, slow), ("+Inf", 2, number)):
                counts[version][index] += new
                bench.tsdb.sample(
                    at + 3, counts[version][index],
                    __name__="latency_bucket", service=f"web-{version}", le=le, instance="a",
                )  # fmt: skip

    bench.each = serve
    made = await bench.until_decided()
    assert made.phase == "Failed"
    assert made.message.startswith("canary is slower than 250 36.0× as often as stable")


async def test_an_edge_without_a_bucket_is_refused_by_name() -> None:
    bench = Bench(
        Traffic(2, rate=0, canary=0, stable=0),
        canary={"buckets": 'latency_bucket{service="web-canary"}'},
        stable={"buckets": 'latency_bucket{service="web-stable"}'},
        slowerThan=[250],
    )
    bench.each = lambda at: bench.tsdb.sample(
        at, 1.0, __name__="latency_bucket", service="web-canary", le="+Inf", instance="a"
    )
    made = await bench.look(after=15)
    assert made.phase == "Error"
    assert made.message == "canary.buckets: the histogram has no bucket with le=250"
