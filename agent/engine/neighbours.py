"""Who else refers to what: rollouts that name the same object, route objects that speak for the same host.

Fed by every change of the cache, so that every replica knows of all rollouts, also of those it does not drive.
"""

from collections.abc import Callable, Iterable, Iterator

from agent.api.meta import Key, Object, Ref
from agent.traffic.hosts import HOST_KINDS, hosts_of


class Neighbours:
    """Two indexes: objects to the rollouts that name them, hosts to the route objects that have them.

    Args:
        named: the Services and route objects that a Rollout names.
    """

    def __init__(self, named: Callable[[Object], Iterable[Ref]]) -> None:
        self._names_of = named
        self._named: dict[Key, frozenset[Ref]] = {}
        self._users: dict[Ref, dict[Key, None]] = {}
        self._hosts: dict[Ref, frozenset[str]] = {}
        self._hosted: dict[str, dict[Ref, None]] = {}

    def changed(self, ref: Ref, new: Object | None) -> tuple[Key, ...]:
        """The cache shows a change (None: gone); the rollouts to which this makes a difference."""
        if ref.kind == "Rollout":
            return tuple(sorted(self._rollout(Key(ref.namespace, ref.name), new)))
        if ref.kind in HOST_KINDS:
            return tuple(sorted(self._route(ref, new)))
        return ()

    def rivals(self, key: Key) -> tuple[Key, ...]:
        """Other rollouts that name a Service or route object of this one."""
        found = {
            other for ref in self._named.get(key, ()) for other in self._users[ref] if other != key
        }
        return tuple(sorted(found))

    def beside(self, refs: Iterable[Ref]) -> tuple[Ref, ...]:
        """Other route objects, of whatever kind, that have a host in common with these."""
        known = frozenset(refs)
        found = {
            other
            for ref in known
            for hosted in self._hosts.get(ref, ())
            for other in self._hosted[hosted]
        }
        return tuple(sorted(found - known))

    def _rollout(self, key: Key, new: Object | None) -> Iterator[Key]:
        names = frozenset(self._names_of(new)) if new is not None else frozenset[Ref]()
        known = self._named.get(key, frozenset())
        if names == known:
            return
        for ref in known - names:
            self._users[ref].pop(key)
            yield from self._users[ref]
            if not self._users[ref]:
                del self._users[ref]
        for ref in names - known:
            users = self._users.setdefault(ref, {})
            yield from users
            users[key] = None
        if names:
            self._named[key] = names
        else:
            self._named.pop(key, None)

    def _route(self, ref: Ref, new: Object | None) -> set[Key]:
        hosts = frozenset(hosts_of(ref.kind, new)) if new else frozenset[str]()
        known = self._hosts.get(ref, frozenset())
        beside = {other for hosted in known | hosts for other in self._hosted.get(hosted, ())}
        for hosted in known - hosts:
            self._hosted[hosted].pop(ref)
            if not self._hosted[hosted]:
                del self._hosted[hosted]
        for hosted in hosts - known:
            self._hosted.setdefault(hosted, {})[ref] = None
        if hosts:
            self._hosts[ref] = hosts
        else:
            self._hosts.pop(ref, None)
        return {key for other in beside - {ref} for key in self._users.get(other, ())}
