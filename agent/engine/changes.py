"""A change that the cache shows becomes wakes of the rollouts that it matters to."""

from collections.abc import Callable
from typing import Protocol

from agent.api.meta import Key, Object, Ref
from agent.engine.announce import Relay
from agent.engine.interest import Interest
from agent.engine.lane import Lanes
from agent.engine.leftovers import KIND as DESTINATION_RULE
from agent.engine.leftovers import Leftovers
from agent.engine.observe import Observer
from agent.engine.owned import Owned


class Wake(Protocol):
    """Look at a rollout soon; `urgent` does not wait for the end of a backoff."""

    def __call__(self, key: Key, cause: str, *, urgent: bool = False) -> None: ...


class Changes:
    """Tells lanes, outboxes and leftovers what has changed.

    Args:
        owned: what this process drives.
        announced: whose outboxes it empties.
        wake: wakes a rollout that exists and is ours.
        runs: whether the engine runs; before, whatever there is is looked at when it starts.
    """

    def __init__(
        self,
        observer: Observer,
        interest: Interest,
        owned: Owned,
        announced: Owned,
        lanes: Lanes,
        relay: Relay | None,
        leftovers: Leftovers,
        *,
        wake: Wake,
        runs: Callable[[], bool],
    ) -> None:
        self._observer = observer
        self._interest = interest
        self._owned = owned
        self._announced = announced
        self._lanes = lanes
        self._relay = relay
        self._leftovers = leftovers
        self._wake = wake
        self._runs = runs

    def changed(self, ref: Ref, old: Object | None, new: Object | None) -> None:
        """The cache shows a change (None: absent)."""
        obj = new or old
        if obj is None:
            return
        for key in self._observer.changed(ref, new):
            self._wake(key, "neighbour")
        for key in tuple(self._interest.of(ref, obj)):
            self._wake(key, ref.kind, urgent=self._observer.is_overexposed(key, ref))
        if self._runs():
            self._look_for_leftovers(ref, old, new)
        if ref.kind == "Rollout":
            self._rollout(Key(ref.namespace, ref.name), new)
        elif ref.kind == "Namespace":
            for key in self._owned.rollout_keys():
                if key.namespace == ref.name:
                    self._wake(key, "namespace")

    def look_at_all(self) -> None:
        """Everything may have changed: the engine starts, or rollouts changed hands."""
        for key in self._owned.rollout_keys():
            self._wake(key, "start")
        self._leftovers.look_at_all()
        self.look_at_outboxes()

    def look_at_outboxes(self) -> None:
        """Have announcements sent that nobody has confirmed."""
        if self._relay is not None:
            for rollout in self._announced.rollouts():
                self._relay.look(rollout)

    def _rollout(self, key: Key, new: Object | None) -> None:
        if new is None:
            self._interest.set(key, ())
            self._lanes.wake(key, "deleted")
        elif self._relay is not None:
            self._relay.look(new)

    def _look_for_leftovers(self, ref: Ref, old: Object | None, new: Object | None) -> None:
        if ref.kind == DESTINATION_RULE and new is not None:
            self._leftovers.look(new)
        elif ref.kind == "Rollout" and (new or {}).get("spec") != (old or {}).get("spec"):
            self._leftovers.look_at_all(ref.namespace)
