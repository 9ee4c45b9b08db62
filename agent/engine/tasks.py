"""Short tasks beside the lanes: aborts and cleaning. The engine owns them and ends them."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from agent.errors import Unavailable


class Tasks:
    """Starts tasks in the engine's group while it runs."""

    def __init__(self) -> None:
        self._group: asyncio.TaskGroup | None = None
        self._aborts: set[asyncio.Task[None]] = set()

    @property
    def runs(self) -> bool:
        """Whether tasks can be started."""
        return self._group is not None

    def use(self, group: asyncio.TaskGroup | None) -> None:
        """Start tasks in this group from now on; none with None."""
        self._group = group

    def clean(self, run: Coroutine[Any, Any, None]) -> bool:
        """Start cleaning; whether the engine runs, so that it was started."""
        return self._start(run, "leftovers") is not None

    def start(self, run: Coroutine[Any, Any, None], name: str) -> bool:
        """Start a short task that nobody waits for; whether the engine runs, so that it was started."""
        return self._start(run, name) is not None

    def abort(self, run: Coroutine[Any, Any, None]) -> None:
        """Start an abort, which the end of the engine waits for. Unavailable when the engine does not run."""
        task = self._start(run, "abort")
        if task is None:
            raise Unavailable("the engine does not run")
        self._aborts.add(task)
        task.add_done_callback(self._aborts.discard)

    async def end(self, deadline_seconds: float) -> None:
        """Wait for the aborts under way, and cancel what is left at the deadline."""
        if self._aborts:
            await asyncio.wait(tuple(self._aborts), timeout=deadline_seconds)
        for task in tuple(self._aborts):
            task.cancel()

    def _start(self, run: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None] | None:
        if self._group is None:
            run.close()
            return None
        return self._group.create_task(run, name=name)
