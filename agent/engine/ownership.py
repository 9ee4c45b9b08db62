"""Who drives which rollout. Intents and aborts are written by any replica; passes only by the owner."""

from collections.abc import Callable
from typing import Protocol

from agent.api.meta import Key


class Ownership(Protocol):
    """Which rollouts this process drives. Losing one is harmless at any moment: the fence decides."""

    def owns(self, key: Key) -> bool: ...

    def holds(self) -> bool:
        """Whether this process drives anything at all."""
        ...

    def on_change(self, callback: Callable[[], None]) -> None:
        """Have `callback` called after rollouts were gained or lost."""
        ...


class SoleOwner:
    """One process drives everything: it is the only one."""

    def owns(self, key: Key) -> bool:  # noqa: ARG002 - the interface asks by key
        return True

    def holds(self) -> bool:
        return True

    def on_change(self, callback: Callable[[], None]) -> None:
        """Nothing ever changes hands."""
