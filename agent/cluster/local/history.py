"""The changes of a store, a kind at a time, as far back as a watch may begin."""

import asyncio
from collections import deque
from typing import Literal, NamedTuple

from agent.api.meta import Object
from agent.errors import Gone


class Change(NamedTuple):
    """One write. `obj` is the object after it, or as it was deleted, at `version`."""

    version: int
    type: Literal["ADDED", "MODIFIED", "DELETED"]
    obj: Object
    before: Object | None


class History:
    """Bounded, and awake: who waits for a kind is woken by its changes only.

    Args:
        length: changes kept of each kind.
        start: the version at which the store began to remember.
    """

    def __init__(self, length: int, start: int) -> None:
        self._length = length
        self._first = start
        self._changes: dict[str, deque[Change]] = {}
        self._start: dict[str, int] = {}
        self._wakers: dict[asyncio.Event, frozenset[str]] = {}

    def add(self, kind: str, change: Change) -> None:
        """Remember a change and wake who waits for its kind."""
        changes = self._changes.setdefault(kind, deque())
        changes.append(change)
        while len(changes) > self._length:
            self._start[kind] = changes.popleft().version
        for waker, kinds in self._wakers.items():
            if not kinds or kind in kinds:
                waker.set()

    def since(self, kind: str, version: int) -> list[Change]:
        """The changes after a version, oldest first. Raises Gone when they are not all remembered."""
        start = self._start.get(kind, self._first)
        if version < start:
            raise Gone(f"too old resource version: {version} ({start})")
        newer: list[Change] = []
        for change in reversed(self._changes.get(kind, ())):
            if change.version <= version:
                break
            newer.append(change)
        newer.reverse()
        return newer

    def waker(self, *kinds: str) -> asyncio.Event:
        """An event that is set by every change of the kinds (of all, when none is given)."""
        event = asyncio.Event()
        self._wakers[event] = frozenset(kinds)
        return event

    def forget(self, waker: asyncio.Event) -> None:
        """The event is not needed any more."""
        self._wakers.pop(waker, None)
