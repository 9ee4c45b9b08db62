"""The decision in the making: the one place where a pass collects what it will do. PURE.

A draft lives inside one call of `decide`; nothing outside ever sees it change.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec

from agent.api.meta import Ref
from agent.api.rollout import PauseCondition, Rollout, RolloutStatus, RunReference
from agent.api.service_roles import ServiceRoles, service_roles
from agent.api.times import format_time
from agent.events.catalogue import Cause
from agent.rollout import replica_sets
from agent.rollout.facts import Facts
from agent.rollout.replica_sets import ReplicaSetView
from agent.rollout.types import Record, Stage, Write


class Draft:
    """Facts, the next status, and the writes that go with it.

    Attributes:
        status: the next status, replaced field by field.
        cause: why the rollout was aborted in this pass, None when it was not.
        waits: what the rollout waits for, in sentences; the first one becomes Decision.why.
        blocked: why nothing may be raised in this pass; "" when it may.
        completed_steps: indexes of the steps that this pass completes.
        drift: the canary's weight as we knew it, and as somebody else made it.
        verdicts: analysis runs that have ended since the last pass.
    """

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.status: RolloutStatus = facts.rollout.status
        self.writes: list[Write] = []
        self.records: list[Record] = []
        self.wakes: list[datetime] = []
        self.waits: list[str] = []
        self.cause: Cause | None = None
        self.blocked = ""
        self.completed_steps: list[int] = []
        self.drift: tuple[int, int] | None = None
        self.verdicts: list[RunReference] = []

    @property
    def rollout(self) -> Rollout:
        """The Rollout with the status as it will be."""
        return msgspec.structs.replace(self.facts.rollout, status=self.status)

    @property
    def services(self) -> ServiceRoles:
        """Canary and stable Service by the next status."""
        return service_roles(self.rollout)

    @property
    def stable(self) -> ReplicaSetView | None:
        """The stable ReplicaSet by the next status: the new one in the very pass that promotes it."""
        return replica_sets.by_hash(self.facts.sets, self.status.stable_rs)

    @property
    def in_progress(self) -> bool:
        """Whether the version of the spec is another one than the stable version."""
        return bool(self.status.stable_rs) and self.status.stable_rs != self.facts.new_hash

    def set(self, **fields: Any) -> None:
        """Change fields of the next status."""
        self.status = msgspec.structs.replace(self.status, **fields)

    def set_canary(self, **fields: Any) -> None:
        """Change fields of the next status.canary."""
        self.set(canary=msgspec.structs.replace(self.status.canary, **fields))

    def write(self, write: Write) -> None:
        self.writes.append(write)

    def record(self, reason: str, message: str, *, warning: bool = False) -> None:
        self.records.append(
            Record(reason=reason, message=message, type="Warning" if warning else "Normal")
        )

    def wake(self, at: datetime | None) -> None:
        if at is not None:
            self.wakes.append(at)

    def wait(self, sentence: str, until: datetime | None = None) -> None:
        """Name a wait (invariant I9); `until` is when it is looked at again."""
        self.waits.append(sentence)
        self.wake(until)

    # Pauses.

    @property
    def is_promoted_by_person(self) -> bool:
        """Argo's protocol: an engine that pauses, without a condition, was told by a person to go on."""
        before = self.facts.rollout.status
        return before.controller_pause and not before.pause_conditions

    def paused_for(self, reason: str) -> PauseCondition | None:
        """The pause condition of that reason."""
        return next((p for p in self.status.pause_conditions or () if p.reason == reason), None)

    def pause(self, reason: str) -> None:
        """Add a pause condition that starts now, unless it is there."""
        if self.paused_for(reason) is None:
            condition = PauseCondition(reason=reason, start_time=format_time(self.facts.now))
            self.set(
                pause_conditions=[*(self.status.pause_conditions or ()), condition],
                controller_pause=True,
            )

    def unpause(self, *reasons: str) -> None:
        """Take pause conditions away; without any left the engine no longer pauses."""
        kept = [p for p in self.status.pause_conditions or () if p.reason not in reasons]
        self.set(pause_conditions=kept or None, controller_pause=bool(kept))

    def abort(self, message: str, cause: Cause) -> None:
        """Abort the update; the message follows `Rollout aborted update to revision N: `."""
        if self.status.abort:
            return
        self.set(abort=True, aborted_at=format_time(self.facts.now))
        self.abort_message = message
        self.cause = cause

    abort_message: str = ""


def merge(
    stage: Stage, ref: Ref, body: dict[str, Any], reason: str, *, guarded: bool = True
) -> Write:
    """A merge patch as a write."""
    return Write(stage=stage, verb="merge", ref=ref, body=body, reason=reason, guarded=guarded)


def earliest(times: Iterable[datetime]) -> datetime | None:
    return min(times, default=None)
