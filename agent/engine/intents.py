"""Intents: what a person, a program or an alert wants, put onto the objects by compare-and-swap.

Each is written exactly as Argo's own tools would write it, and only if the object is still what its sender saw.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec
import structlog

from agent.api.holds import Hold, decode_holds, encode_holds
from agent.api.meta import Key, Object, Ref
from agent.api.names import DEPLOYMENT, HOLDS
from agent.clock import Clock
from agent.engine.crash_points import Reach
from agent.engine.exposure import find_revision
from agent.engine.fence import version_of
from agent.engine.observe import Objects
from agent.engine.port import Outcome
from agent.engine.revision import revision_number
from agent.engine.write import Writer
from agent.errors import Conflict, Forbidden, Invalid, NotFound, Refused, Unavailable
from agent.events.catalogue import Cause, Deployment, Expect

log = structlog.get_logger(__name__)

TRIES: Final = 6


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One intent as writes to the Rollout; each is conditional on the version it was made from.

    Attributes:
        patches: merge patches in order, with whether each is for the status.
        operations: JSON Patch operations, instead of `patches`.
        message: what was done, for the sender.
    """

    patches: tuple[tuple[dict[str, Any], bool], ...] = ()
    operations: tuple[dict[str, Any], ...] = ()
    message: str = ""


Build = Callable[[Object], Change | Outcome]
"""Makes the change from the Rollout as it is, or says why there is none. Raises Refused."""


class Intents:
    """Puts intents onto the objects. Raises Unavailable when they could not be stored."""

    def __init__(
        self,
        writer: Writer,
        objects: Objects,
        clock: Clock,
        *,
        reach: Reach,
    ) -> None:
        self._writer = writer
        self._objects = objects
        self._clock = clock
        self._reach = reach

    async def hold(self, key: Key, hold: Hold, cause: Cause) -> Outcome:
        """Add one alert to the holds; the same alert twice is one hold."""

        def build(rollout: Object) -> Change | Outcome:
            holds = _holds(rollout)
            if any(_same(item, hold.fingerprint, hold.starts_at) for item in holds):
                return Outcome(result="unchanged", message="this alert holds already")
            status = rollout.get("status") or {}
            if status.get("abort") or status.get("currentPodHash") == status.get("stableRS"):
                return Outcome(result="refused", message="no update is in progress")
            return _annotated({HOLDS: encode_holds((*holds, hold))}, "held")

        outcome = await self._swap(key, build)
        if outcome.result == "done":
            log.warning("rollout.held", rollout=str(key), alert=hold.alert, reason=cause.summary)
        return outcome

    async def release(self, key: Key, fingerprint: str, starts_at: str) -> Outcome:
        """Take one alert off the holds."""

        def build(rollout: Object) -> Change | Outcome:
            holds = _holds(rollout)
            left = tuple(item for item in holds if not _same(item, fingerprint, starts_at))
            if left == holds:
                return Outcome(result="unchanged", message="this alert does not hold")
            return _annotated({HOLDS: encode_holds(left) if left else None}, "released")

        return await self._swap(key, build)

    async def set_images(
        self, key: Key, images: dict[str, str], *, expect_revision: str, cause: Cause
    ) -> Outcome:
        """Put images (by container name) into the Rollout's template."""

        def build(rollout: Object) -> Change | Outcome:
            self._expect(rollout, Expect(revision=expect_revision))
            return _with_images(rollout, images)

        outcome = await self._swap(key, build)
        if outcome.result == "done":
            log.info("rollout.images_set", rollout=str(key), images=images, actor=cause.actor)
        return outcome

    async def note_deployment(self, key: Key, deployment: Deployment) -> Outcome:
        """Keep the evidence of a deployment: on the Rollout, and on its newest ReplicaSet if that is it.

        A sync is often reported before the ReplicaSet of what it brought exists: what is on the Rollout
        is copied when that appears.
        """
        text = msgspec.json.encode(deployment).decode()

        def build(rollout: Object) -> Change | Outcome:
            if _annotations(rollout).get(DEPLOYMENT) == text:
                return Outcome(result="unchanged", message="known already")
            return _annotated({DEPLOYMENT: text}, "noted")

        return await self._swap(key, build)

    async def annotate(
        self, key: Key, annotations: dict[str, str | None], *, revision: bool
    ) -> Outcome:
        """Set our own annotations on the Rollout, or (`revision`) on the current ReplicaSet."""
        if not revision:
            return await self._swap(key, lambda rollout: _annotate(rollout, annotations))
        rollout = self._objects.get(Ref("Rollout", *key))
        status = (rollout or {}).get("status") or {}
        owned = self._objects.owned(
            "ReplicaSet", str((rollout or {}).get("metadata", {}).get("uid", ""))
        )
        current = find_revision(owned, str(status.get("currentPodHash", "")))
        if current is None:
            return Outcome(result="refused", message="the current revision has no ReplicaSet")
        if isinstance(_annotate(current, annotations), Outcome):
            return Outcome(result="unchanged")
        ref = Ref("ReplicaSet", key.namespace, str(current["metadata"]["name"]))
        try:
            await self._writer.metadata(ref, {"metadata": {"annotations": annotations}})
        except (Conflict, Invalid, Forbidden) as error:
            return Outcome(result="refused", message=str(error))
        return Outcome(result="done")

    async def _swap(self, key: Key, build: Build) -> Outcome:
        """Write what `build` makes of the Rollout, from a newer one each time the swap is lost."""
        ref = Ref("Rollout", *key)
        rollout = self._objects.get(ref)
        fresh = False
        for _ in range(TRIES):
            if rollout is None:
                try:
                    rollout, fresh = await self._writer.get(ref), True
                except NotFound:
                    return Outcome(result="refused", message="there is no such rollout")
            try:
                change = build(rollout)
            except Refused as error:
                change = Outcome(result="refused", message=str(error))
            if isinstance(change, Outcome):
                # The cache may be behind: only what the API server says is a reason to do nothing.
                if fresh:
                    return change
                rollout = None
                continue
            try:
                await self._write(key, rollout, change)
            except Conflict:
                rollout = None
                continue
            except (Invalid, Forbidden) as error:
                return Outcome(result="refused", message=str(error))
            self._reach("intent-after-write")
            return Outcome(result="done", message=change.message)
        raise Unavailable(f"others kept writing {ref}")

    async def _write(self, key: Key, rollout: Object, change: Change) -> None:
        self._reach("intent-before-write")
        ref, version = Ref("Rollout", *key), version_of(rollout)
        if change.operations:
            guard = {"op": "test", "path": "/metadata/resourceVersion", "value": version}
            await self._writer.json(ref, [guard, *change.operations])
            return
        for body, is_status in change.patches:
            if is_status:
                answer = await self._writer.status(key, body, version)
            else:
                metadata = {**(body.get("metadata") or {}), "resourceVersion": version}
                answer = await self._writer.metadata(ref, {**body, "metadata": metadata})
            version = version_of(answer)

    def _expect(self, rollout: Object, expect: Expect | None) -> None:
        """Raises Refused when the rollout is not what the sender saw."""
        if expect is None:
            return
        status = rollout.get("status") or {}
        owned = self._objects.owned("ReplicaSet", str(rollout["metadata"].get("uid", "")))
        revision = revision_number(rollout, tuple(owned))
        if expect.revision and expect.revision != revision:
            raise Refused(f"expected {expect.revision}, it is {revision}", field="revision")
        index = status.get("currentStepIndex")
        if expect.step_index is not None and expect.step_index != index:
            raise Refused(f"expected {expect.step_index}, it is {index}", field="stepIndex")
        started = [item.get("startTime") for item in status.get("pauseConditions") or ()]
        if expect.pause_start_time and expect.pause_start_time not in started:
            raise Refused(
                f"the pause that started at {expect.pause_start_time} is over",
                field="pauseStartTime",
            )


