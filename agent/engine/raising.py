"""Raising the canary's weight: the one thing that can hurt users, so it is checked from both sides.

A raise is: the level check of alerts, the note of first exposure, a live read of the Rollout, the patch, and a
live read again. An abort or another revision seen at either end takes the weight back in the same act.
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import structlog

from agent.api.meta import Object, Ref
from agent.api.names import FIRST_EXPOSED, HOLDS, OVERRULED
from agent.api.times import format_time_ms
from agent.clock import Clock
from agent.engine import outbox
from agent.engine.crash_points import Reach
from agent.engine.exposure import exposes, find_revision, view_of
from agent.engine.fence import Fence, Superseded, Turn
from agent.engine.holds import read_holds
from agent.engine.level import LevelCheck
from agent.engine.observe import Observer
from agent.engine.port import View
from agent.engine.pruned import dropped_items
from agent.engine.write import Writer
from agent.errors import Conflict, Invalid, NotFound, Refused, Retry, SerinusError, Unavailable
from agent.rollout.managed_routes import gone
from agent.rollout.types import Write
from agent.traffic.types import Desired, Router

log = structlog.get_logger(__name__)

LOWER_TRIES: Final = 5
ALERT_RETRY_SECONDS: Final = 5.0
FULL_RETRY_SECONDS: Final = 5.0


class Raiser:
    """Sends the writes that expose the new version to more users."""

    def __init__(
        self,
        writer: Writer,
        observer: Observer,
        clock: Clock,
        *,
        level_check: LevelCheck,
        has_outlet: bool,
        reach: Reach,
    ) -> None:
        self._writer = writer
        self._observer = observer
        self._clock = clock
        self._level_check = level_check
        self._has_outlet = has_outlet
        self._reach = reach

    async def raise_routes(self, turn: Turn, writes: Sequence[Write], fence: Fence) -> bool:
        """Raise; whether anything was sent.

        Raises Retry when alerts or the outbox stand against it, Conflict when the Rollout changed (the
        weight is back then), Superseded when an abort came in, and what the cluster port raises.
        """
        await self.allow(turn, fence)
        await fence.check_live(turn)
        self._reach("before-raise")
        sent = False
        try:
            for write in writes:
                turn.check()
                if sent:
                    self._reach("between-raises")
                answer = await self._writer.send(write)
                sent = answer is not None or sent
                _check_kept(write, answer)
        except (SerinusError, Superseded) as error:
            # Whatever kept one of several from being raised: half a raise does not stay. Without an answer
            # the first of them may have been raised, too.
            if sent or (len(writes) > 1 and isinstance(error, Unavailable)):
                await self._take_back(turn, f"a route could not be raised: {error}", None)
            raise
        if sent:
            self._reach("after-raise")
            await self._look_back(turn, fence)
        return sent

    async def admit(self, turn: Turn, writes: Sequence[Write], fence: Fence) -> Sequence[Write]:
        """Check writes that expose users without moving a route; the writes to send instead.

        A ReplicaSet that exposes users from its first pod on is created with the note of when it did.
        """
        rollout, observation = fence.rollout, turn.observation
        router = self._observer.router(rollout)
        view = view_of(rollout, observation.replica_sets, observation.routes, router)
        exposing = [
            exposes(write, rollout, routed=router is not None, weight=view.canary_weight)
            for write in writes
        ]
        if not any(exposing):
            return writes
        await fence.hold(turn)
        await self.allow(turn, fence)
        at = format_time_ms(self._clock.now())
        return [
            _with_note(write, at) if exposed and write.verb == "create" else write
            for write, exposed in zip(writes, exposing, strict=True)
        ]

    async def allow(self, turn: Turn, fence: Fence) -> None:
        """Everything that must be true before users are exposed, and the note of when they first were."""
        rollout = fence.rollout
        if self._has_outlet and _is_full(rollout):
            raise Retry(
                "announcements cannot be delivered: nothing is raised until the outbox has room",
                after_seconds=FULL_RETRY_SECONDS,
            )
        observation = turn.observation
        router = self._observer.router(rollout)
        view = view_of(rollout, observation.replica_sets, observation.routes, router)
        try:
            clear = await self._level_check(view)
        except Unavailable as error:
            raise Retry(
                f"active alerts cannot be told ({error}): nothing is raised until they can",
                after_seconds=error.retry_after_seconds or ALERT_RETRY_SECONDS,
            ) from error
        turn.check()
        if not clear and not self._is_overruled(view, turn):
            raise Retry("an active alert stands against it", after_seconds=ALERT_RETRY_SECONDS)
        await self._note_exposure(turn, view)

    def _is_overruled(self, view: View, turn: Turn) -> bool:
        """Whether the alerts that fire set no hold because a person has promoted over them."""
        new_set = find_revision(turn.observation.replica_sets, view.current_hash)
        if not read_holds(new_set, OVERRULED):
            return False
        rollout = self._observer.rollout(turn.key) or {}
        aborted = bool((rollout.get("status") or {}).get("abort"))
        return not aborted and not read_holds(rollout, HOLDS)

    async def _note_exposure(self, turn: Turn, view: View) -> None:
        new_set = find_revision(turn.observation.replica_sets, view.current_hash)
        if new_set is None or view.first_exposed is not None:
            return
        metadata = new_set["metadata"]
        at = format_time_ms(self._clock.now())
        await self._writer.metadata(
            Ref("ReplicaSet", turn.key.namespace, str(metadata["name"])),
            {"metadata": {"uid": metadata.get("uid"), "annotations": {FIRST_EXPOSED: at}}},
        )

    async def _look_back(self, turn: Turn, fence: Fence) -> None:
        """The second read. Raises Conflict or Superseded after it took the weight back."""
        try:
            live = await self._writer.get(Ref("Rollout", *turn.key))
        except NotFound as error:
            await self._take_back(turn, "the rollout was deleted", None)
            raise Conflict(f"{turn.key} was deleted") from error
        reason = _reason_to_lower(fence.rollout, live)
        if turn.epoch.ended:
            reason = reason or "an abort is under way"
        if reason:
            await self._take_back(turn, reason, live)
            raise Conflict(f"{turn.key}: {reason}")

    async def _take_back(self, turn: Turn, reason: str, live: Object | None) -> None:
        """Put weight and managed routes to what they were before this pass, or off after an abort."""
        rollout = turn.observation.rollout
        router, typed = self._observer.router(rollout), self._observer.typed(rollout)
        if router is None or typed is None:
            return
        aborted = turn.epoch.ended or bool(((live or {}).get("status") or {}).get("abort"))
        before = turn.observation.routes
        weight = 0 if aborted else router.canary_weight(typed, before) or 0
        kept = () if aborted else router.managed_routes(typed, before)
        log.warning("raise.taken_back", rollout=str(turn.key), reason=reason, weight=weight)
        await lower(self._writer, router, self._observer, rollout, weight, keep=kept)


async def lower(
    writer: Writer,
    router: Router,
    observer: Observer,
    rollout: Object,
    weight: int,
    *,
    keep: Sequence[str] = (),
    trust_cache: bool = False,
    wrote_at: Callable[[], None] = lambda: None,
) -> bool:
    """Bring the canary's live weight down to `weight`, and its header and mirror routes away but those in
    `keep`; whether a write was needed.

    Urgent and bounded; `wrote_at` is called after every write. It ends only when both were read from an answer
    of the API server; with `trust_cache` the first patch is made from the cache (its `test`s catch what the
    cache did not know).

    Raises Refused when the routes cannot be planned, Retry when others kept writing, and what the cluster
    port raises.
    """
    typed = observer.typed(rollout)
    if typed is None:
        raise Refused("the Rollout cannot be read")
    going = tuple(route for route in gone(typed) if route.name not in keep)
    wrote, known = False, False
    for attempt in range(LOWER_TRIES):
        if not known and not (trust_cache and attempt == 0):
            await _read_routes(writer, router.references(typed))
            known = True
        routes = observer.routes(rollout)
        current = router.canary_weight(typed, routes)
        is_low = current is not None and current <= weight
        if is_low and set(router.managed_routes(typed, routes)).issubset(keep):
            if known:
                return wrote
            continue
        aim = Desired(canary_weight=None if is_low else weight, managed=going)
        plan = router.plan(typed, routes, aim)
        # A plan for routes that have drifted apart may hold a raise of one of them: not here.
        lowers = [change for change in plan.changes if change.direction == "lower"]
        failed: SerinusError | None = None
        for change in lowers:
            # One route that cannot be written must not keep the others exposed.
            try:
                await writer.json(change.ref, list(change.patch), urgent=True)
            except SerinusError as error:
                failed = error if failed is None or isinstance(failed, Conflict) else failed
            else:
                wrote = True
                wrote_at()
        if isinstance(failed, Conflict):
            known = False
            continue
        if failed is not None:
            raise failed
        # Routes that are in order were lowered all the same: one that is missing must not expose the others.
        if plan.refusal is not None:
            raise Refused(plan.refusal.detail, field=plan.refusal.field)
        if not lowers:
            raise Refused("the canary's weight cannot be told from the routes")
        # Only what answered was read: another route of the rollout may have been raised meanwhile.
        known = len(lowers) == len(router.references(typed))
    raise Retry("others kept writing the routes", after_seconds=0.1)


async def _read_routes(writer: Writer, refs: Sequence[Ref]) -> None:
    for ref in refs:
        with contextlib.suppress(NotFound):
            await writer.get(ref, urgent=True)


def _reason_to_lower(fenced: Object, live: Object) -> str:
    if live["metadata"].get("uid") != fenced["metadata"].get("uid"):
        return "another rollout has its name now"
    before, after = fenced.get("status") or {}, live.get("status") or {}
    # An abort that the pass knew of is no news: what it raises then is weight on the stable version.
    if after.get("abort") and not before.get("abort"):
        return "it was aborted"
    if _without_replicas(live) != _without_replicas(fenced):
        return "its spec changed"
    if after.get("currentPodHash") != before.get("currentPodHash"):
        return "another revision was started"
    return ""


def _without_replicas(rollout: Object) -> dict[str, object]:
    # An autoscaler changes the number of replicas at any time; that says nothing about the revision.
    return {name: value for name, value in rollout["spec"].items() if name != "replicas"}


def _check_kept(write: Write, answer: Object | None) -> None:
    """What an older CRD has dropped may have been the very condition of a rule: that one must not stay."""
    lost = dropped_items(write.body, answer) if write.verb == "json" and answer else ()
    if lost:
        raise Invalid(
            f"{write.ref}: the API server drops {', '.join(lost)} of what is written: install a newer version of the "
            "CRD, or leave it out of the step"
        )


def _with_note(write: Write, at: str) -> Write:
    metadata = write.body["metadata"]
    annotations = {**(metadata.get("annotations") or {}), FIRST_EXPOSED: at}
    body = {**write.body, "metadata": {**metadata, "annotations": annotations}}
    return msgspec.structs.replace(write, body=body)


def _is_full(rollout: Object) -> bool:
    try:
        return outbox.is_full(outbox.stored(rollout.get("status") or {}))
    except ValueError:
        return True
