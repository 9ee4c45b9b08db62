"""The word that a rollout waits for a person because of a failure of ours."""

import msgspec
import structlog

from agent.api.meta import Key, Object
from agent.clock import Clock
from agent.engine.observe import Objects
from agent.engine.outlet import Outlet
from agent.engine.revision import event_data
from agent.engine.write import Writer, version_of
from agent.errors import SerinusError
from agent.rollout.types import Announcement

log = structlog.get_logger(__name__)


class Notice:
    """Puts `degraded` into the outbox; best effort.

    Args:
        outlet: None when nobody listens.
    """

    def __init__(
        self, writer: Writer, objects: Objects, outlet: Outlet | None, clock: Clock
    ) -> None:
        self._writer = writer
        self._objects = objects
        self._outlet = outlet
        self._clock = clock

    async def quarantined(self, rollout: Object, message: str) -> None:
        """Announce a quarantine; `message` names the wait."""
        if self._outlet is None:
            return
        key, uid = Key.of(rollout), str(rollout["metadata"].get("uid", ""))
        data = event_data(rollout, tuple(self._objects.owned("ReplicaSet", uid)))
        announcement = Announcement(
            transition="degraded", data=msgspec.structs.replace(data, message=message)
        )
        conditions = self._outlet.conditions(
            key, rollout, rollout.get("status") or {}, (announcement,), self._clock.now()
        )
        try:
            await self._writer.status(key, {"conditions": conditions}, version_of(rollout))
        except SerinusError as error:
            log.warning("rollout.quarantine_not_announced", rollout=str(key), error=str(error))
