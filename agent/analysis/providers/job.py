"""Job: a batch Job that is run to its end (reference: Argo's metricproviders/job).

The Job belongs to the AnalysisRun. Complete is Successful, Failed is Failed; one whose pods cannot get their image,
or that was still running when its run ended, says nothing: Inconclusive. Conditions of the metric are not used.
"""

import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from msgspec.structs import replace

from agent.analysis.providers.port import Asked, failed
from agent.api.analysis import Measurement, Metric
from agent.api.decode import read
from agent.api.meta import Key, Object, ObjectMeta, Struct
from agent.api.names import API_VERSION
from agent.api.times import format_time, parse_time
from agent.cluster.port import KINDS, Cluster
from agent.errors import AlreadyExists, NotFound, Refused, SerinusError, Unavailable

NAME: Final = "job-name"
NAMESPACE: Final = "job-namespace"
"""In a measurement's metadata: its Job."""
RUN_NAME: Final = "analysisrun.argoproj.io/name"
RUN_NAMESPACE: Final = "analysisrun.argoproj.io/namespace"
METRIC_NAME: Final = "analysisrun.argoproj.io/metric-name"
RUN_UID: Final = "analysisrun.argoproj.io/uid"
"""Label of Jobs and their pods; the others are annotations of Jobs."""
MAX_NAME: Final = 63
"""Job names become labels of pods."""
STUCK: Final = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName"})
"""Why containers wait that will never run by themselves."""
_JOB, _POD = KINDS["Job"], KINDS["Pod"]


class _Pod(Struct):
    containers: list[dict[str, Any]]


class _Template(Struct):
    spec: _Pod
    metadata: ObjectMeta = ObjectMeta()


class _Job(Struct):
    template: _Template


class Shape(Struct):
    """The kinds of the settings; a cluster without Argo's CRDs takes anything."""

    spec: _Job
    metadata: ObjectMeta = ObjectMeta()


class Job:
    """Provider `job`; a Lasting one.

    Args:
        cluster: where the Jobs run; without one nothing can be measured, only checked.
    """

    name = "job"

    def __init__(self, cluster: Cluster | None) -> None:
        self._cluster = cluster

    def check(self, metric: Metric) -> None:
        _shape(metric)

    async def measure(self, asked: Asked) -> Measurement:
        """Create the Job, or see how far it is."""
        try:
            if asked.earlier is None or NAMESPACE not in (asked.earlier.metadata or {}):
                return await self._started(asked)
            return await self._seen(asked, asked.earlier)
        except Refused as error:
            return failed(str(error) if error.field else error.detail)
        except SerinusError as error:
            if asked.earlier is not None and isinstance(error, Unavailable):
                return _looked_at(asked.earlier, asked.now)
            return failed(str(error), (asked.earlier or Measurement()).metadata)

    async def end(self, asked: Asked) -> Measurement:
        """Delete the Job. What it would have come to is not known."""
        earlier = asked.earlier or Measurement()
        try:
            await self.forget(asked.run, earlier)
        except Unavailable:
            raise
        except SerinusError as error:
            return failed(str(error), earlier.metadata)
        return replace(earlier, phase="Inconclusive", resume_at=None)

    async def forget(self, run: ObjectMeta, made: Measurement) -> None:
        """Delete the Job of a measurement, pods first; one that is gone already is fine."""
        name = (made.metadata or {}).get(NAME)
        if not name:
            return
        try:
            await self._jobs().delete(_JOB, run.namespace, name, propagation="Foreground")
        except NotFound:
            return

    async def _started(self, asked: Asked) -> Measurement:
        job = manifest(asked)
        name = job["metadata"]["name"]
        metadata = {NAME: name, NAMESPACE: asked.run.namespace}
        try:
            await self._jobs().create(_JOB, job)
        except AlreadyExists:
            # Of a pass that ended before it could say so.
            found = await self._jobs().get(_JOB, asked.run.namespace, name)
            if not _is_of(found, asked):
                raise Refused(
                    f"there is a Job {name!r} already, and it is not of this metric"
                ) from None
        except Unavailable:
            # It may have been created; without its namespace it is created again, under the same name.
            metadata = {NAME: name}
        began = (asked.earlier or Measurement()).started_at or format_time(asked.now)
        made = Measurement(phase="Running", started_at=began, metadata=metadata)
        return _looked_at(made, asked.now)

    async def _seen(self, asked: Asked, earlier: Measurement) -> Measurement:
        name = (earlier.metadata or {}).get(NAME, "")
        job = await self._jobs().get(_JOB, asked.run.namespace, name)
        for condition in (job.get("status") or {}).get("conditions") or ():
            phase = _ENDS.get(condition.get("type"))
            if phase and condition.get("status") == "True":
                is_told = phase == "Failed" and asked.compat == "safe"
                told = _condition_text(condition) if is_told else ""
                return replace(earlier, phase=phase, message=told, resume_at=None)
        selector = ((job.get("spec") or {}).get("selector") or {}).get("matchLabels") or {}
        labels = ",".join(f"{key}={value}" for key, value in sorted(selector.items()))
        pods = await self._jobs().list(_POD, asked.run.namespace, labels=labels) if labels else None
        stuck = next((text for pod in pods.items if (text := _stuck(pod))), "") if pods else ""
        if stuck:
            return replace(earlier, phase="Inconclusive", message=stuck, resume_at=None)
        return _looked_at(earlier, asked.now)

    def _jobs(self) -> Cluster:
        if self._cluster is None:
            raise Refused("a Job needs a cluster, and there is none here")
        return self._cluster


