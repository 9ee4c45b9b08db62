"""The analysis driver over the local store, with providers that answer by script."""

from typing import Any

import pytest

from agent.api.meta import Key, Object
from agent.api.names import COMPAT, MISSING_DATA
from agent.cluster.local.store import LocalCluster
from agent.cluster.port import KINDS, Kind
from agent.engine.measure import DONE
from tests.engine.analysis_bench import EPOCH, Bench, Scripted, metric, on_a_bench


def test_a_run_measures_as_often_as_it_should_and_no_faster() -> None:
    provider = Scripted("Successful")

    async def test(bench: Bench) -> None:
        async with bench.driving():
            await bench.start("a", metric(count=3, interval="10s"))
            assert await bench.ended("a") == ["Successful"]
        times = [(asked.now - EPOCH).total_seconds() for asked in provider.asked]
        assert [round(time) for time in times] == [0, 10, 20]
        (result,) = bench.status("a")["metricResults"]
        assert (result["successful"], len(result["measurements"])) == (3, 3)

    on_a_bench(provider, test)


def test_runs_that_start_together_do_not_measure_together_for_ever() -> None:
    provider, many = Scripted("Successful"), 100

    def moments(number: int) -> list[float]:
        """When the measurements of this number were made, in seconds."""
        found = [one for one in provider.asked if one.number == number]
        assert len(found) == many
        return [(one.now - EPOCH).total_seconds() for one in found]

    async def test(bench: Bench) -> None:
        async with bench.driving():
            for number in range(many):
                await bench.start(f"run-{number}", metric(interval="10s"))
            await bench.clock.sleep(25)
        assert max(moments(1)) < 0.1
        for number, due in ((2, 10), (3, 20)):
            assert due < min(moments(number)) < due + 0.1
            assert due + 0.4 < max(moments(number)) < due + 0.6
        # Ten seconds pass without anybody who measures: all are due at once.
        await bench.clock.sleep(15)
        async with bench.driving():
            await bench.clock.sleep(5)
        assert 40 < min(moments(4)) < 40.1
        assert 40.4 < max(moments(4)) < 40.6

    on_a_bench(provider, test)


@pytest.mark.parametrize(
    ("phases", "more", "ends"),
    [
        (["Failed"], {}, "Failed"),
        (["Failed", "Successful"], {"count": 2, "interval": "1s", "failureLimit": 1}, "Successful"),
        (["Inconclusive"], {}, "Inconclusive"),
        (["Error"], {}, "Error"),
        (["Error", "Successful"], {}, "Successful"),
        (["bug"], {}, "Error"),
        (["hang"], {}, "Error"),
    ],
    ids=[
        "failed",
        "failed within the limit",
        "inconclusive",
        "away",
        "away for once",
        "a bug",
        "hangs",
    ],
)
def test_a_run_ends_as_its_measurements_say(
    phases: list[str], more: dict[str, Any], ends: str
) -> None:
    async def test(bench: Bench) -> None:
        async with bench.driving():
            await bench.start("a", metric(**more))
            assert await bench.ended("a") == [ends]

    on_a_bench(Scripted(*phases), test)


def test_a_restart_measures_only_what_is_missing() -> None:
    provider = Scripted("Successful")

    async def test(bench: Bench) -> None:
        async with bench.driving():
            await bench.start("a", metric(count=3, interval="10s"))
            await bench.clock.sleep(15)
        assert len(provider.asked) == 2
        async with bench.driving():
            assert await bench.ended("a") == ["Successful"]
        assert len(provider.asked) == 3

    on_a_bench(provider, test)


def test_what_is_wrong_with_one_run_stops_no_other() -> None:
    async def test(bench: Bench) -> None:
        async with bench.driving():
            unresolved = metric(successCondition="{{args.limit}} > 1")
            await bench.start("unresolved", unresolved)
            await bench.start("typed", metric(count={"a": 1}))
            await bench.start("unknown", {**metric(), "provider": {"datadog": {}}})
            await bench.start("good", metric())
            phases = await bench.ended("unresolved", "typed", "unknown", "good")
        assert phases == ["Error", "Error", "Error", "Successful"]
        assert "args.limit" in bench.status("unresolved")["message"]
        assert "count" in bench.status("typed")["message"]

    on_a_bench(Scripted("Successful"), test)


