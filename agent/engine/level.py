"""The level check: which alerts fire now, asked before every raise, at the start of a run and at a retry."""

from collections.abc import Awaitable, Callable

import structlog

from agent.engine.port import View
from agent.errors import SerinusError

log = structlog.get_logger(__name__)

LevelCheck = Callable[[View], Awaitable[bool]]
"""Whether no alert that fires now stands against this rollout. It sets holds or aborts itself.

Raises Unavailable when that cannot be told: missing data is never healthy.
"""


async def no_alerts(_view: View) -> bool:
    """A LevelCheck for an agent without an alert door."""
    return True


class Level:
    """The level check in use; the door that answers it knows the engine, so it comes after it."""

    def __init__(self, check: LevelCheck) -> None:
        self._check = check

    def use(self, check: LevelCheck) -> None:
        """Ask this from now on."""
        self._check = check

    async def check(self, view: View) -> bool:
        """Ask; raises Unavailable when it cannot be told."""
        return await self._check(view)

    async def look_again(self, view: View) -> None:
        """Ask for the sake of what the answer sets; that it cannot be told is only logged."""
        try:
            await self._check(view)
        except SerinusError as error:
            # It is asked again before the first raise, which waits for an answer.
            log.warning("alert.level_unknown", rollout=str(view.key), error=str(error))
