"""Which rollouts a changed object matters to."""

from collections.abc import Iterable, Iterator

from agent.api.meta import Key, Object, Ref

OWNED_KINDS = frozenset({"ReplicaSet", "AnalysisRun", "Experiment"})


class Interest:
    """Index from the objects that rollouts refer to (existing or not) to the rollouts."""

    def __init__(self) -> None:
        self._refs: dict[Key, frozenset[Ref]] = {}
        self._keys: dict[Ref, dict[Key, None]] = {}

    def set(self, key: Key, refs: Iterable[Ref]) -> None:
        """This rollout refers to exactly these objects now."""
        wanted, known = frozenset(refs), self._refs.get(key, frozenset())
        if wanted == known:
            return
        for ref in known - wanted:
            keys = self._keys.get(ref, {})
            keys.pop(key, None)
            if not keys:
                self._keys.pop(ref, None)
        for ref in wanted - known:
            self._keys.setdefault(ref, {})[key] = None
        if wanted:
            self._refs[key] = wanted
        else:
            self._refs.pop(key, None)

    def of(self, ref: Ref, obj: Object) -> Iterator[Key]:
        """The rollouts that a change of this object matters to."""
        if ref.kind == "Rollout":
            yield Key(ref.namespace, ref.name)
        elif ref.kind in OWNED_KINDS:
            for owner in obj["metadata"].get("ownerReferences") or ():
                if owner.get("controller") and owner.get("kind") == "Rollout":
                    yield Key(ref.namespace, str(owner["name"]))
        else:
            yield from tuple(self._keys.get(ref, ()))
