"""The engine of companion mode: another engine drives, this one carries intents in and tells what becomes of them.

It writes intents as Argo's own tools would, annotations of ours on Rollouts, and its marks in one ConfigMap;
no conditions, routes, ReplicaSets, Services or AnalysisRuns.
"""

import asyncio
import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import structlog

from agent.api.analysis import AnalysisRun
from agent.api.decode import read
from agent.api.holds import Hold
from agent.api.meta import Key, Object, Ref
from agent.api.names import CONCLUDED, DEPLOYMENT, FIRST_EXPOSED, POD_TEMPLATE_HASH
from agent.api.rollout import Rollout
from agent.api.times import format_time_ms
from agent.bus.port import Bus
from agent.clock import Clock
from agent.cluster.port import Cluster
from agent.engine.aborts import Aborts
from agent.engine.backoff import Backoff
from agent.engine.commands import Commands, Request
from agent.engine.companion.abort import AbortByIntent, conclusion_of
from agent.engine.companion.announcer import Announcer
from agent.engine.companion.holds import Holds, is_unsettled
from agent.engine.companion.store import MarkStore
from agent.engine.companion.unheeded import Unheeded
from agent.engine.crash_points import Reach, pass_by
from agent.engine.exposure import find_revision
from agent.engine.holds import annotations_of, pausing_form
from agent.engine.intents import Intents
from agent.engine.level import Level, LevelCheck, no_alerts
from agent.engine.metrics import Meter
from agent.engine.notes import NotedObjects, OnRollout
from agent.engine.observe import Objects, Observer, Routers
from agent.engine.options import Options
from agent.engine.ownership import Ownership, SoleOwner
from agent.engine.port import Outcome, View
from agent.engine.pruned import Pruned
from agent.engine.publish import Publisher, Subscriber
from agent.engine.revision import event_data, revision_info
from agent.engine.swap import Swap
from agent.engine.tasks import Tasks
from agent.engine.views import Views
from agent.engine.write import Writer
from agent.errors import Forbidden, NotFound, Refused, SerinusError
from agent.events.catalogue import Cause, Command, Deployment, Expect
from agent.rollout.sighted import Told
from agent.rollout.sighting import Look

log = structlog.get_logger(__name__)

FOLLOWED = ("Rollout", "AnalysisRun")
"""Kinds whose changes are looked at."""


