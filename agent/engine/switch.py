"""Driving while no other engine lives, else companion: one engine to the doors, two behind it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, Literal

import structlog

from agent.api.holds import Hold
from agent.api.meta import Key, Object, Ref
from agent.clock import Clock
from agent.engine.companion.engine import CompanionEngine
from agent.engine.companion.store import MarkStore
from agent.engine.engine import RolloutEngine
from agent.engine.level import LevelCheck
from agent.engine.other_engine import OtherEngine, until_checked
from agent.engine.ownership import Ownership
from agent.engine.port import Outcome, View
from agent.errors import SerinusError
from agent.events.catalogue import Cause, Command, Deployment, Expect

log = structlog.get_logger(__name__)

Mode = Literal["drive", "companion"]
OnMode = Callable[[Mode, str], Awaitable[None]]
"""Called with the new mode and why; bounded in time."""
RETRY_SECONDS: Final = 1.0
FORGET_TRIES: Final = 5


class Driving:
    """agent.engine.ownership.Ownership of what this process would drive, as long as it may drive at all."""

    def __init__(self, ownership: Ownership) -> None:
        self._ownership = ownership
        self._allowed = False
        self._listeners: list[Callable[[], None]] = []
        ownership.on_change(self._tell)

    def owns(self, key: Key) -> bool:
        return self._allowed and self._ownership.owns(key)

    def holds(self) -> bool:
        return self._allowed and self._ownership.holds()

    def on_change(self, callback: Callable[[], None]) -> None:
        self._listeners.append(callback)

    def allow(self, allowed: bool) -> None:
        """Whether this process may drive."""
        if allowed != self._allowed:
            self._allowed = allowed
            self._tell()

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()


class Switch:
    """Implements agent.engine.port.Engine by the engine whose turn it is.

    Args:
        drive: runs all the time; `driving` is its ownership.
        marks: those of the companion, forgotten before this process drives.
        on_mode: tells of a change of mode.
    """

    def __init__(
        self,
        drive: RolloutEngine,
        companion: CompanionEngine,
        other: OtherEngine,
        driving: Driving,
        marks: MarkStore,
        clock: Clock,
        on_mode: OnMode,
    ) -> None:
        self._drive = drive
        self._companion = companion
        self._other = other
        self._driving = driving
        self._marks = marks
        self._clock = clock
        self._on_mode = on_mode
        self._mode: Mode = "companion"
        self._turn = asyncio.Event()
        self._stopping = False
        other.on_change(self._other_changed)

    @property
    def mode(self) -> Mode:
        """What this process does now."""
        return self._mode

    @property
    def note(self) -> str:
        """For readiness: why this process does not drive; "" when it does."""
        if self._mode == "drive":
            return ""
        return f"companion: {self._other.why or 'waits for another engine to stay quiet'}"

    async def run(self) -> None:
        """Drives or accompanies until `stop`; the cache must be filled."""
        await until_checked(self._other, self._clock)
        async with asyncio.TaskGroup() as group:
            looking = group.create_task(self._other.run(), name="other engine")
            driving = group.create_task(self._drive.run(), name="drive")
            told: Mode | None = None
            while not self._stopping:
                self._turn.clear()
                if self._other.why:
                    if told != "companion":
                        told = "companion"
                        group.create_task(self._tell("companion", self._other.why))
                    await self._accompany(group)
                else:
                    await self._forget_marks()
                    if not self._may_drive():
                        continue
                    self._mode = "drive"
                    self._driving.allow(True)
                    if told != "drive":
                        reason = "no other engine lives" if told else ""
                        told = "drive"
                        group.create_task(self._tell("drive", reason))
                    await self._until_turn()
            self._drive.stop()
            await asyncio.wait({driving})
            looking.cancel()

    def stop(self) -> None:
        """Have `run` stop in order."""
        self._stopping = True
        self._turn.set()

    def _may_drive(self) -> bool:
        return not self._other.why and not self._stopping

    def _other_changed(self) -> None:
        """At once: nothing more is written by an engine that must stand back."""
        if self._other.why:
            self._mode = "companion"
            self._driving.allow(False)
            self._drive.stand_back()
        self._turn.set()

    async def _accompany(self, group: asyncio.TaskGroup) -> None:
        companion = group.create_task(self._companion.run(), name="companion")
        await self._until_turn()
        self._companion.stop()
        await asyncio.wait({companion})

    async def _until_turn(self) -> None:
        while not self._turn.is_set():
            await self._turn.wait()

    async def _forget_marks(self) -> None:
        """Marks of before would tell of what this engine does once more; bounded, since driving matters more."""
        for _ in range(FORGET_TRIES):
            try:
                if await self._marks.forget():
                    return
            except SerinusError as error:
                log.warning("marks.not_forgotten", error=str(error))
            if not self._may_drive():
                return
            await self._clock.sleep(RETRY_SECONDS)

    async def _tell(self, mode: Mode, reason: str) -> None:
        log.warning("engine.mode", mode=mode, reason=reason)
        await self._on_mode(mode, reason)

    # The engine whose turn it is.

    @property
    def _now(self) -> RolloutEngine | CompanionEngine:
        return self._drive if self._mode == "drive" else self._companion

    def wake(self, key: Key, cause: str) -> None:
        self._now.wake(key, cause)

    def wake_due(self) -> None:
        self._now.wake_due()

    def changed(self, ref: Ref, old: Object | None, new: Object | None) -> None:
        """The cache shows a change (None: absent)."""
        self._other.changed(ref, old, new)
        self._drive.changed(ref, old, new)
        self._companion.changed(ref, old, new)

    def use_level_check(self, level_check: LevelCheck) -> None:
        """Ask this, whichever engine works."""
        self._drive.use_level_check(level_check)
        self._companion.use_level_check(level_check)

    def views(self, namespace: str | None = None) -> Iterable[View]:
        return self._now.views(namespace)

    def rollouts(self, namespace: str | None = None) -> Iterable[Object]:
        return self._now.rollouts(namespace)

    def view(self, key: Key) -> View | None:
        return self._now.view(key)

    def find(self, kind: str, namespace: str, name: str) -> Object | None:
        return self._now.find(kind, namespace, name)

    def replica_sets(self, key: Key) -> Iterable[Object]:
        return self._now.replica_sets(key)

    async def abort(self, key: Key, cause: Cause, expect: Expect | None = None) -> Outcome:
        return await self._now.abort(key, cause, expect)

    async def hold(self, key: Key, hold: Hold, cause: Cause) -> Outcome:
        return await self._now.hold(key, hold, cause)

    async def release(self, key: Key, fingerprint: str, starts_at: str) -> Outcome:
        return await self._now.release(key, fingerprint, starts_at)

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
        return await self._now.command(
            key, command, expect=expect, cause=cause, skip=skip, options=options
        )

    async def set_images(
        self, key: Key, images: dict[str, str], *, expect_revision: str, cause: Cause
    ) -> Outcome:
        return await self._now.set_images(key, images, expect_revision=expect_revision, cause=cause)

    async def note_deployment(self, key: Key, deployment: Deployment) -> Outcome:
        return await self._now.note_deployment(key, deployment)

    async def annotate(
        self, key: Key, annotations: dict[str, str | None], *, revision: bool
    ) -> Outcome:
        return await self._now.annotate(key, annotations, revision=revision)
