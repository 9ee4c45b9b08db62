"""One owner of everything, elected by a Lease: who drives when no Kafka shares the rollouts out.

The manner is that of client-go's leader election, on the same object (`coordination.k8s.io/v1`), so that people
and tools read it as they are used to. Whoever holds the lease renews it by compare-and-swap. Others watch whether
it changes, by a clock of their own: no time that another machine wrote is ever compared with anything here. The
owner stops `renew_seconds` after it *began* its last renewal that was answered; nobody else begins before
`duration_seconds` after they *saw* it. So there are never two, as long as no clock runs faster than another by
more than duration over renew. A write that was sent just before may still land after; there the fence decides.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
import structlog

from agent.api.meta import Key, Object
from agent.api.times import format_time_us
from agent.clock import Clock
from agent.cluster.port import KINDS, Cluster
from agent.errors import (
    AlreadyExists,
    Conflict,
    Forbidden,
    NotFound,
    SerinusError,
    Unavailable,
)

log = structlog.get_logger(__name__)

JITTER: Final = 1.2
"""A candidate looks again after up to so many times `retry_seconds`: not all at the same moment."""
MOMENT: Final = 0.001
"""Least pause: what is left of a time may be less than a clock can count."""
RELEASE_SECONDS: Final = 3.0
RELEASED_SECONDS: Final = 1
"""Duration of a lease that nobody holds (it must be positive)."""
_LEASE: Final = KINDS["Lease"]


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """Which lease, and who wants it.

    Attributes:
        identity: `holderIdentity`. Never that of another process that may live at the same time.
        duration_seconds: so long others wait after they saw it renewed.
        renew_seconds: so long the owner goes on without a renewal; less than the duration.
        retry_seconds: between two renewals, or two looks.
    """

    name: str
    namespace: str
    identity: str
    duration_seconds: int = 15
    renew_seconds: float = 10.0
    retry_seconds: float = 2.0

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


async def _never() -> bool:
    return False


class LeaseOwner:
    """Implements agent.engine.ownership.Ownership: all or nothing, by a lease.

    Args:
        unless: asked once; when it answers True no election is needed, and this process drives everything.
        counted: called with acquired, lost or released.
    """

    def __init__(
        self,
        cluster: Cluster,
        clock: Clock,
        terms: Terms,
        *,
        unless: Callable[[], Awaitable[bool]] = _never,
        counted: Callable[[str], None] = lambda _change: None,
    ) -> None:
        self._cluster = cluster
        self._clock = clock
        self._terms = terms
        self._unless = unless
        self._counted = counted
        self._callbacks: list[Callable[[], None]] = []
        self._until = float("-inf")
        self._was_owner = False
        self._is_elected: bool | None = None
        self._ours: Object | None = None
        """The lease as our last write left it."""
        self._seen: dict[str, Any] | None = None
        self._seen_at = 0.0
        self._has_looked = False
        self._trouble = ""

    def owns(self, key: Key) -> bool:  # noqa: ARG002 - the interface asks by key
        """Whether this process drives now. By the clock, so that also one who was paused has stopped."""
        return self.holds()

    def holds(self) -> bool:
        """Whether this process drives everything now."""
        return self._clock.monotonic() < self._until

    def on_change(self, callback: Callable[[], None]) -> None:
        """Have `callback` called after everything was gained or lost."""
        self._callbacks.append(callback)

    def missing(self) -> str:
        """What a start waits for: that the lease could be looked at. "" from then on, whoever holds it."""
        if self._has_looked:
            return ""
        return f"lease {self._terms}: {self._trouble or 'was not looked at yet'}"

    @asynccontextmanager
    async def campaigning(self, group: asyncio.TaskGroup) -> AsyncIterator[None]:
        """Want the lease while the context lasts, then give it back, so that another takes over at once."""
        task = group.create_task(self._run(), name="lease")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})
            await self._release()

    async def _run(self) -> None:
        while self._is_elected is not False:
            await self._attempt()
            self._look_at_the_clock()
            await self._clock.sleep(self._pause())
            self._look_at_the_clock()

    async def _attempt(self) -> None:
        """One look, and the write that follows from it. Ends before our own time does."""
        began = self._clock.monotonic()
        left = self._until - began if self._was_owner else self._terms.renew_seconds
        try:
            async with asyncio.timeout(left):
                if self._is_elected is None:
                    self._is_elected = not await self._unless()
                await (self._take(began) if self._is_elected else self._go_alone())
        except (Conflict, AlreadyExists) as error:
            log.debug("lease.raced", lease=str(self._terms), error=str(error))
        except SerinusError as error:
            self._troubled(error)
        except TimeoutError:
            self._troubled(Unavailable("no answer in time"))
        else:
            self._has_looked, self._trouble = True, ""

    async def _go_alone(self) -> None:
        self._until = float("inf")
        self._changed("acquired", "no election is needed here")

    async def _take(self, began: float) -> None:
        """Renew what is ours, take what is free, leave what is another's."""
        if self._ours is not None:
            lease, self._ours = self._ours, None
            try:
                return self._won(await self._claim(lease), began)
            except (Conflict, NotFound):
                # Somebody wrote it, or deleted it: only what is there now counts.
                pass
        try:
            lease = await self._cluster.get(
                _LEASE, self._terms.namespace, self._terms.name, urgent=True
            )
        except NotFound:
            return self._won(await self._cluster.create(_LEASE, self._new()), began)
        spec = lease.get("spec") or {}
        self._see(spec)
        if self._is_anothers(spec):
            return self._lose(f"{spec['holderIdentity']} holds the lease")
        return self._won(await self._claim(lease), began)

    def _see(self, spec: dict[str, Any]) -> None:
        if spec != self._seen:
            self._seen, self._seen_at = spec, self._clock.monotonic()

    def _is_anothers(self, spec: dict[str, Any]) -> bool:
        holder = spec.get("holderIdentity") or ""
        free = not holder or holder == self._terms.identity
        return not free and self._clock.monotonic() < self._expires_at()

    def _expires_at(self) -> float:
        """When what was seen last may be taken, on our clock."""
        duration = (self._seen or {}).get("leaseDurationSeconds") or self._terms.duration_seconds
        return self._seen_at + duration

    async def _claim(self, lease: Object) -> Object:
        """Write ourselves onto the lease as it was read. Raises Conflict when it is another one by now."""
        spec, now = lease.get("spec") or {}, format_time_us(self._clock.now())
        claim: dict[str, Any] = {"renewTime": now}
        if spec.get("holderIdentity") != self._terms.identity:
            claim["acquireTime"] = now
            claim["leaseTransitions"] = int(spec.get("leaseTransitions") or 0) + 1
        return await self._write(lease, claim | self._signature())

    async def _write(self, lease: Object, spec: dict[str, Any]) -> Object:
        version = {"resourceVersion": lease["metadata"]["resourceVersion"]}
        return await self._cluster.merge_patch(
            _LEASE,
            self._terms.namespace,
            self._terms.name,
            {"metadata": version, "spec": spec},
            urgent=True,
        )

    def _new(self) -> Object:
        now = format_time_us(self._clock.now())
        times = {"acquireTime": now, "renewTime": now, "leaseTransitions": 0}
        return {
            "metadata": {"namespace": self._terms.namespace, "name": self._terms.name},
            "spec": times | self._signature(),
        }

    def _signature(self) -> dict[str, Any]:
        return {
            "holderIdentity": self._terms.identity,
            "leaseDurationSeconds": self._terms.duration_seconds,
        }

    def _won(self, lease: Object, began: float) -> None:
        self._ours = lease
        self._see(lease.get("spec") or {})
        self._until = began + self._terms.renew_seconds
        if self.holds():
            self._changed("acquired", "took the lease")

    def _look_at_the_clock(self) -> None:
        if not self.holds():
            self._lose("the lease could not be renewed in time")

    def _lose(self, why: str, change: str = "lost") -> None:
        self._until = float("-inf")
        self._changed(change, why)

    def _changed(self, change: str, why: str) -> None:
        """Tell those who want to know, when it is a change."""
        if self._was_owner == self.holds():
            return
        self._was_owner = self.holds()
        (log.warning if change == "lost" else log.info)(
            f"ownership.{change}", lease=str(self._terms), identity=self._terms.identity, why=why
        )
        self._counted(change)
        for callback in self._callbacks:
            callback()

    def _pause(self) -> float:
        """Until the next look: not beyond the end of our own time, nor of another's."""
        pause, end = self._terms.retry_seconds, self._until
        if not self._was_owner:
            pause *= random.uniform(1, JITTER)  # noqa: S311  # jitter, not a secret
            end = self._expires_at()
        ahead = end - self._clock.monotonic()
        return max(MOMENT, min(pause, ahead)) if ahead > 0 else pause

    def _troubled(self, error: SerinusError) -> None:
        trouble = str(error) + self._fix(error)
        if trouble != self._trouble:
            self._trouble = trouble
            log.warning("lease.trouble", lease=str(self._terms), error=trouble)

    def _fix(self, error: SerinusError) -> str:
        if isinstance(error, Forbidden):
            return (
                f"; grant get, create and patch on leases in namespace {self._terms.namespace} "
                "(deploy/rbac/lease.yaml), or set ownership.kind: none for a single replica"
            )
        return "; set ownership.namespace" if isinstance(error, NotFound) else ""

    async def _release(self) -> None:
        """Leave the lease to the next one; without an answer it runs out by itself."""
        if not self._is_elected:
            return
        self._lose("stopped in order", "released")
        try:
            async with asyncio.timeout(RELEASE_SECONDS):
                lease = self._ours or await self._cluster.get(
                    _LEASE, self._terms.namespace, self._terms.name, urgent=True
                )
                if (lease.get("spec") or {}).get("holderIdentity") == self._terms.identity:
                    now = format_time_us(self._clock.now())
                    free = {"holderIdentity": None, "leaseDurationSeconds": RELEASED_SECONDS}
                    await self._write(lease, free | {"acquireTime": now, "renewTime": now})
        except (SerinusError, TimeoutError) as error:
            log.warning("lease.not_released", lease=str(self._terms), error=str(error))
