"""Subsets of a DestinationRule that no rollout drives any more lose the hash that a rollout gave them.

A hash that stays behind selects no pods once the rollout is gone, so that whatever follows it (a Deployment, another
Rollout) is answered with 503. Argo's controller takes it away, too.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

import structlog

from agent.api.meta import Key, Object, Ref
from agent.api.names import MANAGED_BY
from agent.engine.observe import Objects, Observer
from agent.engine.write import Writer
from agent.errors import NotFound, SerinusError
from agent.traffic.istio_subsets import cleanup_operations

log = structlog.get_logger(__name__)

KIND: Final = "DestinationRule"
DEADLINE_SECONDS: Final = 10.0


class Leftovers:
    """Cleans DestinationRules that name a rollout which is gone, or names them no more.

    Args:
        owns: whether this process drives a rollout.
        spawn: starts a task that the engine owns; whether it did.
    """

    def __init__(
        self,
        objects: Objects,
        observer: Observer,
        writer: Writer,
        *,
        owns: Callable[[Key], bool],
        spawn: Callable[[Coroutine[Any, Any, None]], bool],
    ) -> None:
        self._objects = objects
        self._observer = observer
        self._writer = writer
        self._owns = owns
        self._spawn = spawn
        self._busy: set[Ref] = set()

    def look(self, rule: Object) -> None:
        """Have a look at a DestinationRule; never waits."""
        key = _driver(rule)
        ref = Ref(KIND, *Key.of(rule))
        if key is None or ref in self._busy or not self._owns(key):
            return
        if self._is_left(self._observer.rollout(key), ref):
            self._busy.add(ref)
            if not self._spawn(self._clean(key, ref)):
                self._busy.discard(ref)

    def look_at_all(self, namespace: str | None = None) -> None:
        """Have a look at every DestinationRule (of a namespace)."""
        for rule in tuple(self._objects.list(KIND, namespace)):
            self.look(rule)

    def _is_left(self, rollout: Object | None, rule: Ref) -> bool:
        """A rollout that cannot be read may still drive it."""
        if rollout is None:
            return True
        return self._observer.typed(rollout) is not None and rule not in self._observer.references(
            rollout
        )

    async def _clean(self, key: Key, ref: Ref) -> None:
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                # The cache may be behind: only what the API server says counts.
                try:
                    rollout: Object | None = await self._writer.get(Ref("Rollout", *key))
                except NotFound:
                    rollout = None
                rule = await self._writer.get(ref)
                if _driver(rule) != key or not self._is_left(rollout, ref):
                    return
                await self._writer.json(ref, list(cleanup_operations(rule)))
            log.info("destination_rule.cleaned", rule=str(ref), rollout=str(key))
        except (SerinusError, TimeoutError) as error:
            # The next change of it, or the next sweep, has another look.
            log.warning("destination_rule.not_cleaned", rule=str(ref), error=str(error))
        except Exception:
            # A bug here must not end the task group of everybody.
            log.exception("destination_rule.bug", rule=str(ref))
        finally:
            self._busy.discard(ref)


def _driver(rule: Object) -> Key | None:
    """The rollout that the rule says drives it."""
    meta = rule.get("metadata") or {}
    name = (meta.get("annotations") or {}).get(MANAGED_BY)
    return Key(str(meta.get("namespace") or ""), str(name)) if name else None
