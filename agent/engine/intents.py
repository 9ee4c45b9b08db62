"""Intents of alerts and deployments: holds and evidence, put onto the objects by compare-and-swap."""

from typing import Any

import msgspec
import structlog

from agent.api.holds import Hold, decode_holds, encode_holds
from agent.api.meta import Key, Object, Ref
from agent.api.names import DEPLOYMENT, HOLDS, OVERRULED
from agent.engine.exposure import find_revision
from agent.engine.observe import Objects
from agent.engine.port import Outcome
from agent.engine.swap import Change, Swap
from agent.engine.write import Writer
from agent.errors import Conflict, Forbidden, Invalid
from agent.events.catalogue import Cause, Deployment
from agent.rollout.operator import Patch

log = structlog.get_logger(__name__)

Other = tuple[Ref, dict[str, Any]]
"""A merge patch of another object than the Rollout."""


class Intents:
    """Puts holds and evidence onto the objects. Raises Unavailable when they could not be stored."""

    def __init__(self, writer: Writer, objects: Objects, swap: Swap) -> None:
        self._writer = writer
        self._objects = objects
        self._swap = swap

    async def hold(self, key: Key, hold: Hold, cause: Cause) -> Outcome:
        """Add one alert to the holds; the same alert twice is one hold."""

        def build(rollout: Object) -> Change | Outcome:
            holds = read_holds(rollout, HOLDS)
            if any(_same(item, hold.fingerprint, hold.starts_at) for item in holds):
                return Outcome(result="unchanged", message="this alert holds already")
            status = rollout.get("status") or {}
            if status.get("abort") or status.get("currentPodHash") == status.get("stableRS"):
                return Outcome(result="refused", message="no update is in progress")
            overruled = read_holds(current_set(self._objects, rollout), OVERRULED)
            if any(_same(item, hold.fingerprint, hold.starts_at) for item in overruled):
                return Outcome(result="unchanged", message="a person has overruled this alert")
            return annotated({HOLDS: encode_holds((*holds, hold))}, "held")

        outcome = await self._swap(key, build)
        if outcome.result == "done":
            log.warning("rollout.held", rollout=str(key), alert=hold.alert, reason=cause.summary)
        return outcome

    async def release(self, key: Key, fingerprint: str, starts_at: str) -> Outcome:
        """Take one alert off the holds."""

        def build(rollout: Object) -> Change | Outcome:
            holds = read_holds(rollout, HOLDS)
            left = tuple(item for item in holds if not _same(item, fingerprint, starts_at))
            if left == holds:
                return Outcome(result="unchanged", message="this alert does not hold")
            return annotated({HOLDS: encode_holds(left) if left else None}, "released")

        return await self._swap(key, build)

    async def note_deployment(self, key: Key, deployment: Deployment) -> Outcome:
        """Keep the evidence of a deployment: on the Rollout, and on the ReplicaSet that it is about.

        A sync is reported before the ReplicaSet of what it brought exists, or after: only when the newest
        spec is observed is the current ReplicaSet the one that was deployed.
        """
        text = msgspec.json.encode(deployment).decode()

        def build(rollout: Object) -> Change | Outcome:
            metadata, status = rollout["metadata"], rollout.get("status") or {}
            current: Object | None = None
            if status.get("observedGeneration") == str(metadata.get("generation")):
                current = current_set(self._objects, rollout)
            before: tuple[Other, ...] = ()
            if current is not None and _annotations(current).get(DEPLOYMENT) != text:
                before = (_annotated_set(current, {DEPLOYMENT: text}),)
            if not before and _annotations(rollout).get(DEPLOYMENT) == text:
                return Outcome(result="unchanged", message="known already")
            change = annotated({DEPLOYMENT: text}, "noted")
            return msgspec.structs.replace(change, before=before)

        return await self._swap(key, build)

    async def annotate(
        self, key: Key, annotations: dict[str, str | None], *, revision: bool
    ) -> Outcome:
        """Set our own annotations on the Rollout, or (`revision`) on the current ReplicaSet."""

        def build(rollout: Object) -> Change | Outcome:
            if _has(rollout, annotations):
                return Outcome(result="unchanged")
            return annotated(annotations, "annotated")

        if not revision:
            return await self._swap(key, build)
        rollout = self._objects.get(Ref("Rollout", *key))
        current = current_set(self._objects, rollout) if rollout is not None else None
        if current is None:
            return Outcome(result="refused", message="the current revision has no ReplicaSet")
        if _has(current, annotations):
            return Outcome(result="unchanged")
        try:
            await self._writer.metadata(*_annotated_set(current, annotations))
        except (Conflict, Invalid, Forbidden) as error:
            return Outcome(result="refused", message=str(error))
        return Outcome(result="done", message="annotated")


def current_set(objects: Objects, rollout: Object) -> Object | None:
    """The ReplicaSet of the current revision."""
    owned = objects.owned("ReplicaSet", str(rollout["metadata"].get("uid", "")))
    return find_revision(owned, str((rollout.get("status") or {}).get("currentPodHash", "")))


def annotated(annotations: dict[str, str | None], message: str) -> Change:
    """A change of the Rollout's annotations; None removes one."""
    patch = Patch("object", {"metadata": {"annotations": annotations}})
    return Change(patches=(patch,), message=message)


def overruling(
    objects: Objects, rollout: Object, by: str
) -> tuple[tuple[Other, ...], tuple[Patch, ...]]:
    """A person promotes over the holds in force: kept with the revision, then taken off the Rollout."""
    holds, current = read_holds(rollout, HOLDS), current_set(objects, rollout)
    if HOLDS not in _annotations(rollout):
        return (), ()
    off = Patch("object", {"metadata": {"annotations": {HOLDS: None}}})
    if current is None or not holds:
        return (), (off,)
    reason = f"overruled by {by}" if by else "overruled by a promote"
    named = (msgspec.structs.replace(hold, reason=reason) for hold in holds)
    known = read_holds(current, OVERRULED)
    return (_annotated_set(current, {OVERRULED: encode_holds((*known, *named))}),), (off,)


def forgetting(objects: Objects, rollout: Object) -> tuple[Other, ...]:
    """A new run of the same revision: what was overruled for the last one counts again."""
    current = current_set(objects, rollout)
    if current is None or OVERRULED not in _annotations(current):
        return ()
    return (_annotated_set(current, {OVERRULED: None}),)


def read_holds(obj: Object | None, annotation: str) -> tuple[Hold, ...]:
    """The holds in an annotation; one that cannot be read counts as none and is written anew."""
    try:
        return decode_holds(_annotations(obj or {}).get(annotation, ""))
    except ValueError:
        return ()


def _annotated_set(replica_set: Object, annotations: dict[str, str | None]) -> Other:
    metadata = replica_set["metadata"]
    ref = Ref("ReplicaSet", str(metadata["namespace"]), str(metadata["name"]))
    return ref, {"metadata": {"uid": metadata.get("uid"), "annotations": annotations}}


def _has(obj: Object, annotations: dict[str, str | None]) -> bool:
    known = _annotations(obj)
    return all(known.get(name) == value for name, value in annotations.items())


def _annotations(obj: Object) -> dict[str, str]:
    return (obj.get("metadata") or {}).get("annotations") or {}


def _same(hold: Hold, fingerprint: str, starts_at: str) -> bool:
    return (hold.fingerprint, hold.starts_at) == (fingerprint, starts_at)
