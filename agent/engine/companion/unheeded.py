"""Aborts that nobody carries out: the engine that should drive is not there, or cannot.

The intent alone takes no request off a bad version. So a rollout is looked at once more when its abort should
have been carried out; what is told then follows from what is seen (agent.rollout.sighting).
"""

from collections.abc import Callable
from datetime import datetime

import structlog

from agent.api.decode import read
from agent.api.meta import Key, Object, Ref
from agent.api.rollout import Rollout
from agent.clock import Clock
from agent.engine.companion.abort import conclusion_of
from agent.engine.metrics import Meter
from agent.engine.observe import Objects
from agent.engine.timers import Timers
from agent.errors import Refused
from agent.rollout.sighting import UNHEEDED_SECONDS, late_at, waits_for_abort

log = structlog.get_logger(__name__)


class Unheeded:
    """Watches the aborts that this agent, or a replica of it, has asked for.

    Args:
        again: has a rollout looked at.
    """

    def __init__(
        self, objects: Objects, clock: Clock, again: Callable[[Key], None], meter: Meter
    ) -> None:
        self._objects = objects
        self._again = again
        self._meter = meter
        self._timers = Timers(self._tell, clock)
        self._told: dict[Key, datetime] = {}

    def look(self, key: Key, rollout: Object | None) -> None:
        """A version of a Rollout (None: it is gone); never waits."""
        due = _due(rollout) if rollout is not None else None
        if due is None:
            self._told.pop(key, None)
        self._timers.set(key, None if self._told.get(key) == due else due)

    async def run(self) -> None:
        """Watches until cancelled; may be run again."""
        await self._timers.run()

    def _tell(self, key: Key, _cause: str) -> None:
        rollout = self._objects.get(Ref("Rollout", *key))
        due = _due(rollout) if rollout is not None else None
        if due is None:
            return
        self._told[key] = due
        log.error("rollout.abort_unheeded", rollout=str(key), seconds=UNHEEDED_SECONDS)
        self._meter.unheeded()
        self._again(key)


def _due(rollout: Object) -> datetime | None:
    """When an abort of ours on it is late; None when it waits for none."""
    conclusion = conclusion_of(rollout)
    if conclusion is None:
        return None
    try:
        waits = waits_for_abort(read(Rollout, rollout))
    except Refused:
        return None
    return late_at(conclusion.decided_at) if waits else None
