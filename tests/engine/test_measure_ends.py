"""How AnalysisRuns end: what is in flight, the time to live, deletion; and what they never show."""

from typing import Any

import pytest
from structlog.testing import capture_logs

from agent.analysis.providers.port import Asked
from agent.api.analysis import Measurement, Metric
from agent.api.meta import Object, ObjectMeta
from agent.api.names import COMPAT, QUERY
from agent.api.times import format_time
from agent.cluster.port import KINDS
from agent.engine.measure import DONE
from agent.errors import Unavailable
from tests.engine.analysis_bench import EPOCH, Bench, Scripted, metric, on_a_bench

RUN = KINDS["AnalysisRun"]


class Slow:
    """A provider whose measurements stay in flight until they are ended."""

    name = "web"

    def __init__(self, resume_seconds: int = 3600) -> None:
        self.asked: list[Asked] = []
        self.resume = format_time(EPOCH.replace(hour=EPOCH.hour + resume_seconds // 3600))

    def check(self, metric: Metric) -> None:
        """Everything can be measured."""

    async def measure(self, asked: Asked) -> Measurement:
        self.asked.append(asked)
        return Measurement(
            phase="Running", value="half", resume_at=self.resume, metadata={"place": "here"}
        )


class Leaving(Slow):
    """One whose measurements leave something behind: a Lasting one."""

    def __init__(self, *, away: int = 0) -> None:
        super().__init__()
        self.left: list[str] = []
        self.away = away

    async def measure(self, asked: Asked) -> Measurement:
        self.left.append(f"{asked.metric.name} {asked.number}")
        if asked.metric.interval:
            return Measurement(phase="Successful", metadata={"place": self.left[-1]})
        return await super().measure(asked)

    async def end(self, asked: Asked) -> Measurement:
        if self.away:
            self.away -= 1
            raise Unavailable("the API server does not answer")
        assert asked.earlier is not None
        self.left = []
        return Measurement(phase="Inconclusive", metadata=asked.earlier.metadata)

    async def forget(self, run: ObjectMeta, made: Measurement) -> None:
        self.left.remove((made.metadata or {})["place"])


async def terminate(bench: Bench, name: str) -> None:
    await bench.store.merge_patch(RUN, "shop", name, {"spec": {"terminate": True}})


def last(bench: Bench, name: str) -> Object:
    (result,) = bench.status(name)["metricResults"]
    found: Object = result["measurements"][-1]
    return found


def test_what_is_in_flight_when_the_run_is_terminated_ends_as_a_success() -> None:
    provider = Slow()

    async def test(bench: Bench) -> None:
        async with bench.driving():
            await bench.start("a", metric())
            await bench.until(lambda: provider.asked)
            await terminate(bench, "a")
            assert await bench.ended("a") == ["Successful"]
        made = last(bench, "a")
        assert (made["phase"], made["message"]) == ("Successful", "Metric Terminated")
        assert (made["value"], made["metadata"]) == ("half", {"place": "here"})
        assert "finishedAt" in made
        assert "resumeAt" not in made
        assert bench.status("a")["message"] == "Run Terminated"
        assert bench.status("a")["runSummary"] == {"count": 1, "successful": 1}

    on_a_bench(provider, test)


def test_what_leaves_something_behind_says_itself_how_it_ends() -> None:
    provider = Leaving(away=2)

    async def test(bench: Bench) -> None:
        async with bench.driving():
            await bench.start("a", metric())
            await bench.until(lambda: provider.left)
            await terminate(bench, "a")
            assert await bench.ended("a") == ["Inconclusive"]
        assert last(bench, "a")["message"] == "Metric Terminated"
        assert (provider.left, provider.away) == ([], 0)
        assert "inconclusive (1) > inconclusiveLimit (0)" in bench.status("a")["message"]

    on_a_bench(provider, test)


def test_a_metric_that_fails_ends_its_siblings_in_flight_and_the_verdict_is_its_own() -> None:
    slow = Leaving()
    failing = Scripted("Failed")
    failing.name = "prometheus"

    async def test(bench: Bench) -> None:
        bench.providers["prometheus"] = failing
        async with bench.driving():
            bad = {"name": "bad", "initialDelay": "5s", "provider": {"prometheus": {"query": "up"}}}
            await bench.start("a", metric(), bad)
            assert await bench.ended("a") == ["Failed"]
        phases = {result["name"]: result["phase"] for result in bench.status("a")["metricResults"]}
        assert phases == {"m": "Inconclusive", "bad": "Failed"}
        assert bench.status("a")["message"].startswith('Metric "bad" assessed Failed')
        assert slow.left == []

    on_a_bench(slow, test)


def test_a_dry_run_that_fails_ends_nothing() -> None:
    failing = Scripted("Failed")

    async def test(bench: Bench) -> None:
        async with bench.driving():
            obj = {
                "apiVersion": "argoproj.io/v1alpha1",
                "kind": "AnalysisRun",
                "metadata": {"name": "a", "namespace": "shop"},
                "spec": {"metrics": [metric()], "dryRun": [{"metricName": ".*"}]},
            }
            await bench.store.create(RUN, obj)
            assert await bench.ended("a") == ["Successful"]
        status = bench.status("a")
        assert status["dryRunSummary"] == {"count": 1, "failed": 1}
        assert status["metricResults"][0]["message"].startswith("Metric assessed Failed due to")

    on_a_bench(failing, test)


def test_what_measurements_left_goes_with_them() -> None:
    provider = Leaving()

    async def test(bench: Bench) -> None:
        async with bench.driving():
            obj = {
                "apiVersion": "argoproj.io/v1alpha1",
                "kind": "AnalysisRun",
                "metadata": {"name": "a", "namespace": "shop"},
                "spec": {
                    "metrics": [metric(count=7, interval="1s")],
                    "measurementRetention": [{"metricName": "m", "limit": 3}],
                },
            }
            await bench.store.create(RUN, obj)
            assert await bench.ended("a") == ["Successful"]
        assert provider.left == ["m 5", "m 6", "m 7"]
        (result,) = bench.status("a")["metricResults"]
        assert [m["metadata"]["place"] for m in result["measurements"]] == provider.left
        assert result["count"] == 7

    on_a_bench(provider, test)


@pytest.mark.parametrize(
    ("phase", "ttl", "goes_after"),
    [
        ("Successful", {"secondsAfterCompletion": 30}, 30),
        ("Successful", {"secondsAfterCompletion": 30, "secondsAfterSuccess": 60}, 60),
        ("Successful", {"secondsAfterSuccess": 0, "secondsAfterFailure": 90}, 0),
        ("Successful", {"secondsAfterFailure": 30}, None),
        ("Failed", {"secondsAfterCompletion": 90, "secondsAfterFailure": 30}, 30),
        ("Inconclusive", {"secondsAfterFailure": 30, "secondsAfterCompletion": 60}, 60),
        ("Inconclusive", {"secondsAfterFailure": 30}, None),
        ("Successful", {}, None),
    ],
)
def test_a_run_goes_when_its_time_to_live_is_over(
    phase: str, ttl: dict[str, int], goes_after: int | None
) -> None:
    async def test(bench: Bench) -> None:
        obj = {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "AnalysisRun",
            "metadata": {"name": "a", "namespace": "shop"},
            "spec": {"metrics": [metric()], "ttlStrategy": ttl},
        }
        async with bench.driving():
            await bench.store.create(RUN, obj)
            await bench.until(lambda: not bench.run("a") or bench.status("a").get("phase") in DONE)
            if goes_after is None:
                await bench.clock.sleep(3600)
                assert bench.run("a") is not None
                return
            if goes_after:
                await bench.clock.sleep(goes_after - 2)
                assert bench.run("a") is not None
            await bench.until(lambda: bench.run("a") is None, within=3)

    on_a_bench(Scripted(phase), test)


def test_a_restart_finds_the_runs_whose_time_is_over() -> None:
    async def test(bench: Bench) -> None:
        obj = {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "AnalysisRun",
            "metadata": {"name": "a", "namespace": "shop"},
            "spec": {"metrics": [metric()], "ttlStrategy": {"secondsAfterCompletion": 30}},
        }
        async with bench.driving():
            await bench.store.create(RUN, obj)
            assert await bench.ended("a") == ["Successful"]
        await bench.clock.sleep(60)
        async with bench.driving():
            await bench.until(lambda: bench.run("a") is None, within=2)

    on_a_bench(Scripted("Successful"), test)


def test_a_run_that_is_being_deleted_is_not_measured() -> None:
    provider = Scripted("Successful")

    async def test(bench: Bench) -> None:
        await bench.start("a", metric(), finalizers=["a/b"])
        await bench.store.delete(RUN, "shop", "a")
        async with bench.driving():
            await bench.clock.sleep(60)
        assert (provider.asked, bench.status("a")) == ([], {})

    on_a_bench(provider, test)


def with_secret(url: str = "http://x/{{args.k}}", **more: Any) -> Object:
    source = {"secretKeyRef": {"name": "keys", "key": "key"}}
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "AnalysisRun",
        "metadata": {"name": "a", "namespace": "shop", "annotations": more.pop("annotations", {})},
        "spec": {
            "args": [{"name": "k", "valueFrom": source}],
            "metrics": [{"name": "m", "provider": {"web": {"url": url}}, **more}],
        },
    }


def secret(**data: str) -> Object:
    meta = {"name": "keys", "namespace": "shop"}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": data}


class Chatty(Scripted):
    """One that puts what it was asked into everything it may say."""

    async def measure(self, asked: Asked) -> Measurement:
        self.asked.append(asked)
        text = str((asked.metric.provider or {})["web"]["url"])
        return Measurement(
            phase="Error", message=text, value=text * 300, metadata={QUERY: text, "more": text}
        )


def test_a_secret_is_in_no_status_and_in_no_log() -> None:
    provider = Chatty()

    async def test(bench: Bench) -> None:
        await bench.store.create(KINDS["Secret"], secret(key="czNjcmV0"))
        with capture_logs() as logs:
            async with bench.driving():
                await bench.store.create(RUN, with_secret(consecutiveErrorLimit=1))
                assert await bench.ended("a") == ["Error"]
        assert "s3cret" in str(provider.asked[0].metric)
        assert "s3cret" not in str(bench.run("a"))
        assert "s3cre" not in str(logs)
        assert "http://x/*****" in str(logs)
        assert bench.status("a")["metricResults"][0]["metadata"] == {QUERY: "http://x/*****"}

    on_a_bench(provider, test)


def test_what_is_waited_for_is_said_and_writes_nothing_while_it_stays_so() -> None:
    async def test(bench: Bench) -> None:
        async with bench.driving():
            await bench.store.create(RUN, with_secret())
            await bench.until(lambda: bench.status("a").get("message"))
            before = bench.run("a")
            assert "waits until Secret 'keys' exists, for argument 'k'" in str(before)
            assert bench.status("a")["phase"] == "Running"
            await bench.clock.sleep(60)
            assert bench.run("a") == before
            await bench.store.create(KINDS["Secret"], secret(key="czNjcmV0"))
            assert await bench.ended("a", within=6) == ["Successful"]
        assert not bench.status("a").get("message")

    on_a_bench(Scripted("Successful"), test)


@pytest.mark.parametrize(
    ("annotations", "stored", "says"),
    [
        ({COMPAT: "argo"}, None, 'arguments: secrets "keys" not found'),
        ({}, secret(other="eA=="), "key 'key' does not exist in secret 'keys'"),
        ({}, secret(key="eA"), "key 'key' of secret 'keys' is not base64"),
    ],
)
def test_a_secret_that_will_not_come_ends_the_run(
    annotations: dict[str, str], stored: Object | None, says: str
) -> None:
    async def test(bench: Bench) -> None:
        if stored is not None:
            await bench.store.create(KINDS["Secret"], stored)
        async with bench.driving():
            await bench.store.create(RUN, with_secret(annotations=annotations))
            assert await bench.ended("a") == ["Error"]
        assert says in bench.status("a")["message"]

    on_a_bench(Scripted("Successful"), test)


def test_a_secret_where_no_secret_belongs_is_not_shown_by_the_refusal() -> None:
    async def test(bench: Bench) -> None:
        await bench.store.create(KINDS["Secret"], secret(key="czNjcmV0"))
        async with bench.driving():
            await bench.store.create(RUN, with_secret(interval="{{args.k}}"))
            assert await bench.ended("a") == ["Error"]
        assert "invalid interval" in bench.status("a")["message"]
        assert "s3cret" not in str(bench.run("a"))

    on_a_bench(Scripted("Successful"), test)


def test_a_provider_with_a_bug_costs_a_measurement_and_not_the_run() -> None:
    provider = Scripted("bug", "bug", "Successful")

    async def test(bench: Bench) -> None:
        async with bench.driving():
            await bench.start("a", metric())
            assert await bench.ended("a") == ["Successful"]
        (result,) = bench.status("a")["metricResults"]
        assert (result["error"], result["successful"]) == (2, 1)
        assert "provider web failed with an internal error" in result["measurements"][0]["message"]

    on_a_bench(provider, test)


def test_many_runs_that_hang_hold_up_no_other() -> None:
    class Mixed(Scripted):
        async def measure(self, asked: Asked) -> Measurement:
            self.phases = ["hang"] if asked.run.name.startswith("hangs") else ["Successful"]
            return await super().measure(asked)

    async def test(bench: Bench) -> None:
        async with bench.driving():
            for number in range(300):
                await bench.start(f"hangs-{number}", metric())
            await bench.start("fine", metric(count=3, interval="2s"))
            assert await bench.ended("fine", within=10) == ["Successful"]

    on_a_bench(Mixed(), test)
