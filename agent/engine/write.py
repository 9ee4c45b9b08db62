"""One write to the cluster, and what is learned from its answer or its failure."""

import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
import structlog

from agent.api.meta import Key, Object, Ref
from agent.cluster.port import KINDS, Cluster
from agent.engine.observe import Objects
from agent.engine.pruned import Pruned
from agent.errors import AlreadyExists, Conflict, NotFound, SerinusError
from agent.rollout.types import Stage, Write

log = structlog.get_logger(__name__)

T = TypeVar("T", Object, Object | None)
Call = Callable[[], Awaitable[T]]

Counted = Callable[[str, str, str, float], None]
"""Called with kind, verb, result ("ok" or the error's name) and seconds of every write."""


def uncounted(_kind: str, _verb: str, _result: str, _seconds: float) -> None:
    """A `Counted` that forgets."""


class Writer:
    """Sends writes and keeps the cache as new as their answers.

    Every lost race ends as Conflict, after the object in question was read again: the next pass sees what
    is true now, however late the watch is.
    """

    def __init__(
        self, cluster: Cluster, objects: Objects, pruned: Pruned, *, counted: Counted = uncounted
    ) -> None:
        self.cluster = cluster
        self._objects = objects
        self._pruned = pruned
        self._counted = counted
        self._void: dict[Ref, tuple[str, bytes]] = {}

    async def get(self, ref: Ref, *, urgent: bool = False) -> Object:
        """Read the object itself, past the cache. Raises NotFound."""
        try:
            obj = await self.cluster.get(KINDS[ref.kind], ref.namespace, ref.name, urgent=urgent)
        except NotFound:
            self._objects.observe_delete(ref)
            raise
        self._objects.observe_write(obj)
        return obj

    async def send(self, write: Write) -> Object | None:
        """Carry out a planned write; the object afterwards ({} when deleted), None when nothing was sent.

        A write that the server answered without changing anything is not sent again until its object
        changes. Raises Conflict for every lost race, and what the cluster port raises otherwise.
        """
        before = self._objects.get(write.ref) if write.verb in ("merge", "json") else None
        version = version_of(before) if before else ""
        body = msgspec.json.encode(write.body) if version else b""
        if version and self._void.get(write.ref) == (version, body):
            return None
        answer = await self._timed(
            write.ref, write.verb, lambda: self._carry_out(write), urgent=_is_urgent(write)
        )
        if answer is None:
            return {}
        if version and version_of(answer) == version:
            self._void[write.ref] = (version, body)
            log.warning("cluster.write_void", object=str(write.ref), reason=write.reason)
        else:
            self._void.pop(write.ref, None)
        return answer

    async def status(
        self, key: Key, patch: dict[str, Any], resource_version: str, *, urgent: bool = False
    ) -> Object:
        """Merge-patch a Rollout's status by compare-and-swap; the object afterwards.

        Raises Conflict when `resource_version` is not the current one.
        """
        ref = Ref("Rollout", *key)
        body = {"metadata": {"resourceVersion": resource_version}, "status": patch}

        async def call() -> Object:
            return await self.cluster.merge_patch(
                KINDS["Rollout"], key.namespace, key.name, body, status=True, urgent=urgent
            )

        answer = await self._timed(ref, "status", call, urgent=urgent)
        self._pruned.learn("Rollout", patch, answer.get("status") or {})
        return answer

    async def metadata(self, ref: Ref, patch: dict[str, Any], *, urgent: bool = False) -> Object:
        """Merge-patch an object outside its status."""

        async def call() -> Object:
            return await self.cluster.merge_patch(
                KINDS[ref.kind], ref.namespace, ref.name, patch, urgent=urgent
            )

        return await self._timed(ref, "merge", call, urgent=urgent)

    async def json(self, ref: Ref, patch: list[dict[str, Any]], *, urgent: bool = False) -> Object:
        """JSON-patch an object."""

        async def call() -> Object:
            return await self.cluster.json_patch(
                KINDS[ref.kind], ref.namespace, ref.name, patch, urgent=urgent
            )

        return await self._timed(ref, "json", call, urgent=urgent)

    async def _carry_out(self, write: Write) -> Object | None:
        kind, ref, urgent = KINDS[write.ref.kind], write.ref, _is_urgent(write)
        if write.verb == "create":
            return await self.cluster.create(kind, write.body)
        if write.verb == "merge":
            return await self.cluster.merge_patch(
                kind, ref.namespace, ref.name, write.body, urgent=urgent
            )
        if write.verb == "json":
            return await self.cluster.json_patch(
                kind, ref.namespace, ref.name, write.body, urgent=urgent
            )
        try:
            uid = str((self._objects.get(ref) or {}).get("metadata", {}).get("uid", ""))
            await self.cluster.delete(kind, ref.namespace, ref.name, uid=uid)
        except NotFound:
            log.debug("cluster.already_deleted", object=str(ref))
        self._objects.observe_delete(ref)
        return None

    async def _timed(self, ref: Ref, verb: str, call: Call[T], *, urgent: bool) -> T:
        started, result = time.perf_counter(), "ok"
        try:
            answer = await call()
        except (Conflict, NotFound, AlreadyExists) as error:
            result = type(error).__name__
            await self._read_again(ref, urgent=urgent)
            raise Conflict(f"{ref}: {error}") from error
        except SerinusError as error:
            result = type(error).__name__
            raise
        finally:
            self._counted(ref.kind, verb, result, time.perf_counter() - started)
        if answer is not None:
            self._objects.observe_write(answer)
        return answer

    async def _read_again(self, ref: Ref, *, urgent: bool) -> None:
        try:
            await self.get(ref, urgent=urgent)
        except NotFound:
            return
        except SerinusError as error:
            log.info("cluster.reread_failed", object=str(ref), error=str(error))


def _is_urgent(write: Write) -> bool:
    return write.stage is Stage.ROUTES_DOWN


def version_of(obj: Object) -> str:
    """The object's resourceVersion."""
    return str(obj["metadata"].get("resourceVersion", ""))
