"""Deployments: Argo CD's syncs become evidence and wakes, requests become new images.

A sync event never carries the truth about a rollout: its evidence (application, Git revision, who) is
kept with the object, and the rollout is looked at.
"""

import fnmatch
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
import structlog

from agent.api.decode import parse_json
from agent.api.meta import Key
from agent.api.names import ALLOW_IMAGES, GROUP
from agent.api.times import format_time_ms, parse_time
from agent.engine.port import Engine, View
from agent.errors import Refused
from agent.events.catalogue import (
    DEPLOYMENT_SYNCED,
    Cause,
    Deployment,
    DeploymentRequested,
    DeploymentSynced,
    SyncedResource,
)
from agent.events.event import Event
from agent.events.recorded import RECORDED, recorded_at
from agent.events.registry import read_data

log = structlog.get_logger(__name__)

TRACKING_ID: Final = "argocd.argoproj.io/tracking-id"
INSTANCE_LABEL: Final = "app.kubernetes.io/instance"
IN_CLUSTER: Final = ("", "https://kubernetes.default.svc", "in-cluster")


class DeploymentHandler:
    """Handles `dev.serinus.deployment.{synced,requested}.v1`.

    Args:
        destinations: names and server URLs by which Argo CD knows this cluster; a sync to any other is
            ignored.
        counted: called with the outcome of every event.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        destinations: Sequence[str] = IN_CLUSTER,
        counted: Callable[[str], None] = lambda _outcome: None,
    ) -> None:
        self._engine = engine
        self._destinations = frozenset(destinations)
        self._counted = counted

    async def synced(self, event: Event) -> None:
        """Keep the sync as evidence on every rollout of the application and wake it."""
        sync = read_data(DeploymentSynced, event)
        destination = sync.destination_server or sync.destination_name
        if destination not in self._destinations:
            self._counted("foreign")
            log.info(
                "deployment.other_cluster", application=sync.application, destination=destination
            )
            return
        deployment = Deployment(
            application=sync.application,
            git_revision=sync.git_revision,
            actor=sync.actor,
            images=sync.images,
            synced_at=sync.finished_at or sync.started_at or format_time_ms(event.time),
        )
        views = list(_of_application(self._engine, sync))
        for view in views:
            await self._engine.note_deployment(view.key, deployment)
        self._counted("synced" if views else "unmatched")
        log.info(
            "deployment.synced",
            application=sync.application,
            phase=sync.phase,
            git_revision=sync.git_revision,
            rollouts=[str(view.key) for view in views],
        )

    async def requested(self, event: Event) -> None:
        """Set new images, where the rollout allows it. Raises Refused with the fix where it does not."""
        request = read_data(DeploymentRequested, event)
        if not request.images:
            raise Refused("must name at least one container", field="data.images")
        key = Key(request.namespace, request.name)
        view = self._engine.view(key)
        if view is None:
            raise Refused(f"no rollout {key}", field="data.name")
        _check_allowed(request, view)
        cause = Cause(
            kind="deployment",
            summary=f"images requested{f' by {request.actor}' if request.actor else ''}",
            evidence={"images": request.images, "source": event.source},
            actor=request.actor,
            event_id=event.id,
            started_at=format_time_ms(event.time),
            received_at=format_time_ms(recorded_at(event)),
        )
        outcome = await self._engine.set_images(
            key, request.images, expect_revision=request.expect_revision, cause=cause
        )
        self._counted(f"requested-{outcome.result}")
        log.info(
            "deployment.requested",
            rollout=str(key),
            outcome=outcome.result,
            message=outcome.message,
        )


def translate(body: bytes, headers: Mapping[str, str], now: datetime) -> list[Event]:
    """Argo CD's notification webhook as an event: the body is an Application, or `{"app": Application}`.

    The id is a hash of the application's uid, the start of its operation and its phase, so a
    notification that is sent again is the same event. Raises Refused with the field.
    """
    del headers
    data: Any = parse_json(body)
    app = data.get("app", data) if isinstance(data, dict) else None
    if not isinstance(app, dict) or not isinstance(app.get("metadata"), dict):
        raise Refused('expected an Argo CD Application, or {"app": Application}', field="metadata")
    meta, status = app["metadata"], _mapping(app, "status")
    operation = _mapping(status, "operationState")
    if not meta.get("name"):
        raise Refused("must name the application", field="metadata.name")
    started, phase = str(operation.get("startedAt") or ""), str(operation.get("phase") or "")
    identity = f"{meta.get('uid') or meta['name']}\n{started}\n{phase}"
    finished = operation.get("finishedAt")
    return [
        Event(
            id=hashlib.sha256(identity.encode()).hexdigest(),
            source="/argocd",
            type=DEPLOYMENT_SYNCED,
            time=_time_or(str(finished or started), now),
            subject=f"{meta.get('namespace', '')}/{meta['name']}",
            datacontenttype="application/json",
            extensions={"partitionkey": str(meta["name"]), RECORDED: format_time_ms(now)},
            data=msgspec.json.encode(_sync(app, meta, status, operation)),
        )
    ]


def _sync(
    app: Mapping[str, Any],
    meta: Mapping[str, Any],
    status: Mapping[str, Any],
    operation: Mapping[str, Any],
) -> DeploymentSynced:
    result = _mapping(operation, "syncResult")
    destination = _mapping(_mapping(app, "spec"), "destination")
    initiated = _mapping(_mapping(operation, "operation"), "initiatedBy")
    revisions = result.get("revisions") or ()
    resources = result.get("resources") or ()
    return DeploymentSynced(
        application=str(meta["name"]),
        application_namespace=str(meta.get("namespace") or ""),
        phase=str(operation.get("phase") or ""),
        destination_server=str(destination.get("server") or ""),
        destination_name=str(destination.get("name") or ""),
        destination_namespace=str(destination.get("namespace") or ""),
        git_revision=str(result.get("revision") or ",".join(map(str, revisions))),
        images=[str(image) for image in _mapping(status, "summary").get("images") or ()] or None,
        actor=str(initiated.get("username") or ("automated" if initiated.get("automated") else "")),
        started_at=operation.get("startedAt"),
        finished_at=operation.get("finishedAt"),
        resources=[
            SyncedResource(
                group=str(resource.get("group") or ""),
                kind=str(resource.get("kind") or ""),
                namespace=str(resource.get("namespace") or ""),
                name=str(resource.get("name") or ""),
            )
            for resource in resources
            if isinstance(resource, dict)
        ]
        or None,
    )


def _of_application(engine: Engine, sync: DeploymentSynced) -> Iterator[View]:
    """Rollouts that the application tracks; by the sync's own resource list where nothing is tracked."""
    tracked = [view for view in engine.views() if _tracked_by(view, sync)]
    if tracked:
        yield from tracked
        return
    for resource in sync.resources or ():
        if (resource.group, resource.kind) == (GROUP, "Rollout"):
            found = engine.view(
                Key(resource.namespace or sync.destination_namespace, resource.name)
            )
            if found:
                yield found