def _events(bench: Bench, name: str) -> list[tuple[str, str]]:
    """Reason and type of the core Events about a run, in order."""
    found = [
        event
        for event in bench.store.peek_all("Event")
        if (about := event["involvedObject"])["name"] == name and about["kind"] == "AnalysisRun"
    ]
    found.sort(key=lambda event: int(event["metadata"]["resourceVersion"]))
    return [(event["reason"], event["type"]) for event in found]


def test_core_events_on_a_run_tell_what_has_ended() -> None:
    async def test(bench: Bench) -> None:
        async with bench.driving():
            other = {**metric(), "name": "other"}
            await bench.start("a", metric(count=2, interval="10s"), other)
            await bench.start("unresolved", metric(successCondition="{{args.limit}} > 1"))
            await bench.until(lambda: bench.status("a").get("phase") in DONE)
            await bench.until(lambda: len(_events(bench, "a")) == 3)
            await bench.clock.sleep(30)
        assert _events(bench, "a") == [
            ("MetricSuccessful", "Normal"),
            ("MetricSuccessful", "Normal"),
            ("AnalysisRunSuccessful", "Normal"),
        ]
        assert _events(bench, "unresolved") == [("AnalysisRunError", "Warning")]

    on_a_bench(Scripted("Successful"), test)


class SlowEvents(LocalCluster):
    """Takes half a second for a core Event."""

    async def create(self, kind: Kind, obj: Object) -> Object:
        if kind.kind == "Event":
            await self._clock.sleep(0.5)
        return await super().create(kind, obj)


def test_a_driver_that_stops_writes_its_events_first() -> None:
    async def test(bench: Bench) -> None:
        bench.store = SlowEvents(bench.clock)
        async with bench.driving() as driver:
            await bench.start("a", metric(failureLimit=0))
            await bench.until(lambda: bench.status("a").get("phase") in DONE)
            await driver.stop(5)
            await bench.clock.sleep(3)
            assert _events(bench, "a")[0] == ("MetricSuccessful", "Normal")

    on_a_bench(Scripted("Successful"), test)


def test_a_run_that_is_terminated_ends() -> None:
    async def test(bench: Bench) -> None:
        async with bench.driving():
            await bench.start("a", metric(interval="10s"))
            await bench.clock.sleep(5)
            patch = {"spec": {"terminate": True}}
            await bench.store.merge_patch(KINDS["AnalysisRun"], "shop", "a", patch)
            assert await bench.ended("a", within=2) == ["Successful"]

    on_a_bench(Scripted("Successful"), test)


async def start_owned(bench: Bench, own: Object, owners: Object, *metrics: Object) -> None:
    """A run `a` with these annotations, of a Rollout with those."""
    meta = {"name": "web", "namespace": "shop", "annotations": owners}
    rollout = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": meta}
    created = await bench.store.create(KINDS["Rollout"], {**rollout, "spec": {}})
    owner = {
        "apiVersion": rollout["apiVersion"],
        "kind": "Rollout",
        "name": "web",
        "uid": created["metadata"]["uid"],
        "controller": True,
    }
    await bench.start("a", *metrics, ownerReferences=[owner], annotations=own)


@pytest.mark.parametrize(
    ("own", "owners", "compat"), [("", "", "safe"), ("", "argo", "argo"), ("safe", "argo", "safe")]
)
def test_how_strict_verdicts_are_is_said_by_the_nearest_object(
    own: str, owners: str, compat: str
) -> None:
    provider = Scripted("Successful")

    async def test(bench: Bench) -> None:
        said, owners_say = ({COMPAT: value} if value else {} for value in (own, owners))
        async with bench.driving():
            await start_owned(bench, said, owners_say, metric())
            await bench.ended("a")
        assert [asked.compat for asked in provider.asked] == [compat]

    on_a_bench(provider, test)


