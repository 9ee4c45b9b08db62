"""The clock port: wall time for what is stored, monotonic time for deadlines.

Nothing pure reads a clock; the engine hands `now` in. Tests and simulation use `LoopClock` on a loop with virtual time.
"""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Source of time. `now()` is timezone-aware UTC; `monotonic()` is in seconds."""

    def now(self) -> datetime: ...

    def monotonic(self) -> float: ...

    async def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """Real time."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))


class LoopClock:
    """Wall time derived from the event loop's own time: a loop with virtual time (looptime) moves both.

    Args:
        epoch: the wall time at which the loop's clock showed what it shows at construction.
    """

    def __init__(self, epoch: datetime) -> None:
        self._epoch = epoch
        self._start = asyncio.get_running_loop().time()

    def now(self) -> datetime:
        return self._epoch + timedelta(seconds=self.monotonic() - self._start)

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))
