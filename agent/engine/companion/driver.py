"""Whether somebody drives beside a companion: an abort that nobody carries out takes no request off."""

import asyncio
import math
from typing import Final, Literal

import structlog

from agent.clock import Clock
from agent.engine.other_engine import OtherEngine

log = structlog.get_logger(__name__)

TICK_SECONDS: Final = 1.0
WARNING: Final = (
    "no Argo Rollouts controller lives: nobody carries out an abort; "
    "start the controller, or name its Lease in engine.argo_leases"
)

State = Literal["lives", "absent", "unseen"]


class Driver:
    """Watches the engine that a companion leaves the driving to."""

    def __init__(self, other: OtherEngine, clock: Clock) -> None:
        self._other = other
        self._clock = clock
        self._told: State | None = None

    @property
    def state(self) -> State:
        """What is known of it; `unseen` when nothing shows that it lives, and it might all the same."""
        if self._other.why:
            return "lives"
        return "unseen" if self._other.unseen else "absent"

    @property
    def note(self) -> str:
        """For readiness."""
        if self.state == "lives":
            return "companion: as set"
        if self.state == "unseen":
            return f"companion: as set; whether an Argo Rollouts controller lives is not known: {self._other.unseen}"
        return f"companion: as set, but {WARNING}"

    def gauge(self) -> float:
        """1 when it lives, 0 when none does, NaN when that is not known."""
        return {"lives": 1.0, "absent": 0.0, "unseen": math.nan}[self.state]

    async def run(self) -> None:
        """Looks, and says when it goes and when it comes back, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._other.run(), name="other engine")
            while True:
                self._tell()
                await self._clock.sleep(TICK_SECONDS)

    def _tell(self) -> None:
        state, before = self.state, self._told
        if state == before or (before is None and not self._other.looked):
            return
        self._told = state
        if state == "absent":
            log.error("companion.nobody_drives", warning=WARNING)
        elif state == "unseen":
            log.warning("companion.driver_unseen", reason=self._other.unseen)
        elif before is not None:
            log.warning("companion.driven_again", why=self._other.why)
