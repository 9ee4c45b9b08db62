"""The engine: wakes in, writes out. It owns every task that drives rollouts."""

import asyncio
import random
from collections.abc import Coroutine, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import structlog

from agent.api.holds import Hold
from agent.api.meta import Key, Object, Ref
from agent.bus.port import Bus
from agent.clock import Clock
from agent.cluster.port import Cluster
from agent.engine.abort import Aborts
from agent.engine.act import Actor
from agent.engine.announce import Relay, Subscriber
from agent.engine.backoff import Backoff
from agent.engine.commands import Commands, Request
from agent.engine.crash_points import Reach, pass_by
from agent.engine.exposure import view_of
from agent.engine.intents import Intents
from agent.engine.interest import Interest
from agent.engine.lane import Lanes
from agent.engine.leftovers import KIND as DESTINATION_RULE
from agent.engine.leftovers import Leftovers
from agent.engine.metrics import Meter
from agent.engine.notice import Notice
from agent.engine.observe import Objects, Observer, Routers
from agent.engine.outlet import Outlet
from agent.engine.ownership import Ownership, SoleOwner
from agent.engine.passes import Decide, Passes, Wait
from agent.engine.port import Outcome, View
from agent.engine.pruned import Pruned
from agent.engine.quarantine import Quarantine
from agent.engine.raising import LevelCheck, Raiser, no_alerts
from agent.engine.records import Recorder
from agent.engine.swap import Swap
from agent.engine.sweep import PERIOD_SECONDS, Sweep
from agent.engine.timers import Timers
from agent.engine.write import Writer
from agent.errors import SerinusError, Unavailable
from agent.events.catalogue import Cause, Command, Deployment, Expect
from agent.rollout.types import Policy