def _tracked_by(view: View, sync: DeploymentSynced) -> bool:
    meta = view.rollout.get("metadata") or {}
    tracking = (meta.get("annotations") or {}).get(TRACKING_ID, "")
    if tracking:
        # `<application>:<group>/<kind>:<namespace>/<name>`; with applications in any namespace the
        # first part is `<namespace>_<name>`.
        owner = tracking.partition(":")[0]
        return owner in (sync.application, f"{sync.application_namespace}_{sync.application}")
    return bool((meta.get("labels") or {}).get(INSTANCE_LABEL) == sync.application)


def _check_allowed(request: DeploymentRequested, view: View) -> None:
    annotations = (view.rollout.get("metadata") or {}).get("annotations") or {}
    globs = [glob.strip() for glob in annotations.get(ALLOW_IMAGES, "").split(",") if glob.strip()]
    if not globs:
        raise Refused(
            f"{view.key} does not take images from events; set its annotation {ALLOW_IMAGES} to image globs",
            field="data.images",
        )
    if annotations.get(TRACKING_ID) and not request.force:
        raise Refused(
            f"{view.key} is tracked by Argo CD, which would undo the change; change Git, or set force",
            field="data.force",
        )
    for container, image in request.images.items():
        if not any(fnmatch.fnmatchcase(image, glob) for glob in globs):
            raise Refused(
                f"{image!r} matches none of {', '.join(globs)} ({ALLOW_IMAGES})",
                field=f"data.images.{container}",
            )


def _mapping(parent: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    value = parent.get(field)
    return value if isinstance(value, dict) else {}


def _time_or(text: str, default: datetime) -> datetime:
    try:
        return parse_time(text)
    except ValueError:
        return default
