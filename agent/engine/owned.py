"""The rollouts that this process drives, from the cache."""

from agent.api.meta import Key, Object
from agent.engine.observe import Objects
from agent.engine.ownership import Ownership


class Owned:
    """The cache's Rollouts, but for those that another process drives."""

    def __init__(self, objects: Objects, ownership: Ownership) -> None:
        self._objects = objects
        self._ownership = ownership

    def rollouts(self) -> tuple[Object, ...]:
        """The Rollouts that exist and are ours to drive now."""
        return tuple(
            rollout
            for rollout in self._objects.list("Rollout")
            if self._ownership.owns(Key.of(rollout))
        )

    def rollout_keys(self) -> tuple[Key, ...]:
        """Their keys."""
        return tuple(Key.of(rollout) for rollout in self.rollouts())
