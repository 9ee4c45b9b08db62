"""The engine: wakes in, writes out. It owns every task that drives rollouts."""

import asyncio
import random
from collections.abc import Iterable, Sequence
from typing import Any

import structlog

from agent.api.holds import Hold
from agent.api.meta import Key, Object, Ref
from agent.bus.port import Bus
from agent.clock import Clock
from agent.cluster.port import Cluster
from agent.engine.abort import AbortPath
from agent.engine.aborts import Aborts
from agent.engine.act import Actor
from agent.engine.announce import Relay
from agent.engine.backoff import Backoff
from agent.engine.changes import Changes
from agent.engine.commands import Commands, Request
from agent.engine.crash_points import Reach, pass_by
from agent.engine.intents import Intents
from agent.engine.interest import Interest
from agent.engine.lane import Lanes
from agent.engine.leftovers import Leftovers
from agent.engine.level import Level, LevelCheck, no_alerts
from agent.engine.metrics import Meter
from agent.engine.notes import OnReplicaSet
from agent.engine.notice import Notice
from agent.engine.observe import Objects, Observer, Routers
from agent.engine.options import Options
from agent.engine.outlet import Outlet
from agent.engine.owned import Owned
from agent.engine.ownership import Ownership, SoleOwner
from agent.engine.passes import Decide, Passes, Wait
from agent.engine.port import Outcome, View
from agent.engine.pruned import Pruned
from agent.engine.publish import Publisher, Subscriber
from agent.engine.quarantine import Quarantine
from agent.engine.raising import Raiser
from agent.engine.records import Recorder
from agent.engine.swap import Swap
from agent.engine.sweep import PERIOD_SECONDS, Sweep
from agent.engine.tasks import Tasks
from agent.engine.timers import Timers
from agent.engine.views import Views
from agent.engine.write import Writer
from agent.events.catalogue import Cause, Command, Deployment, Expect

log = structlog.get_logger(__name__)


