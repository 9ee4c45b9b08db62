"""One change of a Rollout by compare-and-swap: made again from what is true, each time the swap is lost."""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from agent.api.meta import Key, Object, Ref
from agent.engine.crash_points import Reach
from agent.engine.observe import Objects
from agent.engine.port import Outcome
from agent.engine.write import Writer, version_of
from agent.errors import Conflict, Forbidden, Invalid, NotFound, Refused, Unavailable
from agent.rollout.operator import Patch

TRIES: Final = 6


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What to write; each write is conditional on the version that it was made from.

    Attributes:
        before: merge patches of other objects, written first. They must be harmless on their own.
        patches: merge patches of the Rollout, in order.
        operations: JSON Patch operations, instead of `patches`.
        target: what the operations are for; None is the Rollout.
        message: what was done, for the sender.
    """

    before: tuple[tuple[Ref, dict[str, Any]], ...] = ()
    patches: tuple[Patch, ...] = ()
    operations: tuple[dict[str, Any], ...] = ()
    target: Object | None = None
    message: str = ""


Build = Callable[[Object], Change | Outcome]
"""Makes the change from the Rollout as it is, or says why there is none. Raises Refused."""


class Swap:
    """Writes changes. Raises Unavailable when a change could not be stored."""

    def __init__(self, writer: Writer, objects: Objects, reach: Reach) -> None:
        self._writer = writer
        self._objects = objects
        self._reach = reach

    async def __call__(self, key: Key, build: Build) -> Outcome:
        """Store what `build` makes of the Rollout."""
        ref = Ref("Rollout", *key)
        rollout = self._objects.get(ref)
        fresh = False
        for _ in range(TRIES):
            if rollout is None:
                try:
                    rollout, fresh = await self._writer.get(ref), True
                except NotFound:
                    return Outcome(result="refused", message="there is no such rollout")
            try:
                change = build(rollout)
            except Refused as error:
                change = Outcome(result="refused", message=str(error))
            if isinstance(change, Outcome):
                # The cache may be behind: only what the API server says is a reason to do nothing.
                if fresh:
                    return change
                rollout = None
                continue
            try:
                await self.write(key, rollout, change)
            except Conflict:
                rollout = None
                continue
            except (Invalid, Forbidden) as error:
                return Outcome(result="refused", message=str(error))
            self._reach("intent-after-write")
            return Outcome(result="done", message=change.message)
        raise Unavailable(f"others kept writing {ref}")

    async def write(self, key: Key, rollout: Object, change: Change) -> None:
        """Write a change of this version of the Rollout. Raises what the cluster port raises."""
        self._reach("intent-before-write")
        for ref, body in change.before:
            await self._writer.metadata(ref, body)
        if change.operations:
            target = change.target or rollout
            guard = {
                "op": "test",
                "path": "/metadata/resourceVersion",
                "value": version_of(target),
            }
            place = Ref(str(target["kind"]), key.namespace, str(target["metadata"]["name"]))
            await self._writer.json(place, [guard, *change.operations])
            return
        version = version_of(rollout)
        for patch in change.patches:
            answer = await self._one(key, patch, version)
            version = version_of(answer)

    async def _one(self, key: Key, patch: Patch, version: str) -> Object:
        if patch.target == "status":
            return await self._writer.status(key, patch.body["status"], version)
        metadata = {**(patch.body.get("metadata") or {}), "resourceVersion": version}
        return await self._writer.metadata(
            Ref("Rollout", *key), {**patch.body, "metadata": metadata}
        )
