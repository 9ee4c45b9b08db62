"""What is seen becomes announcements: stored with the mark that they stand for, then published, then taken off.

One loop stores, one publishes: events that cannot be sent now wait in the ConfigMap, and neither they nor the
marks are lost with the process. Two replicas see the same transitions; whose swap is first stores them, the
other reads the marks again and finds nothing left to tell. What it did not publish in time, the other does.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

import msgspec
import structlog

from agent.api.meta import Key, Object
from agent.clock import Clock
from agent.engine import outbox
from agent.engine.backoff import Backoff
from agent.engine.companion.marks import Mark, is_news
from agent.engine.companion.store import MarkStore
from agent.engine.crash_points import Reach
from agent.engine.publish import Publisher
from agent.engine.write import version_of
from agent.errors import Conflict, SerinusError
from agent.rollout.sighted import Told, follow
from agent.rollout.sighting import Look

log = structlog.get_logger(__name__)

LINGER_SECONDS: Final = 0.3
"""How long a published announcement may stay: a mark that is stored in this time takes it off for free."""
RELOAD_SECONDS: Final = 15.0
LATE_SECONDS: Final = 5.0
"""What another replica stored and did not take off in this time is published here, too."""
MAX_LOOKS: Final = 32
"""Versions of one Rollout that wait to be looked at; of more, those in the middle are passed over."""
_STORE, _PUBLISH = Key("", "store"), Key("", "publish")

LookAt = Callable[[Object], Awaitable[Look | None]]
"""Reads a version of a Rollout with what belongs to it; None for one that cannot be read."""
OnTold = Callable[[Key, tuple[Told, ...]], None]
"""Called with what was told of a rollout, once it is stored; must not wait."""


class Announcer:
    """Tells what becomes of the rollouts that another engine drives.

    Args:
        owns: whether a rollout is this replica's to tell of.
        is_gone: whether a rollout is one that this agent could see, and does not exist.
        source: CloudEvents `source` of this agent.
    """

    def __init__(
        self,
        store: MarkStore,
        publisher: Publisher,
        backoff: Backoff,
        clock: Clock,
        look_at: LookAt,
        *,
        owns: Callable[[Key], bool],
        is_gone: Callable[[Key], bool],
        source: str,
        reach: Reach,
        told: OnTold,
    ) -> None:
        self._store = store
        self._publisher = publisher
        self._backoff = backoff
        self._clock = clock
        self._look_at = look_at
        self._owns = owns
        self._is_gone = is_gone
        self._source = source
        self._reach = reach
        self._on_told = told
        self._queue: dict[Key, list[Object | None]] = {}
        self._looking: dict[Key, list[Object | None]] = {}  # taken off the queue, not yet stored
        self._published: dict[Key, set[str]] = {}
        self._due: dict[str, float] = {}  # when others' announcements are ours to publish
        self._load_at = 0.0
        self._remove_at: float | None = None
        self._first = True
        self._flushing = False
        self._seen = asyncio.Event()
        self._stored = asyncio.Event()

    def see(self, key: Key, rollout: Object | None) -> None:
        """A version of a Rollout (None: it is gone); never waits."""
        self._queue.setdefault(key, []).append(rollout)
        self._seen.set()

    def load_again(self) -> None:
        """Others may have written: read the marks before the next look."""
        self._load_at = 0.0
        self._seen.set()

    async def run(self) -> None:
        """Tells until cancelled; may be run again."""
        self._flushing, self._first, self._load_at = False, True, 0.0
        async with asyncio.TaskGroup() as group:
            group.create_task(self._loop(_STORE, self._seen, self._store_round), name="marks")
            group.create_task(self._loop(_PUBLISH, self._stored, self._publish_round), name="told")

    async def flush(self, deadline_seconds: float) -> bool:
        """Store what was seen, publish it and take it off, as far as there is time; whether it was enough."""
        self._flushing = True
        try:
            async with asyncio.timeout(deadline_seconds):
                while self._queue or self._looking or self._published or self._left():
                    self._seen.set()
                    self._stored.set()
                    await self._clock.sleep(0.01)
        except TimeoutError:
            return False
        return True

    def _left(self) -> bool:
        return any(mark.waiting for key, mark in self._store.marks.items() if self._owns(key))

    async def _loop(
        self, name: Key, woken: asyncio.Event, round_: Callable[[], Awaitable[float]]
    ) -> None:
        while True:
            woken.clear()
            try:
                wait = await round_()
                self._backoff.succeeded(name)
            except Conflict:
                # The first lost races are ordinary, losing on and on is not.
                self._load_at = 0.0
                pause = self._backoff.failed(name)
                wait = 0.0 if self._backoff.failures(name) <= 3 else pause
            except SerinusError as error:
                pause = self._backoff.failed(name)
                log.warning(
                    "companion.later", loop=name.name, error=str(error), retry_seconds=pause
                )
                await self._clock.sleep(pause)
                continue
            try:
                async with asyncio.timeout(max(0.0, wait)):
                    await woken.wait()
            except TimeoutError:
                continue

    # Storing.

    async def _store_round(self) -> float:
        now = self._clock.monotonic()
        if now >= self._load_at:
            await self._load(now)
        self._take()
        changes: dict[Key, Mark | None] = {}
        told: dict[Key, tuple[Told, ...]] = {}
        for key, versions in self._looking.items():
            if self._owns(key):
                mark, told[key] = await self._fold(key, self._store.marks.get(key), versions)
                if mark is None or is_news(self._store.marks.get(key), mark):
                    changes[key] = mark
        removing = self._removals(changes, now)
        if changes:
            self._reach("marks-before-swap")
            await self._store.swap(changes)
            self._reach("marks-after-swap")
        self._looking.clear()
        for key, ids in removing.items():
            # Those that went out meanwhile still stand in the mark.
            self._published[key] -= ids
            if not self._published[key]:
                del self._published[key]
            self._reach("marks-after-removal")
        for key, what in told.items():
            if what:
                self._on_told(key, what)
        self._stored.set()
        return self._store_wait()

    async def _load(self, now: float) -> None:
        known = {entry.id for mark in self._store.marks.values() for entry in mark.waiting}
        await self._store.load()
        self._load_at = now + RELOAD_SECONDS
        waiting = {entry.id for mark in self._store.marks.values() for entry in mark.waiting}
        late = now if self._first else now + LATE_SECONDS
        self._due = {i: self._due.get(i, 0.0 if i in known else late) for i in waiting}
        for key, ids in list(self._published.items()):
            if not ids & waiting:
                del self._published[key]
        self._first = False
        for key in self._store.marks:
            if self._owns(key) and self._is_gone(key):
                self.see(key, None)

    async def _fold(
        self, key: Key, mark: Mark | None, versions: Iterable[Object | None]
    ) -> tuple[Mark | None, tuple[Told, ...]]:
        """The mark after these versions, and what is told of the way there."""
        seen, waiting = (mark.seen, mark.waiting) if mark is not None else (None, ())
        everything: list[Told] = []
        for rollout in versions:
            if rollout is None:
                seen = None
                continue
            if seen is not None and _is_older(rollout, seen.uid, seen.version):
                continue
            try:
                look = await self._look_at(rollout)
                if look is None:
                    continue
                seen, told = follow(seen, look)
            except SerinusError:
                raise
            except Exception:
                # A bug of ours about one version of one rollout must not silence the others.
                log.exception("companion.look_failed", rollout=str(key))
                continue
            everything += told
            waiting, dropped = outbox.add(waiting, self._frozen(rollout, told))
            if dropped:
                log.warning("marks.coalesced", rollout=str(key), entries=dropped)
        if seen is None and not waiting:
            return None, tuple(everything)
        return Mark(rollout=str(key), seen=seen, waiting=waiting), tuple(everything)

    def _frozen(self, rollout: Object, told: Iterable[Told]) -> list[outbox.Entry]:
        stamp = outbox.Stamp(
            source=self._source,
            uid=str(rollout["metadata"].get("uid", "")),
            resource_version=version_of(rollout),
            correlation_id=outbox.correlation_id(rollout),
            now=self._clock.now(),
        )
        return [outbox.freeze_one(item.announcement, stamp, item.identity) for item in told]

    def _removals(self, changes: dict[Key, Mark | None], now: float) -> dict[Key, frozenset[str]]:
        """Add the removal of what is published: with a change at once, else when it has lingered."""
        is_due = self._flushing or (self._remove_at is not None and now >= self._remove_at)
        removing = {
            key: frozenset(ids) for key, ids in self._published.items() if is_due or key in changes
        }
        for key, ids in removing.items():
            mark = changes[key] if key in changes else self._store.marks.get(key)
            if mark is None:
                continue
            left = outbox.without(mark.waiting, ids)
            is_over = mark.seen is None and not left
            changes[key] = None if is_over else msgspec.structs.replace(mark, waiting=left)
        return removing

    def _store_wait(self) -> float:
        now = self._clock.monotonic()
        if not self._published:
            self._remove_at = None
            return self._load_at - now
        if self._remove_at is None or now >= self._remove_at:
            self._remove_at = now + LINGER_SECONDS
        return min(self._load_at, self._remove_at) - now

    def _take(self) -> None:
        """Begin to look at what has come; what a failed round had taken goes first."""
        for key, versions in self._queue.items():
            taken = [*self._looking.get(key, ()), *versions]
            if len(taken) > MAX_LOOKS:
                taken = [taken[0], *taken[1 - MAX_LOOKS :]]
            self._looking[key] = taken
        self._queue = {}

    # Publishing.

    async def _publish_round(self) -> float:
        next_due = self._clock.monotonic() + RELOAD_SECONDS
        for key, mark in tuple(self._store.marks.items()):
            if not self._owns(key):
                continue
            for entry in mark.waiting:
                if entry.id in self._published.get(key, ()):
                    continue
                due = self._due.get(entry.id, 0.0)
                if due > self._clock.monotonic() and not self._flushing:
                    next_due = min(next_due, due)
                    break  # in order: those behind it wait, too
                self._reach("companion-before-publish")
                await self._publisher.send(key, entry)
                self._reach("companion-after-publish")
                self._published.setdefault(key, set()).add(entry.id)
                self._seen.set()
                await self._publisher.tell(key, entry)
        return next_due - self._clock.monotonic()


def _is_older(rollout: Object, uid: str, version: str) -> bool:
    """Whether this version came before the one that was told of last."""
    metadata = rollout["metadata"]
    return metadata.get("uid") == uid and int(version_of(rollout) or 0) < int(version or 0)