class RolloutEngine:
    """Implements agent.engine.port.Engine.

    Args:
        objects: the cache; its owner has `changed` called with every change of it.
        bus, subscribers: where announcements go; with neither nothing is put into the outbox.
        ownership: which rollouts this process drives.
        announces: whose outboxes it empties, when that is not the same.
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
        announces: Ownership | None = None,
        reach: Reach = pass_by,
        meter: Meter | None = None,
    ) -> None:
        options = options or Options()
        self._shutdown_seconds = options.shutdown_seconds
        self._objects = objects
        self._ownership: Ownership = ownership or SoleOwner()
        owns = self._ownership.owns
        self._level = Level(no_alerts)
        self._stopping = asyncio.Event()
        self._tasks = Tasks()
        self._owned = Owned(objects, self._ownership)
        self._announced = Owned(objects, announces or self._ownership)
        interest = Interest()
        meter = meter or Meter()
        rng = random.Random(options.seed)  # noqa: S311 - jitter, not a secret
        pruned = Pruned()
        writer = Writer(cluster, objects, pruned, counted=meter.wrote)
        observer = Observer(objects, routers, options.policy)
        listens = bus is not None or bool(subscribers)
        outlet = Outlet(options.source) if listens else None
        self._recorder = Recorder(cluster, clock, counted=meter.recorded)
        raiser = Raiser(
            writer, observer, clock, level_check=self._level.check, has_outlet=listens, reach=reach
        )
        actor = Actor(
            writer,
            raiser,
            pruned,
            clock,
            self._recorder.record,
            outlet=outlet,
            reach=reach,
            counted_drift=meter.drifted,
        )
        self._timers = Timers(self.wake, clock)
        self._quarantine = Quarantine(options.dump_directory)
        self._passes = Passes(
            observer,
            decide,
            routers,
            actor,
            self._timers,
            self._quarantine,
            Backoff(rng),
            clock,
            owns=owns,
            interest=interest,
            notice=Notice(writer, objects, outlet, clock),
            counted=meter.passed,
        )
        self._lanes = Lanes(
            self._passes.run,
            parallel=options.parallel,
            urgent=lambda: self._aborts.busy,
            waited=meter.waited,
        )
        self._sweep = Sweep(self._owned.rollout_keys, self._passes.last_pass.get, self.wake, clock)
        publisher = Publisher(
            bus=bus, topic=options.topic, subscribers=subscribers, counted=meter.announced
        )
        self._relay = (
            Relay(
                objects,
                writer,
                outlet,
                Backoff(rng),
                clock,
                publisher,
                owns=(announces or self._ownership).owns,
                reach=reach,
                urgent=lambda: self._aborts.busy,
            )
            if outlet is not None
            else None
        )
        path = AbortPath(
            writer=writer,
            objects=objects,
            observer=observer,
            clock=clock,
            outlet=outlet,
            recorder=self._recorder.record,
            reach=reach,
            timed=meter.aborted,
        )
        self._aborts = Aborts(path.begin, spawn=self._tasks.abort, suspended=self._lanes.suspended)
        leftovers = Leftovers(objects, observer, writer, owns=owns, spawn=self._tasks.clean)
        self._changes = Changes(
            observer,
            interest,
            self._owned,
            self._announced,
            self._lanes,
            self._relay,
            leftovers,
            wake=self.wake,
            runs=lambda: self._tasks.runs,
        )
        self._views = Views(objects, observer, self._passes.waits)
        swap = Swap(writer, objects, reach)
        notes = OnReplicaSet(objects)
        self._intents = Intents(writer, objects, swap, notes)
        self._commands = Commands(objects, clock, swap, writer, notes)
        self._ownership.on_change(self._changes.look_at_all)

    async def run(self) -> None:
        """Drives rollouts until `stop`; the cache must be filled."""
        async with asyncio.TaskGroup() as group:
            self._tasks.use(group)
            helpers = [
                group.create_task(self._timers.run(), name="timers"),
                group.create_task(self._sweep.run(), name="sweep"),
                group.create_task(self._recorder.run(), name="recorder"),
            ]
            group.create_task(self._lanes.run(), name="lanes")
            if self._relay is not None:
                group.create_task(self._relay.run(), name="relay")
            self._changes.look_at_all()
            await self._stopping.wait()
            await self._shut_down()
            for helper in helpers:
                helper.cancel()
        self._tasks.use(None)

    def stop(self) -> None:
        """Have `run` stop in order: no new passes, those under way end, announcements go out."""
        self._stopping.set()

    async def _shut_down(self) -> None:
        share = self._shutdown_seconds / 2
        lanes = await self._lanes.drain(share)
        await self._tasks.end(share / 2)
        outboxes = self._relay is None or await self._relay.flush(
            self._announced.rollouts(), share / 2
        )
        records = await self._recorder.flush(share / 2)
        log.info("engine.stopped", lanes=lanes, outboxes=outboxes, records=records)

    def stand_back(self) -> None:
        """End every running pass's right to write: this process drives no more."""
        self._lanes.bump_all()

    # What wakes it.

    def wake(self, key: Key, cause: str, *, urgent: bool = False) -> None:
        """Look at this rollout soon; `urgent` does not wait for the end of a backoff."""
        if self._objects.get(Ref("Rollout", *key)) is not None and self._ownership.owns(key):
            self._lanes.wake(key, cause, urgent=urgent)

    def wake_due(self) -> None:
        """Look at everything that is due or was quiet for too long, outboxes included."""
        self._timers.fire()
        self._sweep.look(range(PERIOD_SECONDS))
        self._changes.look_at_outboxes()

    def changed(self, ref: Ref, old: Object | None, new: Object | None) -> None:
        """The cache shows a change (None: absent): wake those it matters to."""
        self._changes.changed(ref, old, new)

    def use_level_check(self, level_check: LevelCheck) -> None:
        """Ask this before every raise, at the start of a run and at a retry."""
        self._level.use(level_check)

    def views(self, namespace: str | None = None) -> Iterable[View]:
        """Rollouts from the cache (of one namespace, or all)."""
        return self._views.views(namespace)

    def rollouts(self, namespace: str | None = None) -> Iterable[Object]:
        """The Rollouts of one namespace, or all, from the cache."""
        return self._views.rollouts(namespace)

    def view(self, key: Key) -> View | None:
        """One rollout from the cache."""
        return self._views.view(key)

    def find(self, kind: str, namespace: str, name: str) -> Object | None:
        """Another object from the cache."""
        return self._objects.get(Ref(kind, namespace, name))

    def replica_sets(self, key: Key) -> Iterable[Object]:
        """The ReplicaSets that this rollout controls, from the cache."""
        return self._views.replica_sets(key)

    def wait_of(self, key: Key) -> Wait | None:
        """What this rollout waits for, who can end it, when it is looked at again."""
        return self._passes.waits.get(key)

    # What people, programs and alerts want.

    async def abort(self, key: Key, cause: Cause, expect: Expect | None = None) -> Outcome:
        """The abort path (urgent). Idempotent; returns once the intent is on the object."""
        return await self._aborts.abort(key, cause, expect)

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
            return await self.abort(key, cause, expect)
        request = Request(cause=cause, skip=skip, options=options or {})
        outcome = await self._commands.command(key, command, request, expect)
        self._quarantine.release(key)
        view = self.view(key) if command == "retry" and outcome.result == "done" else None
        if view is not None:
            await self._level.look_again(view)
        return self._acted(key, outcome)

    async def set_images(
        self, key: Key, images: dict[str, str], *, expect_revision: str, cause: Cause
    ) -> Outcome:
        """New images in the Rollout's template."""
        outcome = await self._commands.set_images(
            key, images, expect_revision=expect_revision, cause=cause
        )
        return self._acted(key, outcome)

    async def note_deployment(self, key: Key, deployment: Deployment) -> Outcome:
        """Keep the evidence of a deployment on the Rollout, then wake it."""
        return self._acted(key, await self._intents.note_deployment(key, deployment))

    async def annotate(
        self, key: Key, annotations: dict[str, str | None], *, revision: bool
    ) -> Outcome:
        """Set our own annotations on the Rollout, or on the current revision's ReplicaSet."""
        return await self._intents.annotate(key, annotations, revision=revision)

    def _acted(self, key: Key, outcome: Outcome) -> Outcome:
        if outcome.result == "done" and self._ownership.owns(key):
            self._lanes.wake(key, "intent", urgent=True)
        return outcome