_ENDS: Final = {"Complete": "Successful", "Failed": "Failed"}


def run_of(job: Object | None) -> Key | None:
    """The AnalysisRun that waits for this Job, None when it is none of ours or still runs."""
    meta = (job or {}).get("metadata") or {}
    name = (meta.get("annotations") or {}).get(RUN_NAME)
    if not name or RUN_UID not in (meta.get("labels") or {}):
        return None
    conditions = ((job or {}).get("status") or {}).get("conditions") or ()
    ended = any(item.get("type") in _ENDS and item.get("status") == "True" for item in conditions)
    return Key(meta.get("namespace") or "default", name) if ended else None


def manifest(asked: Asked) -> Object:
    """The Job of a measurement. Raises Refused when the metric describes none."""
    run, shape = asked.run, _shape(asked.metric)
    spec: Object = (asked.metric.provider or {})["job"]["spec"]
    template: Object = spec["template"]
    meta = template.get("metadata") or {}
    labels = {**(shape.spec.template.metadata.labels or {}), RUN_UID: run.uid}
    return {
        "apiVersion": _JOB.api_version,
        "kind": "Job",
        "metadata": {
            "name": job_name(run.uid, asked.metric.name, asked.number),
            "namespace": run.namespace,
            "labels": {**(shape.metadata.labels or {}), RUN_UID: run.uid},
            "annotations": {
                **(shape.metadata.annotations or {}),
                RUN_NAME: run.name,
                RUN_NAMESPACE: run.namespace,
                METRIC_NAME: asked.metric.name,
            },
            "ownerReferences": [
                {
                    "apiVersion": API_VERSION,
                    "kind": "AnalysisRun",
                    "name": run.name,
                    "uid": run.uid,
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": {**spec, "template": {**template, "metadata": {**meta, "labels": labels}}},
    }


def job_name(uid: str, metric: str, number: int) -> str:
    """`<uid of the run>.<metric>.<number>`; the metric is cut when that is too long for a label."""
    room = MAX_NAME - len(uid) - len(str(number)) - 2
    short = metric if len(metric) <= room else metric[: max(room, 0)].rstrip("-._")
    return f"{uid}.{short}.{number}"


def _shape(metric: Metric) -> Shape:
    try:
        shape = read(Shape, (metric.provider or {}).get("job") or {})
    except Refused as error:
        path = f".{error.field}" if error.field else ""
        raise Refused(error.detail, field=f"provider.job{path}") from error
    if not shape.spec.template.spec.containers:
        raise Refused("a Job needs containers", field="provider.job.spec.template.spec")
    return shape


def _is_of(job: Object, asked: Asked) -> bool:
    meta = job["metadata"]
    owner: Mapping[str, Any] = next(
        (o for o in meta.get("ownerReferences") or () if o.get("controller")), {}
    )
    metric = (meta.get("annotations") or {}).get(METRIC_NAME)
    return owner.get("uid") == asked.run.uid and metric == asked.metric.name


def _looked_at(earlier: Measurement, now: datetime) -> Measurement:
    """Running still. Its end wakes us; whether pods are stuck is looked at ever more rarely, as in Argo."""
    since = parse_time(earlier.started_at) if earlier.started_at else now
    seconds = max(1.0, math.sqrt(2 * max(0.0, (now - since).total_seconds())))
    return replace(
        earlier, phase="Running", resume_at=format_time(now + timedelta(seconds=seconds))
    )


def _condition_text(condition: Mapping[str, Any]) -> str:
    return ": ".join(str(condition[name]) for name in ("reason", "message") if condition.get(name))


def _stuck(pod: Object) -> str:
    """Why a pod will never run, "" when it may."""
    status = pod.get("status") or {}
    for kind in ("initContainerStatuses", "containerStatuses"):
        for container in status.get(kind) or ():
            waiting = (container.get("state") or {}).get("waiting") or {}
            if waiting.get("reason") in STUCK:
                return (
                    f"Pod {pod['metadata']['name']}, container {container.get('name')} has terminal error"
                    f" ({waiting['reason']}): {waiting.get('message', '')}"
                )
    return ""