def _with_images(rollout: Object, images: dict[str, str]) -> Change | Outcome:
    spec = rollout.get("spec") or {}
    if spec.get("workloadRef"):
        raise Refused(
            "the template is in another object: set the image there", field="spec.workloadRef"
        )
    pod = (spec.get("template") or {}).get("spec") or {}
    places = {
        str(container.get("name")): (f"/spec/template/spec/{group}/{index}", container)
        for group in ("initContainers", "containers")
        for index, container in enumerate(pod.get(group) or ())
    }
    operations: list[dict[str, Any]] = []
    for name, image in sorted(images.items()):
        if name not in places:
            known = ", ".join(sorted(places))
            raise Refused(f"there is no container {name!r}, only {known}", field="images")
        path, container = places[name]
        if container.get("image") != image:
            operations.append({"op": "test", "path": f"{path}/name", "value": name})
            operations.append({"op": "add", "path": f"{path}/image", "value": image})
    if not operations:
        return Outcome(result="unchanged", message="these images are set already")
    return Change(operations=tuple(operations), message="images set")


def _annotate(obj: Object, annotations: dict[str, str | None]) -> Change | Outcome:
    known = _annotations(obj)
    if all(known.get(name) == value for name, value in annotations.items()):
        return Outcome(result="unchanged")
    return _annotated(annotations, "annotated")


def _annotated(annotations: dict[str, str | None], message: str) -> Change:
    return Change(patches=(({"metadata": {"annotations": annotations}}, False),), message=message)


def _annotations(obj: Object) -> dict[str, str]:
    return obj["metadata"].get("annotations") or {}


def _holds(rollout: Object) -> tuple[Hold, ...]:
    """The holds; an annotation that cannot be read counts as none and is written anew."""
    try:
        return decode_holds(_annotations(rollout).get(HOLDS, ""))
    except ValueError:
        return ()


def _same(hold: Hold, fingerprint: str, starts_at: str) -> bool:
    return (hold.fingerprint, hold.starts_at) == (fingerprint, starts_at)
