"""An event loop on which waiting takes no time: its clock jumps to the next timer."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Deadlock(Exception):
    """Everything waits and no timer is set: nothing can ever happen again."""


class _Selector(selectors.DefaultSelector):
    """Instead of waiting for a socket, moves the clock."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise Deadlock
        # Never stands still: asyncio calls timers that are due within its clock's resolution, and who then
        # finds that his time is not quite over sets the same timer again, for ever.
        self.now += max(1e-9, timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop that starts at time 0 and never touches a socket."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now


def run(main: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run` in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
