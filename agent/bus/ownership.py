"""Who drives which rollout, by Kafka's partitions."""

import functools
from collections.abc import Callable

import structlog

from agent.api.meta import Key
from agent.bus.partition import partition_of

log = structlog.get_logger(__name__)


class PartitionOwner:
    """Owner of a rollout is who holds partition murmur2(`namespace/name`) mod n of the inbox.

    Implements agent.engine.ownership.Ownership. What was held stays held until the group has shared out anew:
    without brokers the rollouts are driven on, and where two replicas drive one, the fence decides.
    """

    def __init__(self) -> None:
        self._held: frozenset[int] = frozenset()
        self._partitions = 0
        self._callbacks: list[Callable[[], None]] = []

    def owns(self, key: Key) -> bool:
        """Whether this process drives the rollout."""
        return self._partitions > 0 and _partition(key, self._partitions) in self._held

    def holds(self) -> bool:
        """Whether this process drives any rollout there may be."""
        return bool(self._held)

    def on_change(self, callback: Callable[[], None]) -> None:
        """Have `callback` called after rollouts were gained or lost."""
        self._callbacks.append(callback)

    def assigned(self, held: frozenset[int], partitions: int) -> None:
        """These partitions of so many are ours now."""
        if (held, partitions) == (self._held, self._partitions):
            return
        gained, lost = len(held - self._held), len(self._held - held)
        self._held, self._partitions = held, partitions
        log.info("ownership.changed", held=sorted(held), of=partitions, gained=gained, lost=lost)
        for callback in self._callbacks:
            callback()


@functools.lru_cache(maxsize=65_536)
def _partition(key: Key, partitions: int) -> int:
    return partition_of(str(key).encode(), partitions)
