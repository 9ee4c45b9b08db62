"""The provider job, driven: Jobs are made, watched, ended and cleared away. Their controller is the test."""

import asyncio
from typing import Any

import pytest

from agent.analysis.providers.job import MAX_NAME, Job, job_name, manifest, run_of
from agent.analysis.providers.port import Asked
from agent.api.analysis import Metric
from agent.api.decode import read
from agent.api.meta import Key, Object, ObjectMeta
from agent.cluster.port import KINDS
from agent.errors import Forbidden, Refused, Unavailable
from tests.engine.analysis_bench import EPOCH, Bench, Scripted, on_a_bench

JOB, RUN = KINDS["Job"], KINDS["AnalysisRun"]
SPEC: Object = {
    "backoffLimit": 0,
    "template": {
        "metadata": {"labels": {"own": "label"}},
        "spec": {
            "restartPolicy": "Never",
            "containers": [{"name": "check", "image": "check:1", "args": ["{{args.who}}"]}],
        },
    },
}


def metric(name: str = "m", **more: Any) -> Object:
    meta = {"labels": {"team": "pay"}, "annotations": {"why": "{{args.who}}"}}
    return {"name": name, "provider": {"job": {"metadata": meta, "spec": SPEC}}, **more}


class Cluster:
    """The bench's store with a controller of Jobs that does what the test says."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.failures: list[Exception] = []
        self.after: list[Exception] = []
        bench.providers["job"] = Job(self)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.bench.store, name)

    async def create(self, kind: Any, obj: Object) -> Object:
        if kind is JOB and self.failures:
            raise self.failures.pop(0)
        made = await self.bench.store.create(kind, obj)
        if kind is JOB and self.after:
            raise self.after.pop(0)
        return made

    @property
    def jobs(self) -> list[Object]:
        return sorted(
            self.bench.store.peek_all("Job"), key=lambda job: str(job["metadata"]["name"])
        )

    async def start(self, *metrics: Object, **spec: Any) -> None:
        args = [{"name": "who", "value": "canary"}]
        run = {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "AnalysisRun",
            "metadata": {"name": "a", "namespace": "shop"},
            "spec": {"args": args, "metrics": list(metrics), **spec},
        }
        await self.bench.store.create(RUN, run)
        await self.bench.until(lambda: self.jobs, within=2)

    async def condition(self, kind: str, job: Object | None = None, **more: str) -> None:
        name = (job or self.jobs[-1])["metadata"]["name"]
        status = {"conditions": [{"type": kind, "status": "True", **more}]}
        await self.bench.store.merge_patch(JOB, "shop", name, {"status": status}, status=True)


def result(bench: Bench) -> Object:
    (found,) = bench.status("a")["metricResults"]
    return dict(found)


def test_a_job_is_of_its_run_and_carries_what_argo_s_tools_look_for() -> None:
    async def test(bench: Bench) -> None:
        cluster = Cluster(bench)
        async with bench.driving():
            await cluster.start(metric())
            (job,) = cluster.jobs
            uid = (bench.run("a") or {})["metadata"]["uid"]
            meta = job["metadata"]
            assert meta["name"] == f"{uid}.m.1"
            assert meta["labels"] == {"team": "pay", "analysisrun.argoproj.io/uid": uid}
            assert meta["annotations"] == {
                "why": "canary",
                "analysisrun.argoproj.io/name": "a",
                "analysisrun.argoproj.io/namespace": "shop",
                "analysisrun.argoproj.io/metric-name": "m",
            }
            (owner,) = meta["ownerReferences"]
            assert (owner["kind"], owner["uid"], owner["controller"]) == ("AnalysisRun", uid, True)
            template = job["spec"]["template"]
            assert template["metadata"]["labels"] == {
                "own": "label",
                "analysisrun.argoproj.io/uid": uid,
            }
            assert template["spec"]["containers"][0]["args"] == ["canary"]
            assert job["spec"]["backoffLimit"] == 0
            await cluster.condition("Complete")
            assert await bench.ended("a") == ["Successful"]
        (made,) = result(bench)["measurements"]
        assert made["metadata"] == {"job-name": f"{uid}.m.1", "job-namespace": "shop"}

    on_a_bench(Scripted("Successful"), test)


@pytest.mark.parametrize(
    ("compat", "says"), [("safe", "BackoffLimitExceeded: has failed"), ("argo", "")]
)
def test_a_job_that_fails_fails(compat: Any, says: str) -> None:
    async def test(bench: Bench) -> None:
        cluster = Cluster(bench)
        async with bench.driving(compat=compat):
            await cluster.start(metric(failureLimit=0))
            await cluster.condition("Failed", reason="BackoffLimitExceeded", message="has failed")
            assert await bench.ended("a") == ["Failed"]
        assert result(bench)["measurements"][0].get("message", "") == says

    on_a_bench(Scripted("Successful"), test)


def test_the_end_of_a_job_is_seen_at_once_and_looking_costs_ever_less() -> None:
    async def test(bench: Bench) -> None:
        cluster = Cluster(bench)
        async with bench.driving():
            await cluster.start(metric())
            versions = set()
            for _ in range(2000):
                versions.add((bench.run("a") or {})["metadata"]["resourceVersion"])
                await bench.clock.sleep(0.5)
            # Every second would be a thousand; the square root of twice the time makes it some 45.
            assert 20 < len(versions) < 60
            await cluster.condition("Complete")
            assert await bench.ended("a", within=0.5) == ["Successful"]

    on_a_bench(Scripted("Successful"), test)


@pytest.mark.parametrize("kind", ["containerStatuses", "initContainerStatuses"])
@pytest.mark.parametrize("reason", ["ErrImagePull", "ImagePullBackOff", "InvalidImageName"])
def test_an_image_that_cannot_be_had_is_inconclusive(kind: str, reason: str) -> None:
    async def test(bench: Bench) -> None:
        cluster = Cluster(bench)
        async with bench.driving():
            await cluster.start(metric())
            name = cluster.jobs[0]["metadata"]["name"]
            selector = {"matchLabels": {"batch.kubernetes.io/controller-uid": "7"}}
            await bench.store.merge_patch(JOB, "shop", name, {"spec": {"selector": selector}})
            state = {"waiting": {"reason": reason, "message": "no such image"}}
            status = {kind: [{"name": "check", "state": state}]}
            for pod, uid in (("p1", "8"), ("p2", "7")):
                labels = {"batch.kubernetes.io/controller-uid": uid}
                meta = {"name": pod, "namespace": "shop", "labels": labels}
                await bench.store.create(KINDS["Pod"], {"kind": "Pod", "metadata": meta})
                await bench.store.merge_patch(
                    KINDS["Pod"], "shop", pod, {"status": status}, status=True
                )
            assert await bench.ended("a") == ["Inconclusive"]
        assert result(bench)["measurements"][0]["message"] == (
            f"Pod p2, container check has terminal error ({reason}): no such image"
        )

    on_a_bench(Scripted("Successful"), test)


def test_a_job_that_still_runs_when_its_run_ends_is_deleted_and_says_nothing() -> None:
    async def test(bench: Bench) -> None:
        cluster = Cluster(bench)
        async with bench.driving():
            await cluster.start(metric(interval="1h"))
            await bench.store.merge_patch(RUN, "shop", "a", {"spec": {"terminate": True}})
            assert await bench.ended("a") == ["Inconclusive"]
        assert cluster.jobs == []
        assert result(bench)["measurements"][0]["message"] == "Metric Terminated"

    on_a_bench(Scripted("Successful"), test)


def test_a_job_that_is_gone_is_an_error_and_the_next_has_another_name() -> None:
    async def test(bench: Bench) -> None:
        cluster = Cluster(bench)
        async with bench.driving():
            await cluster.start(metric())
            first = cluster.jobs[0]["metadata"]["name"]
            await bench.store.delete(JOB, "shop", first)
            await bench.until(lambda: cluster.jobs, within=30)
            await cluster.condition("Complete")
            assert await bench.ended("a") == ["Successful"]
        error, fine = result(bench)["measurements"]
        assert (error["phase"], first in error["message"]) == ("Error", True)
        assert fine["metadata"]["job-name"] == first[:-1] + "2"

    on_a_bench(Scripted("Successful"), test)


def test_jobs_go_with_the_measurements_that_are_no_longer_kept_each_metric_s_own() -> None:
    async def test(bench: Bench) -> None:
        cluster = Cluster(bench)
        async with bench.driving():
            await cluster.start(
                metric("one", count=5, interval="1s"),
                metric("two"),
                measurementRetention=[{"metricName": "one", "limit": 2}],
            )
            async with asyncio.timeout(120):
                while bench.status("a").get("phase") != "Successful":
                    for job in cluster.jobs:
                        if not (job.get("status") or {}).get("conditions"):
                            await cluster.condition("Complete", job)
                    await bench.clock.sleep(0.2)
        names = [job["metadata"]["name"].partition(".")[2] for job in cluster.jobs]
        assert names == ["one.4", "one.5", "two.1"]

    on_a_bench(Scripted("Successful"), test)


@pytest.mark.parametrize("created", [False, True], ids=["not created", "created"])
def test_a_create_whose_answer_is_lost_makes_one_job(created: bool) -> None:
    async def test(bench: Bench) -> None:
        cluster = Cluster(bench)
        (cluster.after if created else cluster.failures).append(Unavailable("reset by peer"))
        async with bench.driving():
            await cluster.start(metric())
            await bench.clock.sleep(5)
            (job,) = cluster.jobs
            await cluster.condition("Complete")
            assert await bench.ended("a") == ["Successful"]
        assert "error" not in result(bench)
        assert result(bench)["measurements"][0]["metadata"] == {
            "job-name": job["metadata"]["name"],
            "job-namespace": "shop",
        }

    on_a_bench(Scripted("Successful"), test)


def test_a_job_of_a_pass_that_died_is_taken_over_and_one_of_somebody_else_is_not() -> None:
    async def test(bench: Bench) -> None:
        cluster = Cluster(bench)
        run = {
            "metadata": {"name": "a", "namespace": "shop"},
            "spec": {"metrics": [metric("x" * 70)]},
        }
        stored = await bench.store.create(
            RUN, {"apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisRun", **run}
        )
        asked = Asked(
            metric=read(Metric, metric("x" * 70)),
            now=EPOCH,
            run=read(ObjectMeta, stored["metadata"]),
        )
        provider = Job(cluster)
        first = await provider.measure(asked)
        again = await provider.measure(asked)
        assert (first.phase, first, len(cluster.jobs)) == ("Running", again, 1)
        other = Asked(
            metric=read(Metric, metric("x" * 71)),
            now=EPOCH,
            run=read(ObjectMeta, stored["metadata"]),
        )
        refused = await provider.measure(other)
        assert (refused.phase, "not of this metric" in refused.message) == ("Error", True)

    on_a_bench(Scripted("Successful"), test)


def test_a_role_that_may_not_make_jobs_is_named() -> None:
    async def test(bench: Bench) -> None:
        cluster = Cluster(bench)
        cluster.failures = [Forbidden("jobs.batch is forbidden")] * 9
        async with bench.driving():
            await bench.start(
                "a",
                {
                    **metric(),
                    "provider": {
                        "job": {"spec": {"template": {"spec": {"containers": [{"name": "c"}]}}}}
                    },
                },
            )
            assert await bench.ended("a") == ["Error"]
        assert "jobs.batch is forbidden" in bench.status("a")["message"]

    on_a_bench(Scripted("Successful"), test)


@pytest.mark.parametrize(
    ("uid", "name", "number", "expected"),
    [
        ("u" * 36, "errors", 1, "u" * 36 + ".errors.1"),
        ("u" * 36, "x" * 24, 1, "u" * 36 + "." + "x" * 24 + ".1"),
        ("u" * 36, "x" * 25, 1, "u" * 36 + "." + "x" * 24 + ".1"),
        ("u" * 36, "x" * 25, 100, "u" * 36 + "." + "x" * 22 + ".100"),
        ("u" * 36, "x" * 20 + "----" + "y" * 9, 1, "u" * 36 + "." + "x" * 20 + ".1"),
    ],
)
def test_names_are_argo_s_and_fit_into_a_label(
    uid: str, name: str, number: int, expected: str
) -> None:
    assert job_name(uid, name, number) == expected
    assert len(expected) <= MAX_NAME


@pytest.mark.parametrize(
    ("job", "words"),
    [
        ({}, "provider.job: Object missing required field `spec`"),
        ({"spec": {}}, "provider.job.spec: Object missing required field `template`"),
        ({"spec": {"template": {"spec": {}}}}, "missing required field `containers`"),
        ({"spec": {"template": {"spec": {"containers": []}}}}, "a Job needs containers"),
        ({"spec": {"template": "x"}}, "provider.job.spec.template: Expected"),
        ({"spec": SPEC, "metadata": {"labels": {"a": 1}}}, "provider.job.metadata.labels"),
        ("x", "provider.job"),
    ],
    ids=str,
)
def test_a_job_that_is_none_is_refused_with_the_field(job: Any, words: str) -> None:
    asked = Asked(metric=Metric(name="m", provider={"job": job}), now=EPOCH)
    with pytest.raises(Refused, match=words.replace("[", r"\[")):
        manifest(asked)
    with pytest.raises(Refused):
        Job(None).check(asked.metric)


async def test_without_a_cluster_a_job_can_be_checked_and_not_measured() -> None:
    asked = Asked(metric=read(Metric, metric()), now=EPOCH)
    Job(None).check(asked.metric)
    got = await Job(None).measure(asked)
    assert (got.phase, got.message) == ("Error", "a Job needs a cluster, and there is none here")


def test_only_jobs_of_runs_that_have_ended_wake_anything() -> None:
    meta = {
        "name": "j",
        "namespace": "shop",
        "labels": {"analysisrun.argoproj.io/uid": "u"},
        "annotations": {"analysisrun.argoproj.io/name": "a"},
    }
    ended = {"conditions": [{"type": "Complete", "status": "True"}]}
    assert run_of({"metadata": meta, "status": ended}) == Key("shop", "a")
    assert run_of({"metadata": meta, "status": {}}) is None
    assert run_of({"metadata": {**meta, "labels": {}}, "status": ended}) is None
    assert run_of({"metadata": {"name": "j"}, "status": ended}) is None
    assert run_of(None) is None
