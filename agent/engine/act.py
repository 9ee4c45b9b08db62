"""Act: one decision becomes writes, in the order that keeps users safe.

Routes down, the fence, pods up, selectors, routes up, pods down, analysis, the status of what was done. The
fence is the status by compare-and-swap on what was observed: whoever loses it sends nothing that raises a
weight, moves a selector or removes a pod. A failed write ends the pass; the next one starts from what is
true then.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
import structlog

from agent.api.meta import Key, Object
from agent.api.names import OUTBOX_CONDITION
from agent.clock import Clock
from agent.engine import outbox
from agent.engine.crash_points import Reach
from agent.engine.fence import Fence, Turn
from agent.engine.outlet import Outlet
from agent.engine.pruned import Pruned, merge_diff
from agent.engine.raising import Raiser
from agent.engine.records import TakeRecords
from agent.engine.write import Writer, version_of
from agent.errors import SerinusError
from agent.events.catalogue import Weights
from agent.rollout.types import Announcement, Stage, Write

log = structlog.get_logger(__name__)

_REACH_AFTER: Final = {
    Stage.PODS_UP: "after-pods-up",
    Stage.SELECTORS: "after-selectors",
    Stage.ROUTES_UP: "after-routes-up",
    Stage.PODS_DOWN: "after-pods-down",
    Stage.ANALYSIS: "after-analysis",
}


class Actor:
    """Carries out decisions.

    Args:
        outlet: None when nobody listens: then nothing is put into the outbox.
    """

    def __init__(
        self,
        writer: Writer,
        raiser: Raiser,
        pruned: Pruned,
        clock: Clock,
        recorder: TakeRecords,
        *,
        outlet: Outlet | None,
        reach: Reach,
        counted_drift: Callable[[str], None] = lambda _direction: None,
    ) -> None:
        self._counted_drift = counted_drift
        self._writer = writer
        self._raiser = raiser
        self._pruned = pruned
        self._clock = clock
        self._recorder = recorder
        self._outlet = outlet
        self._reach = reach

    async def act(self, turn: Turn) -> bool:
        """Carry out one decision; whether anything was written.

        Raises Superseded, Conflict, Retry, Unavailable, Invalid or Forbidden at the first write that
        did not go through.
        """
        staged = _by_stage(turn.decision.writes)
        wrote = await self._lower(turn, staged.get(Stage.ROUTES_DOWN, ()))
        if wrote:
            self._reach("before-fence")
        lowered_at = self._clock.now() if wrote else None
        fence = await self._fence(turn)
        try:
            raised_at, sent = await self._after_fence(turn, fence, staged)
            await self._note_done(turn, fence, raised_at or lowered_at)
        finally:
            # The transition is stored, so no later pass repeats these; they wait until the weight is done.
            self._recorder(turn.observation.rollout, turn.decision.records)
        return wrote or fence.written or sent

    async def _after_fence(
        self, turn: Turn, fence: Fence, staged: dict[Stage, list[Write]]
    ) -> tuple[datetime | None, bool]:
        raised_at, sent = None, False
        for stage in (
            Stage.PODS_UP, Stage.SELECTORS, Stage.ROUTES_UP, Stage.PODS_DOWN, Stage.ANALYSIS,
            Stage.HOUSEKEEPING,
        ):  # fmt: skip
            writes: Sequence[Write] = staged.get(stage, ())
            if not writes:
                continue
            if stage is Stage.ROUTES_UP:
                done = await self._raiser.raise_routes(turn, writes, fence)
                raised_at = self._clock.now() if done else None
            else:
                if any(write.guarded for write in writes):
                    await fence.hold(turn)
                writes = await self._raiser.admit(turn, writes, fence)
                done = await self._send(turn, writes, fence)
            sent = sent or done
            if done and stage in _REACH_AFTER:
                self._reach(_REACH_AFTER[stage])
        return raised_at, sent

    async def _lower(self, turn: Turn, writes: Sequence[Write]) -> bool:
        """Send every lower, whatever became of the one before; raises the first failure afterwards."""
        sent, failed = False, None
        for write in writes:
            turn.check()
            if sent:
                self._reach("between-lowers")
            try:
                sent = await self._writer.send(write) is not None or sent
            except SerinusError as error:
                failed = failed or error
        if failed is not None:
            raise failed
        return sent

    async def _send(self, turn: Turn, writes: Sequence[Write], fence: Fence | None) -> bool:
        sent = False
        for write in writes:
            turn.check()
            if fence is not None and write.ref == fence.ref and write.verb == "merge":
                # Ours to the Rollout itself: by compare-and-swap as well, and the fence moves along.
                answer = await self._writer.send(_conditional(write, fence))
                if answer is not None:
                    fence.moved(answer)
            else:
                answer = await self._writer.send(write)
            sent = sent or answer is not None
        return sent

    async def _fence(self, turn: Turn) -> Fence:
        """Write the status with its announcements, by compare-and-swap; nothing when nothing changes."""
        rollout, decision = turn.observation.rollout, turn.decision
        before, after = (
            _without_outbox(rollout.get("status") or {}),
            _without_outbox(decision.status),
        )
        keepable = self._pruned.keepable
        patch = merge_diff(keepable("Rollout", before), keepable("Rollout", after))
        announce = decision.announce if self._outlet is not None else ()
        if not patch and not announce:
            return Fence(self._writer, rollout, written=False)
        conditions = self._conditions(turn.key, rollout, after, announce)
        if "conditions" in patch or conditions != _conditions(rollout.get("status") or {}):
            patch["conditions"] = conditions or None
        turn.check()
        answer = await self._writer.status(turn.key, patch, version_of(rollout))
        self._reach("after-fence")
        for item in decision.announce:
            log.info("rollout.transition", rollout=str(turn.key), transition=item.transition)
            if item.transition == "drifted" and item.data.weights is not None:
                self._drifted(turn.key, item.data.weights)
        return Fence(self._writer, answer, written=True)

    def _drifted(self, key: Key, weights: Weights) -> None:
        up = weights.after > weights.before
        self._counted_drift("up" if up else "down")
        log.warning(
            "route.foreign_weight",
            rollout=str(key),
            weight_before=weights.before,
            weight_after=weights.after,
        )

    async def _note_done(self, turn: Turn, fence: Fence, at: datetime | None) -> None:
        """Store what is a fact only now that the routes are written."""
        facts = turn.decision.after_routes
        if not facts or self._outlet is None:
            return
        turn.check()
        if at is not None:
            facts = tuple(outbox.timed(item, at) for item in facts)
        status = fence.rollout.get("status") or {}
        conditions = self._conditions(turn.key, fence.rollout, _without_outbox(status), facts)
        answer = await self._writer.status(
            turn.key, {"conditions": conditions}, fence.resource_version
        )
        fence.moved(answer)
        self._reach("after-done-status")

    def _conditions(
        self,
        key: Key,
        observed: Object,
        status: dict[str, Any],
        announce: Sequence[Announcement],
    ) -> list[dict[str, Any]]:
        """The status's conditions with what waits in the observed outbox and what is announced now."""
        if self._outlet is None:
            return _conditions(status)
        return self._outlet.conditions(key, observed, status, announce, self._clock.now())


def _conditional(write: Write, fence: Fence) -> Write:
    metadata = {
        **(write.body.get("metadata") or {}),
        "resourceVersion": fence.resource_version,
    }
    return msgspec.structs.replace(write, body={**write.body, "metadata": metadata})


def _by_stage(writes: Sequence[Write]) -> dict[Stage, list[Write]]:
    staged: dict[Stage, list[Write]] = {}
    for write in writes:
        staged.setdefault(write.stage, []).append(write)
    return staged


def _conditions(status: dict[str, Any]) -> list[dict[str, Any]]:
    return list(status.get("conditions") or ())


def _without_outbox(status: dict[str, Any]) -> dict[str, Any]:
    kept = [item for item in _conditions(status) if item.get("type") != OUTBOX_CONDITION]
    return {**status, "conditions": kept} if "conditions" in status else status
