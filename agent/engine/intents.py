"""Intents of alerts and deployments: holds and evidence, put onto the objects by compare-and-swap."""

from collections.abc import Mapping
from typing import Final

import msgspec
import structlog

from agent.api.holds import Hold, encode_holds
from agent.api.meta import Key, Object, Ref
from agent.api.names import DEPLOYMENT, HOLDS, OVERRULED, PAUSED_BY_HOLD
from agent.engine.holds import Form, annotated, annotation_form, annotations_of, read_holds
from agent.engine.notes import Noted, Notes, current_set
from agent.engine.observe import Objects
from agent.engine.port import Outcome
from agent.engine.swap import Change, Swap
from agent.engine.write import Writer
from agent.errors import Conflict, Forbidden, Invalid
from agent.events.catalogue import Cause, Deployment
from agent.rollout.operator import Patch

log = structlog.get_logger(__name__)

NOTE_TRIES: Final = 3


class Intents:
    """Puts holds and evidence onto the objects. Raises Unavailable when they could not be stored.

    Args:
        form: what a hold is written as.
    """

    def __init__(
        self,
        writer: Writer,
        objects: Objects,
        swap: Swap,
        notes: Notes,
        form: Form = annotation_form,
    ) -> None:
        self._writer = writer
        self._objects = objects
        self._swap = swap
        self._notes = notes
        self._form = form

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
            return self._form(rollout, (*holds, hold), "held")

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
            return self._form(rollout, left, "released")

        return await self._swap(key, build)

    async def note_deployment(self, key: Key, deployment: Deployment) -> Outcome:
        """Keep the evidence of a deployment: on the Rollout, and with the revision that it is about.

        A sync is reported before the ReplicaSet of what it brought exists, or after: only when the newest
        spec is observed is the current ReplicaSet the one that was deployed.
        """
        text = msgspec.json.encode(deployment).decode()

        def build(rollout: Object) -> Change | Outcome:
            metadata, status = rollout["metadata"], rollout.get("status") or {}
            current: Object | None = None
            if status.get("observedGeneration") == str(metadata.get("generation")):
                current = current_set(self._objects, rollout)
            noted = Noted()
            if current is not None and annotations_of(current).get(DEPLOYMENT) != text:
                noted = self._notes.note(rollout, {DEPLOYMENT: text}) or noted
            if noted == Noted() and annotations_of(rollout).get(DEPLOYMENT) == text:
                return Outcome(result="unchanged", message="known already")
            change = annotated({DEPLOYMENT: text}, "noted")
            return msgspec.structs.replace(
                change, before=noted.before, patches=(*noted.patches, *change.patches)
            )

        return await self._swap(key, build)

    async def annotate(
        self, key: Key, annotations: dict[str, str | None], *, revision: bool
    ) -> Outcome:
        """Set our own annotations on the Rollout, or (`revision`) keep them with the current revision."""

        def build(rollout: Object) -> Change | Outcome:
            if not revision:
                if _has(rollout, annotations):
                    return Outcome(result="unchanged")
                return annotated(annotations, "annotated")
            current = current_set(self._objects, rollout)
            noted = self._notes.note(rollout, annotations) if current is not None else None
            if current is None or noted is None:
                message = "the current revision has no ReplicaSet"
                return Outcome(result="refused", message=message)
            if _has(current, annotations):
                return Outcome(result="unchanged")
            return Change(before=noted.before, patches=noted.patches, message="annotated")

        if not revision:
            return await self._swap(key, build)
        # A note is no reason to read the Rollout before; after a lost race the cache has it anew.
        outcome = Outcome(result="refused", message="there is no such rollout")
        for _ in range(NOTE_TRIES):
            rollout = self._objects.get(Ref("Rollout", *key))
            change = build(rollout) if rollout is not None else outcome
            if rollout is None or isinstance(change, Outcome):
                return change if isinstance(change, Outcome) else outcome
            try:
                await self._swap.write(key, rollout, change)
            except (Conflict, Invalid, Forbidden) as error:
                outcome = Outcome(result="refused", message=str(error))
            else:
                return Outcome(result="done", message="annotated")
        return outcome


def overruling(
    objects: Objects, notes: Notes, rollout: Object, by: str
) -> tuple[Noted, tuple[Patch, ...]]:
    """A person promotes over the holds in force: kept with the revision, then taken off the Rollout."""
    holds, current = read_holds(rollout, HOLDS), current_set(objects, rollout)
    marks = [name for name in (HOLDS, PAUSED_BY_HOLD) if name in annotations_of(rollout)]
    if not marks:
        return Noted(), ()
    off = Patch("object", {"metadata": {"annotations": dict.fromkeys(marks)}})
    if current is None or not holds:
        return Noted(), (off,)
    reason = f"overruled by {by}" if by else "overruled by a promote"
    named = (msgspec.structs.replace(hold, reason=reason) for hold in holds)
    known = read_holds(current, OVERRULED)
    noted = notes.note(rollout, {OVERRULED: encode_holds((*known, *named))})
    return noted or Noted(), (off,)


def forgetting(objects: Objects, notes: Notes, rollout: Object) -> Noted:
    """A new run of the same revision: what was overruled for the last one counts again."""
    current = current_set(objects, rollout)
    if current is None or OVERRULED not in annotations_of(current):
        return Noted()
    return notes.note(rollout, {OVERRULED: None}) or Noted()


def _has(obj: Object, annotations: Mapping[str, str | None]) -> bool:
    known = annotations_of(obj)
    return all(known.get(name) == value for name, value in annotations.items())


def _same(hold: Hold, fingerprint: str, starts_at: str) -> bool:
    return (hold.fingerprint, hold.starts_at) == (fingerprint, starts_at)
