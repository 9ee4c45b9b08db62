"""The provider job on a real API server: real Jobs, their controller, pods by KWOK, the garbage collector."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest

from agent.analysis.providers.job import RUN_UID, Job
from agent.api.meta import Object
from agent.clock import SystemClock
from agent.cluster.cache import Cache
from agent.cluster.kubernetes import KubernetesCluster
from agent.cluster.port import KINDS
from agent.engine.measure import AnalysisDriver
from tests.e2e.bed.run import Run
from tests.e2e.processes import until
from tests.e2e.real import connected, fresh_namespace

pytestmark = pytest.mark.e2e

RUN, JOB = KINDS["AnalysisRun"], KINDS["Job"]
DEADLINE_SECONDS: Final = 40.0


class Bed:
    """A driver whose Jobs run in a namespace of their own."""

    def __init__(self, cluster: KubernetesCluster, namespace: str) -> None:
        self.cluster = cluster
        self.namespace = namespace

    @asynccontextmanager
    async def driving(self) -> AsyncIterator[None]:
        clock = SystemClock()
        kinds, labels = ("AnalysisRun", "Job"), {"Job": RUN_UID}
        cache = Cache(self.cluster, kinds, clock, namespaces=[self.namespace], labels=labels)
        driver = AnalysisDriver(self.cluster, cache, clock, {"job": Job(self.cluster)})
        cache.on_change(driver.changed)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(cache.run()), group.create_task(driver.run())]
            await cache.synced.wait()
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()

    async def start(self, name: str, *metrics: Object, **spec: Any) -> str:
        """The uid of a run that was created by hand."""
        meta = {"name": name, "namespace": self.namespace}
        body = {"metadata": meta, "spec": {"metrics": list(metrics), **spec}}
        made = await self.cluster.create(
            RUN, {"apiVersion": RUN.api_version, "kind": "AnalysisRun", **body}
        )
        return str(made["metadata"]["uid"])

    async def ended(self, name: str, phase: str) -> Object:
        """The status once the run has this phase."""

        async def there() -> Object | None:
            status: Object = (await self.run(name)).get("status") or {}
            return status if status.get("phase") == phase else None

        found = await until(there, f"{name} is {phase}", deadline_seconds=DEADLINE_SECONDS)
        assert found is not None
        return found

    async def run(self, name: str) -> Object:
        return await self.cluster.get(RUN, self.namespace, name)

    async def jobs(self) -> list[Object]:
        return list((await self.cluster.list(JOB, self.namespace)).items)

    async def until_jobs(self, count: int) -> list[Object]:
        async def there() -> bool:
            return len(await self.jobs()) == count

        await until(there, f"{count} Jobs", deadline_seconds=DEADLINE_SECONDS)
        return await self.jobs()


@pytest.fixture
async def bed(bed: Run) -> AsyncIterator[Bed]:
    async with (
        connected(bed.part("kubernetes")["kubeconfig"]) as cluster,
        fresh_namespace(cluster) as namespace,
    ):
        yield Bed(cluster, namespace)


def metric(name: str = "m", *, args: list[str] | None = None, **more: Any) -> Object:
    """A Job whose pods live as the annotations in `more` say."""
    annotations = {f"bed.serinus.dev/{key}": value for key, value in (more.pop("pods", {})).items()}
    container = {"name": "main", "image": "check:1", "args": args or []}
    template = {
        "metadata": {"annotations": annotations},
        "spec": {"restartPolicy": "Never", "containers": [container]},
    }
    job = {
        "metadata": {"labels": {"team": "pay"}},
        "spec": {"backoffLimit": 0, "template": template},
    }
    return {"name": name, "provider": {"job": job}, **more}


async def test_a_job_that_completes_is_a_success_and_goes_with_its_run(bed: Bed) -> None:
    async with bed.driving():
        who = [{"name": "who", "value": "canary"}]
        uid = await bed.start("good", metric(args=["{{args.who}}"]), args=who)
        status = await bed.ended("good", "Successful")
        (job,) = await bed.jobs()
    (measured,) = status["metricResults"][0]["measurements"]
    meta = job["metadata"]
    assert measured["metadata"] == {"job-name": meta["name"], "job-namespace": bed.namespace}
    assert meta["name"] == f"{uid}.m.1"
    assert {"team": "pay", RUN_UID: uid}.items() <= meta["labels"].items()
    assert meta["ownerReferences"][0]["uid"] == uid
    assert job["spec"]["template"]["spec"]["containers"][0]["args"] == ["canary"]
    await bed.cluster.delete(RUN, bed.namespace, "good")
    await bed.until_jobs(0)


async def test_a_job_that_fails_is_a_failure_with_its_reason(bed: Bed) -> None:
    async with bed.driving():
        await bed.start("bad", metric(pods={"exit": "1"}))
        status = await bed.ended("bad", "Failed")
    (measured,) = status["metricResults"][0]["measurements"]
    assert measured["message"].startswith("BackoffLimitExceeded")


async def test_an_image_that_cannot_be_had_is_inconclusive(bed: Bed) -> None:
    async with bed.driving():
        await bed.start("stuck", metric(pods={"waiting": "ErrImagePull"}))
        status = await bed.ended("stuck", "Inconclusive")
    (measured,) = status["metricResults"][0]["measurements"]
    assert "terminal error (ErrImagePull)" in measured["message"]


async def test_a_run_that_ends_takes_its_running_job_along(bed: Bed) -> None:
    async with bed.driving():
        await bed.start("long", metric(pods={"waiting": "ContainerCreating"}))
        await bed.until_jobs(1)
        patch = {"spec": {"terminate": True}}
        await bed.cluster.merge_patch(RUN, bed.namespace, "long", patch)
        status = await bed.ended("long", "Inconclusive")
        await bed.until_jobs(0)
    (measured,) = status["metricResults"][0]["measurements"]
    assert measured["message"] == "Metric Terminated"


async def test_only_the_jobs_of_measurements_that_are_kept_stay_and_a_restart_makes_none_twice(
    bed: Bed,
) -> None:
    kept = [{"metricName": "m", "limit": 2}]
    async with bed.driving():
        uid = await bed.start(
            "many", metric(count=4, interval="1s"), measurementRetention=kept, ttlStrategy={}
        )
        await bed.until_jobs(1)
    async with bed.driving():
        await bed.ended("many", "Successful")
        jobs = await bed.until_jobs(2)
    names = sorted(job["metadata"]["name"] for job in jobs)
    assert names == [f"{uid}.m.3", f"{uid}.m.4"]