@pytest.mark.parametrize(
    ("own", "owners", "policy"),
    [
        ("", "", "inconclusive"),
        ("", "ignore", "ignore"),
        ("error", "ignore", "error"),
        ("m=ignore,error", "", "ignore"),
        ("other=ignore", "", "inconclusive"),
    ],
)
def test_what_missing_data_come_to_is_said_by_the_nearest_object(
    own: str, owners: str, policy: str
) -> None:
    provider = Scripted("Successful")

    async def test(bench: Bench) -> None:
        said, owners_say = ({MISSING_DATA: value} if value else {} for value in (own, owners))
        async with bench.driving(missing="inconclusive"):
            await start_owned(bench, said, owners_say, metric())
            await bench.ended("a")
        assert [asked.missing for asked in provider.asked] == [policy]

    on_a_bench(provider, test)


def test_an_unreadable_policy_ends_the_run_with_the_annotations_name() -> None:
    provider = Scripted("Successful")

    async def test(bench: Bench) -> None:
        async with bench.driving():
            await bench.start("a", metric(), annotations={MISSING_DATA: "ignroe"})
            assert await bench.ended("a") == ["Error"]
        assert "annotation serinus.dev/missing-data: 'ignroe'" in bench.status("a")["message"]
        assert not provider.asked

    on_a_bench(provider, test)


def test_a_measurement_that_does_not_count_is_kept_and_made_again() -> None:
    """Eight times nothing are neither eight failures nor eight successes; then two answers count."""
    provider = Scripted(*("nothing",) * 8, "Successful")

    async def test(bench: Bench) -> None:
        async with bench.driving():
            await bench.start("a", metric(count=2, interval="10s"))
            assert await bench.ended("a") == ["Successful"]
        (result,) = bench.status("a")["metricResults"]
        assert (result["count"], result["successful"]) == (2, 2)
        assert not result.get("inconclusive")
        assert [m["phase"] for m in result["measurements"]] == ["Inconclusive"] * 8 + [
            "Successful"
        ] * 2

    on_a_bench(provider, test)


SECRET: Object = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "keys", "namespace": "shop"},
    "data": {"key": "czNjcmV0"},
}
WITH_SECRET: Object = {
    "apiVersion": "argoproj.io/v1alpha1",
    "kind": "AnalysisRun",
    "metadata": {"name": "a", "namespace": "shop"},
    "spec": {
        "args": [{"name": "k", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "key"}}}],
        "metrics": [{"name": "m", "provider": {"web": {"url": "http://x/{{args.k}}"}}}],
    },
}


def test_a_secret_is_waited_for_and_reaches_the_provider_but_no_status() -> None:
    provider = Scripted("Successful")

    async def test(bench: Bench) -> None:
        async with bench.driving():
            await bench.store.create(KINDS["AnalysisRun"], WITH_SECRET)
            await bench.clock.sleep(30)
            assert bench.status("a").get("phase") not in DONE
            await bench.store.create(KINDS["Secret"], SECRET)
            assert await bench.ended("a") == ["Successful"]
        (asked,) = provider.asked
        assert (asked.metric.provider or {})["web"]["url"] == "http://x/s3cret"
        assert asked.secrets == ("s3cret",)
        assert "s3cret" not in str(bench.status("a"))

    on_a_bench(provider, test)


def test_runs_of_rollouts_that_another_replica_drives_are_left_to_it_until_they_are_ours() -> None:
    provider = Scripted("Successful")
    ours = {Key("shop", "web"), Key("shop", "alone")}

    async def test(bench: Bench) -> None:
        async def of(rollout: str) -> Object:
            """Its owner exists, or the garbage collector takes the run."""
            meta = {"name": rollout, "namespace": "shop"}
            made = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": meta}
            stored = await bench.store.create(KINDS["Rollout"], {**made, "spec": {}})
            reference = {"name": rollout, "uid": stored["metadata"]["uid"]}
            return {
                "ownerReferences": [
                    {"apiVersion": made["apiVersion"], "kind": "Rollout", **reference}
                ]
            }

        async with bench.driving(owns=lambda rollout: rollout in ours) as driver:
            await bench.start("web-1", metric(), **await of("web"))
            await bench.start("theirs-1", metric(), **await of("theirs"))
            await bench.start("alone", metric())
            assert await bench.ended("web-1", "alone") == ["Successful", "Successful"]
            await bench.clock.sleep(60)
            assert bench.status("theirs-1") == {}
            ours.add(Key("shop", "theirs"))
            driver.wake_all()
            assert await bench.ended("theirs-1") == ["Successful"]

    on_a_bench(provider, test)