log = structlog.get_logger(__name__)


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of the engine.

    Attributes:
        source: CloudEvents `source` of what is announced.
        topic: topic of outgoing events.
        parallel: passes under way at the same time.
        dump_directory: where dumps of failures go; None writes none.
        shutdown_seconds: how long stopping may take before tasks are cancelled.
        seed: of the jitter; None draws one.
    """

    source: str = "serinus"
    topic: str = "serinus.rollouts"
    policy: Policy = Policy()
    parallel: int = 64
    dump_directory: Path | None = None
    shutdown_seconds: float = 10.0
    seed: int | None = None


class RolloutEngine:
    """Implements agent.engine.port.Engine.

    Args:
        objects: the cache; its owner has `changed` called with every change of it.
        bus, subscribers: where announcements go; with neither nothing is put into the outbox.
        reach: called at the crash points.
    """

    def __init__(
        self,
        cluster: Cluster,
        objects: Objects,
        clock: Clock,
        decide: Decide,
        routers: Routers,
        *,
        options: Options | None = None,
        bus: Bus | None = None,
        subscribers: Sequence[Subscriber] = (),
        ownership: Ownership | None = None,
        level_check: LevelCheck = no_alerts,
        reach: Reach = pass_by,
        meter: Meter | None = None,
    ) -> None:
        self._options = options = options or Options()
        self._objects = objects
        self._clock = clock
        self._ownership: Ownership = ownership or SoleOwner()
        self._level_check = level_check
        self._group: asyncio.TaskGroup | None = None
        self._stopping = asyncio.Event()
        self._aborting: set[asyncio.Task[None]] = set()
        self._interest = Interest()
        meter = meter or Meter()
        rng = random.Random(options.seed)  # noqa: S311 - jitter, not a secret
        pruned = Pruned()
        self._writer = writer = Writer(cluster, objects, pruned, counted=meter.wrote)
        self._observer = Observer(objects, routers, options.policy)
        listens = bus is not None or bool(subscribers)
        self._outlet = Outlet(options.source) if listens else None
        self._recorder = Recorder(cluster, clock, counted=meter.recorded)
        raiser = Raiser(
            writer,
            self._observer,
            clock,
            level_check=self._check_level,
            has_outlet=listens,
            reach=reach,
        )
        actor = Actor(
            writer,
            raiser,
            pruned,
            clock,
            self._recorder.record,
            outlet=self._outlet,
            reach=reach,
            counted_drift=meter.drifted,
        )
        self._timers = Timers(self.wake, clock)
        self._quarantine = Quarantine(options.dump_directory)
        self._passes = Passes(
            self._observer,
            decide,
            routers,
            actor,
            self._timers,
            self._quarantine,
            Backoff(rng),
            clock,
            owns=self._ownership.owns,
            interest=self._interest,
            notice=Notice(writer, objects, self._outlet, clock),
            counted=meter.passed,
        )
        self._lanes = Lanes(self._passes.run, parallel=options.parallel, waited=meter.waited)
        self._sweep = Sweep(self._keys, self._passes.last_pass.get, self.wake, clock)
        self._relay = (
            Relay(
                objects,
                writer,
                self._outlet,
                Backoff(rng),
                clock,
                bus=bus,
                topic=options.topic,
                subscribers=subscribers,
                owns=self._ownership.owns,
                reach=reach,
                counted=meter.announced,
            )
            if self._outlet is not None
            else None
        )
        self._aborts = Aborts(
            writer=writer,
            objects=objects,
            observer=self._observer,
            clock=clock,
            suspended=self._lanes.suspended,
            spawn=self._spawn_abort,
            outlet=self._outlet,
            recorder=self._recorder.record,
            reach=reach,
            timed=meter.aborted,
        )
        self._leftovers = Leftovers(
            objects, self._observer, writer, owns=self._ownership.owns, spawn=self._spawn_cleaning
        )
        swap = Swap(writer, objects, reach)
        self._intents = Intents(writer, objects, swap)
        self._commands = Commands(objects, clock, swap, self._writer)
        self._ownership.on_change(self._wake_all)

    # The life of the engine.

    async def run(self) -> None:
        """Drives rollouts until `stop`; the cache must be filled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            helpers = [
                group.create_task(self._timers.run(), name="timers"),
                group.create_task(self._sweep.run(), name="sweep"),
                group.create_task(self._recorder.run(), name="recorder"),
            ]
            group.create_task(self._lanes.run(), name="lanes")
            if self._relay is not None:
                group.create_task(self._relay.run(), name="relay")
            self._wake_all()
            await self._stopping.wait()
            await self._shut_down()
            for helper in helpers:
                helper.cancel()
        self._group = None

    def stop(self) -> None:
        """Have `run` stop in order: no new passes, those under way end, announcements go out."""
        self._stopping.set()

    async def _shut_down(self) -> None:
        share = self._options.shutdown_seconds / 2
        lanes = await self._lanes.drain(share)
        if self._aborting:
            await asyncio.wait(tuple(self._aborting), timeout=share / 2)
        for task in tuple(self._aborting):
            task.cancel()
        outboxes = True
        if self._relay is not None:
            outboxes = await self._relay.flush(tuple(self._owned()), share / 2)
        records = await self._recorder.flush(share / 2)
        log.info("engine.stopped", lanes=lanes, outboxes=outboxes, records=records)

    # What wakes it.

    def wake(self, key: Key, cause: str, *, urgent: bool = False) -> None:
        """Look at this rollout soon; `urgent` does not wait for the end of a backoff."""
        if self._objects.get(Ref("Rollout", *key)) is not None and self._ownership.owns(key):
            self._lanes.wake(key, cause, urgent=urgent)

    def wake_due(self) -> None:
        """Look at everything that is due or was quiet for too long, outboxes included."""
        self._timers.fire()
        self._sweep.look(range(PERIOD_SECONDS))
        self._look_at_outboxes()

    def changed(self, ref: Ref, old: Object | None, new: Object | None) -> None:
        """The cache shows a change (None: absent): wake those it matters to."""
        obj = new or old
        if obj is None:
            return
        for key in self._observer.changed(ref, new):
            self.wake(key, "neighbour")
        for key in tuple(self._interest.of(ref, obj)):
            self.wake(key, ref.kind, urgent=self._observer.is_overexposed(key, ref))
        if self._group is not None and ref.kind in ("Rollout", DESTINATION_RULE):
            self._look_for_leftovers(ref, old, new)
        if ref.kind == "Rollout":
            key = Key(ref.namespace, ref.name)
            if new is None:
                self._interest.set(key, ())
                self._lanes.wake(key, "deleted")
            elif self._relay is not None:
                self._relay.look(new)
        elif ref.kind == "Namespace":
            for key in self._keys():
                if key.namespace == ref.name:
                    self.wake(key, "namespace")

    def use_level_check(self, level_check: LevelCheck) -> None:
        """Ask this before every raise, at the start of a run and at a retry."""
        self._level_check = level_check

    # What can be seen.

    def views(self, namespace: str | None = None) -> Iterable[View]:
        """Rollouts from the cache (of one namespace, or all)."""
        for rollout in self._objects.list("Rollout", namespace):
            yield self._view(rollout)

    def view(self, key: Key) -> View | None:
        """One rollout from the cache."""
        rollout = self._objects.get(Ref("Rollout", *key))
        return self._view(rollout) if rollout is not None else None

    def find(self, kind: str, namespace: str, name: str) -> Object | None:
        """Another object from the cache."""
        return self._objects.get(Ref(kind, namespace, name))

    def replica_sets(self, key: Key) -> Iterable[Object]:
        """The ReplicaSets that this rollout controls, from the cache."""
        rollout = self._objects.get(Ref("Rollout", *key))
        if rollout is None:
            return ()
        return tuple(self._objects.owned("ReplicaSet", str(rollout["metadata"].get("uid", ""))))

    def wait_of(self, key: Key) -> Wait | None:
        """What this rollout waits for, who can end it, when it is looked at again."""
        return self._passes.waits.get(key)

    # What people, programs and alerts want.

    async def abort(self, key: Key, cause: Cause) -> Outcome:
        """The abort path (urgent). Idempotent; returns once the intent is on the object."""
        return await self._aborts.abort(key, cause)

    async def hold(self, key: Key, hold: Hold, cause: Cause) -> Outcome:
        """Add one alert to the holds of the rollout."""
        return self._acted(key, await self._intents.hold(key, hold, cause))

    async def release(self, key: Key, fingerprint: str, starts_at: str) -> Outcome:
        """Take one alert off the holds of the rollout."""
        return self._acted(key, await self._intents.release(key, fingerprint, starts_at))

    async def command(
        self,
        key: Key,
        command: Command,
        *,
        expect: Expect | None = None,
        cause: Cause,
        skip: bool = False,
        options: dict[str, Any] | None = None,
    ) -> Outcome:
        """A person's or program's intent, as Argo's own tools would write it, by compare-and-swap."""
        if command == "abort":
            return await self.abort(key, cause)
        request = Request(cause=cause, skip=skip, options=options or {})
        outcome = await self._commands.command(key, command, request, expect)
        self._quarantine.release(key)
        if command == "retry" and outcome.result == "done":
            await self._check_again(key)
        return self._acted(key, outcome)

    async def set_images(
        self, key: Key, images: dict[str, str], *, expect_revision: str, cause: Cause
    ) -> Outcome:
        """New images in the Rollout's template."""
        return self._acted(
            key,
            await self._commands.set_images(
                key, images, expect_revision=expect_revision, cause=cause
            ),
        )

    async def note_deployment(self, key: Key, deployment: Deployment) -> Outcome:
        """Keep the evidence of a deployment on the Rollout, then wake it."""
        return self._acted(key, await self._intents.note_deployment(key, deployment))

    async def annotate(
        self, key: Key, annotations: dict[str, str | None], *, revision: bool
    ) -> Outcome:
        """Set our own annotations on the Rollout, or on the current revision's ReplicaSet."""
        return await self._intents.annotate(key, annotations, revision=revision)

    # Inside.

    def _acted(self, key: Key, outcome: Outcome) -> Outcome:
        if outcome.result == "done" and self._ownership.owns(key):
            self._lanes.wake(key, "intent", urgent=True)
        return outcome

    def _view(self, rollout: Object) -> View:
        uid = str(rollout["metadata"].get("uid", ""))
        view = view_of(
            rollout,
            tuple(self._objects.owned("ReplicaSet", uid)),
            self._observer.routes(rollout),
            self._observer.router(rollout),
        )
        wait = self._passes.waits.get(view.key)
        return msgspec.structs.replace(view, why=wait.why) if wait is not None else view

    async def _check_level(self, view: View) -> bool:
        return await self._level_check(view)

    async def _check_again(self, key: Key) -> None:
        view = self.view(key)
        try:
            if view is not None:
                await self._level_check(view)
        except SerinusError as error:
            # It is asked again before the first raise, which waits for an answer.
            log.warning("alert.level_unknown", rollout=str(key), error=str(error))

    def _keys(self) -> Iterable[Key]:
        return tuple(Key.of(rollout) for rollout in self._owned())

    def _owned(self) -> Iterable[Object]:
        return (
            rollout
            for rollout in self._objects.list("Rollout")
            if self._ownership.owns(Key.of(rollout))
        )

    def _wake_all(self) -> None:
        for key in self._keys():
            self.wake(key, "start")
        self._leftovers.look_at_all()
        self._look_at_outboxes()

    def _look_for_leftovers(self, ref: Ref, old: Object | None, new: Object | None) -> None:
        if ref.kind == DESTINATION_RULE and new is not None:
            self._leftovers.look(new)
        elif ref.kind == "Rollout" and (new or {}).get("spec") != (old or {}).get("spec"):
            self._leftovers.look_at_all(ref.namespace)

    def _spawn_cleaning(self, run: Coroutine[Any, Any, None]) -> bool:
        if self._group is None:
            run.close()
            return False
        self._group.create_task(run, name="leftovers")
        return True

    def _look_at_outboxes(self) -> None:
        if self._relay is not None:
            for rollout in tuple(self._owned()):
                self._relay.look(rollout)

    def _spawn_abort(self, run: Coroutine[Any, Any, None]) -> None:
        if self._group is None:
            run.close()
            raise Unavailable("the engine does not run")
        task = self._group.create_task(run, name="abort")
        self._aborting.add(task)
        task.add_done_callback(self._aborting.discard)