class CompanionEngine:
    """Implements agent.engine.port.Engine.

    Args:
        objects: the cache; its owner has `changed` called with every change of it.
        bus, subscribers: where announcements go; with neither nothing is told, and no marks are kept.
        marks_namespace: namespace of the ConfigMap with the marks.
        in_scope: whether the cache shows the rollouts of this namespace.
        ownership: which rollouts this replica tells of.
        reach: called at the crash points.
    """

    def __init__(
        self,
        cluster: Cluster,
        objects: Objects,
        clock: Clock,
        routers: Routers,
        *,
        marks_namespace: str,
        in_scope: Callable[[str], bool] = lambda _namespace: True,
        options: Options | None = None,
        bus: Bus | None = None,
        subscribers: Sequence[Subscriber] = (),
        ownership: Ownership | None = None,
        reach: Reach = pass_by,
        meter: Meter | None = None,
    ) -> None:
        options = options or Options()
        meter = meter or Meter()
        self._shutdown_seconds = options.shutdown_seconds
        self._objects = objects = NotedObjects(objects)
        self._clock = clock
        self._ownership: Ownership = ownership or SoleOwner()
        self._stopping = asyncio.Event()
        self._tasks = Tasks()
        self._level = Level(no_alerts)
        self._settling: set[Key] = set()
        self._writer = writer = Writer(cluster, objects, Pruned(), counted=meter.wrote)
        self._observer = observer = Observer(objects, routers, options.policy)
        self._views = Views(objects, observer, {})
        notes, form = OnRollout(), pausing_form(clock)
        swap = Swap(writer, objects, reach)
        self._intents = Intents(writer, objects, swap, notes, form)
        self._commands = Commands(objects, clock, swap, writer, notes)
        self._holds = Holds(objects, swap, notes, form)
        path = AbortByIntent(writer=writer, objects=objects, clock=clock, notes=notes, reach=reach)
        self._aborts = Aborts(path.begin, spawn=self._tasks.abort)
        rng = random.Random(options.seed)  # noqa: S311 - jitter, not a secret

        def is_gone(key: Key) -> bool:
            return in_scope(key.namespace) and objects.get(Ref("Rollout", *key)) is None

        self._unheeded = Unheeded(objects, clock, self._see, meter)
        self._announcer: Announcer | None = None
        if bus is not None or subscribers:
            self._announcer = Announcer(
                MarkStore(cluster, marks_namespace),
                Publisher(
                    bus=bus, topic=options.topic, subscribers=subscribers, counted=meter.announced
                ),
                Backoff(rng),
                clock,
                self._look_at,
                owns=self._ownership.owns,
                is_gone=is_gone,
                source=options.source,
                reach=reach,
                told=self._told,
            )
        self._ownership.on_change(self._look_at_all)

    async def run(self) -> None:
        """Follows rollouts until `stop`; the cache must be filled."""
        self._stopping.clear()
        async with asyncio.TaskGroup() as group:
            self._tasks.use(group)
            watching = group.create_task(self._unheeded.run(), name="unheeded aborts")
            self._look_at_all()
            telling = None
            if self._announcer is not None:
                telling = group.create_task(self._announcer.run(), name="announcer")
            await self._stopping.wait()
            share = self._shutdown_seconds / 2
            await self._tasks.end(share)
            told = self._announcer is None or await self._announcer.flush(share)
            self._tasks.use(None)
            watching.cancel()
            if telling is not None:
                telling.cancel()
        log.info("companion.stopped", told=told)

    def stop(self) -> None:
        """Have `run` stop in order: aborts under way end, announcements go out."""
        self._stopping.set()

    # What wakes it.

    def wake(self, key: Key, cause: str) -> None:
        """Look at this rollout soon."""
        del cause
        self._look(Ref("Rollout", *key))

    def wake_due(self) -> None:
        """Look at everything."""
        self._look_at_all()

    def changed(self, ref: Ref, old: Object | None, new: Object | None) -> None:
        """The cache shows a change (None: absent)."""
        self._observer.changed(ref, new)
        if not self._tasks.runs or ref.kind not in FOLLOWED:
            return
        if ref.kind == "Rollout":
            self._look(ref)
            return
        for owner in ((new or old or {}).get("metadata") or {}).get("ownerReferences") or ():
            if owner.get("controller") and owner.get("kind") == "Rollout":
                self._look(Ref("Rollout", ref.namespace, str(owner["name"])))

    def use_level_check(self, level_check: LevelCheck) -> None:
        """Ask this at the start of a run, after every raise and at a retry."""
        self._level.use(level_check)

    # What can be seen.

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
        """The ReplicaSets that this rollout controls, with our notes about them."""
        return self._views.replica_sets(key)

    # What people, programs and alerts want.

    async def abort(self, key: Key, cause: Cause, expect: Expect | None = None) -> Outcome:
        """Put the intent onto the object (urgent); the engine that drives takes the weight off."""
        return await self._aborts.abort(key, cause, expect)

    async def hold(self, key: Key, hold: Hold, cause: Cause) -> Outcome:
        """Add one alert to the holds: the first one pauses the rollout as `kubectl argo rollouts pause` does."""
        return await self._intents.hold(key, hold, cause)

    async def release(self, key: Key, fingerprint: str, starts_at: str) -> Outcome:
        """Take one alert off the holds; with the last one the pause ends, if it is still ours."""
        return await self._intents.release(key, fingerprint, starts_at)

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
        view = self.view(key) if command == "retry" and outcome.result == "done" else None
        if view is not None:
            await self._level.look_again(view)
        return outcome

    async def set_images(
        self, key: Key, images: dict[str, str], *, expect_revision: str, cause: Cause
    ) -> Outcome:
        """New images in the Rollout's template."""
        return await self._commands.set_images(
            key, images, expect_revision=expect_revision, cause=cause
        )

    async def note_deployment(self, key: Key, deployment: Deployment) -> Outcome:
        """Keep the evidence of a deployment on the Rollout."""
        return await self._intents.note_deployment(key, deployment)

    async def annotate(
        self, key: Key, annotations: dict[str, str | None], *, revision: bool
    ) -> Outcome:
        """Set our own annotations on the Rollout, for itself or for its current revision."""
        return await self._intents.annotate(key, annotations, revision=revision)

    # Looking.

    def _look_at_all(self) -> None:
        if not self._tasks.runs:
            return
        if self._announcer is not None:
            self._announcer.load_again()
        for rollout in tuple(self._objects.list("Rollout")):
            self._look(Ref("Rollout", *Key.of(rollout)))

    def _look(self, ref: Ref) -> None:
        rollout, key = self._objects.get(ref), Key(ref.namespace, ref.name)
        self._see(key)
        self._unheeded.look(key, rollout)
        if rollout is not None and is_unsettled(rollout) and key not in self._settling:
            self._settling.add(key)
            self._tasks.start(self._settle(key), "settle")

    def _see(self, key: Key) -> None:
        if self._announcer is not None and self._tasks.runs:
            self._announcer.see(key, self._objects.get(Ref("Rollout", *key)))

    async def _settle(self, key: Key) -> None:
        try:
            outcome = await self._holds.settle(key)
            log.info("rollout.holds_settled", rollout=str(key), message=outcome.message)
        except SerinusError as error:
            # The next change of the Rollout, or the next start, tries again.
            log.warning("rollout.holds_not_settled", rollout=str(key), error=str(error))
        except Exception:
            log.exception("rollout.settle_failed", rollout=str(key))
        finally:
            self._settling.discard(key)

    async def _look_at(self, rollout: Object) -> Look | None:
        try:
            typed = read(Rollout, rollout)
        except Refused as error:
            log.info("rollout.unreadable", rollout=str(Key.of(rollout)), error=str(error))
            return None
        sets = await self._sets(typed)
        hashes = ((item["metadata"].get("labels") or {}).get(POD_TEMPLATE_HASH) for item in sets)
        conclusion = conclusion_of(rollout)
        return Look(
            rollout=typed,
            data=event_data(rollout, sets),
            revisions={
                str(name): info for name in hashes if (info := revision_info(str(name), sets))
            },
            runs=tuple(_runs(self._objects.owned("AnalysisRun", typed.metadata.uid))),
            cause=conclusion.cause if conclusion else None,
            timings=conclusion.timings if conclusion else None,
            now=self._clock.now(),
        )

    async def _sets(self, rollout: Rollout) -> list[Object]:
        """Its ReplicaSets; one that the status names may be later in the cache than the status."""
        sets = list(self._objects.owned("ReplicaSet", rollout.metadata.uid))
        for name in (rollout.status.current_pod_hash, rollout.status.stable_rs):
            if not name or find_revision(sets, name) is not None:
                continue
            meta = rollout.metadata
            try:
                ref = Ref("ReplicaSet", meta.namespace, f"{meta.name}-{name}")
                sets.append(await self._writer.get(ref))
            except (NotFound, Forbidden):
                continue
        return sets

    def _told(self, key: Key, told: tuple[Told, ...]) -> None:
        """It is stored: see what follows from it."""
        self._tasks.start(self._follow_up(key, told), "follow up")

    async def _follow_up(self, key: Key, told: tuple[Told, ...]) -> None:
        """Notes about the revision, and the level check at the start of a run and after a raise."""
        transitions = {item.announcement.transition for item in told}
        risen = any(
            weights.after > weights.before
            for item in told
            if (weights := item.announcement.data.weights) is not None
        )
        view = self.view(key)
        if view is None or not ("started" in transitions or risen):
            return
        try:
            await self._note(view, begins="started" in transitions, risen=risen)
            if view.in_progress:
                await self._level.look_again(view)
        except SerinusError as error:
            log.warning("rollout.not_noted", rollout=str(key), error=str(error))
        except Exception:
            log.exception("rollout.follow_up_failed", rollout=str(key))

    async def _note(self, view: View, *, begins: bool, risen: bool) -> None:
        notes: dict[str, str | None] = {}
        if begins:
            notes[CONCLUDED] = None  # a retry is not aborted for the reason of before
            notes[DEPLOYMENT] = annotations_of(view.rollout).get(DEPLOYMENT)
        if risen and view.in_progress and view.first_exposed is None:
            notes[FIRST_EXPOSED] = format_time_ms(self._clock.now())
        if notes:
            await self.annotate(view.key, notes, revision=True)


def _runs(objects: Iterable[Object]) -> Iterable[AnalysisRun]:
    for obj in objects:
        try:
            yield read(AnalysisRun, obj)
        except Refused:
            continue
