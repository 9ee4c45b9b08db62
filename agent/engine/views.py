"""What can be seen of the rollouts, from the cache and from their last decisions."""

from collections.abc import Iterable, Mapping

import msgspec

from agent.api.meta import Key, Object, Ref
from agent.engine.exposure import view_of
from agent.engine.observe import Objects, Observer
from agent.engine.passes import Wait
from agent.engine.port import View


class Views:
    """A look at rollouts and what belongs to them.

    Args:
        waits: what each rollout waits for, from its last pass.
    """

    def __init__(self, objects: Objects, observer: Observer, waits: Mapping[Key, Wait]) -> None:
        self._objects = objects
        self._observer = observer
        self._waits = waits

    def views(self, namespace: str | None = None) -> Iterable[View]:
        """Rollouts of one namespace, or all."""
        for rollout in self.rollouts(namespace):
            yield self._view(rollout)

    def rollouts(self, namespace: str | None = None) -> Iterable[Object]:
        """The Rollouts of one namespace, or all."""
        return self._objects.list("Rollout", namespace)

    def view(self, key: Key) -> View | None:
        """One rollout; None when it does not exist."""
        rollout = self._objects.get(Ref("Rollout", *key))
        return self._view(rollout) if rollout is not None else None

    def replica_sets(self, key: Key) -> Iterable[Object]:
        """The ReplicaSets that this rollout controls."""
        rollout = self._objects.get(Ref("Rollout", *key))
        return self._owned(rollout) if rollout is not None else ()

    def _owned(self, rollout: Object) -> tuple[Object, ...]:
        return tuple(self._objects.owned("ReplicaSet", str(rollout["metadata"].get("uid", ""))))

    def _view(self, rollout: Object) -> View:
        view = view_of(
            rollout,
            self._owned(rollout),
            self._observer.routes(rollout),
            self._observer.router(rollout),
        )
        wait = self._waits.get(view.key)
        return msgspec.structs.replace(view, why=wait.why) if wait is not None else view
