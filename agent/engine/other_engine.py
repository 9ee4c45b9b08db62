"""Whether another engine lives: Argo's controller, by its Lease and by what it writes.

Two engines on one Rollout undo each other's work. A leader renews its Lease every two seconds. A controller
without leader election, or one whose Lease cannot be read, is known by the status that it writes: the watch
shows who wrote it. A sign counts for a while after it was last seen: a controller that moves to another node
is silent for some time, too.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec
import structlog

from agent.api.managers import engines
from agent.api.meta import Key, Object, Ref
from agent.api.times import format_time, parse_time
from agent.clock import Clock
from agent.cluster.port import KINDS, Cluster
from agent.errors import Forbidden, NotFound, SerinusError

log = structlog.get_logger(__name__)

POLL_SECONDS: Final = 3.0
TICK_SECONDS: Final = 1.0
_LEASE: Final = KINDS["Lease"]


class Sign(msgspec.Struct, frozen=True):
    """Why we believe that another engine lives, and when that was last true."""

    why: str
    at: datetime


class OtherEngine:
    """Looks out for another engine.

    Args:
        leases: of leaders, each `name` (in any namespace) or `namespace/name`.
        quiet_seconds: how long after its last sign an engine counts as living.
    """

    def __init__(
        self, cluster: Cluster, clock: Clock, *, leases: Sequence[str], quiet_seconds: float
    ) -> None:
        self._cluster = cluster
        self._clock = clock
        self._leases = tuple(leases)
        self._quiet = timedelta(seconds=quiet_seconds)
        self._signs: dict[str, Sign] = {}
        self._records: dict[Ref, object] = {}
        self._refused: set[str] = set()
        self._listeners: list[Callable[[], None]] = []
        self._told = ""
        self._looked_at: datetime | None = None
        self.looked = False
        """Whether it has tried to look at the Leases, with whatever outcome."""

    @property
    def why(self) -> str:
        """What shows that another engine lives; "" when nothing does."""
        newest = max(self._signs.values(), key=lambda sign: sign.at, default=None)
        if newest is None or self._clock.now() - newest.at >= self._quiet:
            return ""
        return newest.why

    @property
    def unseen(self) -> str:
        """Why it cannot be told that no engine lives; "" when it can.

        Who writes no status now may be idle, so only Leases show that.
        """
        if not self._leases:
            return "engine.argo_leases is empty"
        if self._refused:
            return f"Lease {', '.join(sorted(self._refused))} may not be read"
        if not self.looked:
            return "nobody has looked yet"
        if self._looked_at is None or self._clock.now() - self._looked_at >= self._quiet:
            return "its Lease could not be read"
        return ""

    def on_change(self, listener: Callable[[], None]) -> None:
        """Have `listener` called when one begins or ceases to live."""
        self._listeners.append(listener)

    def changed(self, ref: Ref, _old: Object | None, new: Object | None) -> None:
        """The cache shows a change: see who wrote the status of a Rollout."""
        if ref.kind != "Rollout" or new is None:
            return
        for written in engines(new):
            if written.at is not None:
                text = f"{written.manager} writes the status of Rollout {Key.of(new)}"
                self._see(f"manager {written.manager}", text, written.at)

    async def check(self) -> None:
        """Look at the Leases once. Raises Unavailable when they cannot be read."""
        try:
            leases = await self._read()
        finally:
            self.looked = True
        for lease in leases:
            self._look_at(lease)
        self._looked_at = self._clock.now()
        self._tell()

    async def run(self) -> None:
        """Looks until cancelled; at once when it has not looked before."""
        next_at = self._clock.monotonic() + (0.0 if self._looked_at is None else POLL_SECONDS)
        while True:
            if self._clock.monotonic() >= next_at:
                try:
                    await self.check()
                except SerinusError as error:
                    # What was known stays known until it has become old.
                    log.warning("other_engine.lease_unknown", error=str(error))
                next_at = self._clock.monotonic() + POLL_SECONDS
            self._tell()
            await self._clock.sleep(TICK_SECONDS)

    async def _read(self) -> list[Object]:
        found: list[Object] = []
        for wanted in self._leases:
            namespace, _, name = wanted.rpartition("/")
            try:
                found += await self._read_one(namespace, name)
                self._refused.discard(wanted)
            except Forbidden as error:
                if wanted not in self._refused:
                    self._refused.add(wanted)
                    log.error("other_engine.lease_forbidden", lease=wanted, error=str(error))
        return found

    async def _read_one(self, namespace: str, name: str) -> Iterable[Object]:
        if not namespace:
            listing = await self._cluster.list(_LEASE, None, fields=f"metadata.name={name}")
            return listing.items
        try:
            return [await self._cluster.get(_LEASE, namespace, name)]
        except NotFound:
            return []

    def _look_at(self, lease: Object) -> None:
        spec, ref = lease.get("spec") or {}, Ref("Lease", *Key.of(lease))
        holder = str(spec.get("holderIdentity") or "")
        record = (holder, spec.get("renewTime"))
        known = self._records.get(ref)
        self._records[ref] = record
        if not holder:
            self._signs.pop(str(ref), None)
            return
        since = str(spec.get("acquireTime") or "?")
        text = f"{ref} is held by {holder} since {since}"
        if known is not None and known != record:
            # Seen to be renewed: however wrong its holder's clock is.
            self._see(str(ref), text, self._clock.now())
        elif known is None:
            self._see(str(ref), text, _time(spec.get("renewTime")))

    def _see(self, name: str, why: str, at: datetime | None) -> None:
        now = self._clock.now()
        at = min(at or now, now)
        known = self._signs.get(name)
        if known is None or known.at < at:
            self._signs[name] = Sign(why, at)
            self._tell()

    def _tell(self) -> None:
        """Tell the listeners when the answer has changed."""
        why = self.why
        if bool(why) == bool(self._told):
            return
        self._told = why
        if why:
            log.warning("other_engine.lives", why=why)
        else:
            log.warning("other_engine.gone", at=format_time(self._clock.now()))
        for listener in self._listeners:
            listener()


def _time(text: object) -> datetime | None:
    try:
        return parse_time(str(text))
    except ValueError:
        return None


async def until_checked(other: OtherEngine, clock: Clock) -> None:
    """Wait for the first look at the Leases: before it nobody knows who drives."""
    while True:
        try:
            async with asyncio.timeout(POLL_SECONDS * 5):
                return await other.check()
        except (SerinusError, TimeoutError) as error:
            log.warning("other_engine.lease_unknown", error=str(error) or "took too long")
        await clock.sleep(TICK_SECONDS)
