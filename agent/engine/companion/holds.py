"""Holds beside another engine: when they end without their alerts' doing, `spec.paused` ends with them.

So it does with an abort: while `spec.paused` is set Argo moves no pods, and after a change of replicas not even
the weight.
"""

import msgspec

from agent.api.meta import Key, Object
from agent.api.names import HOLDS, PAUSED_BY_HOLD
from agent.engine.holds import Form, annotations_of
from agent.engine.intents import overruling
from agent.engine.notes import Notes
from agent.engine.observe import Objects
from agent.engine.port import Outcome
from agent.engine.swap import Change, Swap


class Holds:
    """Looks after the holds of a companion.

    Args:
        form: what a hold is written as (agent.engine.holds.pausing_form).
    """

    def __init__(self, objects: Objects, swap: Swap, notes: Notes, form: Form) -> None:
        self._objects = objects
        self._swap = swap
        self._notes = notes
        self._form = form

    async def settle(self, key: Key) -> Outcome:
        """End the holds of a rollout that they no longer hold. Raises Unavailable."""
        return await self._swap(key, self._settled)

    def _settled(self, rollout: Object) -> Change | Outcome:
        if not is_unsettled(rollout):
            return Outcome(result="unchanged", message="its holds are in force")
        if not _is_under_way(rollout):
            return self._form(rollout, (), "no update is in progress")
        # Whoever took the pause away did not want it: the same alerts do not hold this revision again.
        noted, off = overruling(self._objects, self._notes, rollout, "")
        change = Change(patches=off, message="overruled")
        return msgspec.structs.replace(
            change, before=noted.before, patches=(*noted.patches, *change.patches)
        )


def is_unsettled(rollout: Object) -> bool:
    """Whether the holds on a Rollout have ended by what became of it."""
    annotations = annotations_of(rollout)
    if HOLDS not in annotations and PAUSED_BY_HOLD not in annotations:
        return False
    is_paused = bool((rollout.get("spec") or {}).get("paused"))
    return not _is_under_way(rollout) or (PAUSED_BY_HOLD in annotations and not is_paused)


def _is_under_way(rollout: Object) -> bool:
    status = rollout.get("status") or {}
    current, stable = status.get("currentPodHash"), status.get("stableRS")
    return bool(current and stable and current != stable and not status.get("abort"))
