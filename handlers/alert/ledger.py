"""The ledger: matched alerts that fired and did not resolve, for the level check before a raise.

Used when Alertmanager's own API is not configured. One ConfigMap, bounded, written by
compare-and-swap, so that every replica and every restart sees the same alerts.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

import msgspec
import structlog

from agent.api.holds import Hold
from agent.cluster.port import KINDS, Cluster
from agent.errors import AlreadyExists, Conflict, NotFound, SerinusError, Unavailable
from agent.events.catalogue import Alert
from handlers.alert.memory import Memory, read_memory

log = structlog.get_logger(__name__)

ATTEMPTS: Final = 6
_CONFIG_MAP: Final = KINDS["ConfigMap"]
_KEY: Final = "alerts.json"

Alerts = tuple[Alert, ...]


@dataclass(eq=False, slots=True)
class _Change:
    """One change that somebody waits for.

    Attributes:
        make: the memory with it; None when a later word has made it void.
        counts: whether it was not void.
    """

    make: Callable[[Memory], Memory | None]
    counts: bool = True
    done: bool = False
    error: SerinusError | None = None


class Source(Protocol):
    """Where the alerts that fire now are known. Of every event it is told when it came in (`told`)."""

    async def active(self) -> Alerts:
        """Alerts that fire now. Raises Unavailable when it cannot be told."""
        ...

    async def fired(self, alert: Alert, told: datetime) -> bool:
        """Note that it fires; False when it is known to be over by a later word."""
        ...

    async def resolved(self, alert: Alert, told: datetime, *, matched: bool) -> bool:
        """Note that it is over; False when it is known to fire by a later word.

        Args:
            matched: it is about a rollout, so that the word that it fires would count.
        """
        ...

    async def is_over(self, alert: Alert, told: datetime) -> bool:
        """Whether this firing is over, although an event says that it fires."""
        ...

    async def ended(self, holds: Sequence[Hold]) -> list[Hold]:
        """Those whose alert is known to be over. Raises Unavailable when it cannot be told."""
        ...


class ConfigMapLedger:
    """The ledger in ConfigMap `namespace/name`, oldest alert first."""

    def __init__(self, cluster: Cluster, *, namespace: str, name: str = "serinus-alerts") -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._name = name
        self._waiting: list[_Change] = []
        self._swapping = asyncio.Lock()

    async def active(self) -> Alerts:
        return tuple(item.alert for item in (await self._load())[0].firing)

    async def fired(self, alert: Alert, told: datetime) -> bool:
        slim = msgspec.structs.replace(alert, generator_url="", external_url="", group_key="")
        return await self._change(lambda memory: memory.fires(slim, told))

    async def resolved(self, alert: Alert, told: datetime, *, matched: bool) -> bool:
        return await self._change(lambda memory: memory.ends(alert, told, remember=matched))

    async def is_over(self, alert: Alert, told: datetime) -> bool:
        return (await self._load())[0].is_over(alert, told)

    async def ended(self, holds: Sequence[Hold]) -> list[Hold]:
        memory, _ = await self._load()
        return memory.ended(holds)

    async def _load(self) -> tuple[Memory, str]:
        """The memory and the resource version it was read at, "" when there is no ConfigMap."""
        try:
            found = await self._cluster.get(_CONFIG_MAP, self._namespace, self._name)
        except NotFound:
            return Memory(), ""
        text = (found.get("data") or {}).get(_KEY, "{}")
        try:
            memory = read_memory(text)
        except ValueError as error:
            # Somebody edited it. Losing it costs a level check, never a live alert.
            log.error(
                "alert.ledger_unreadable",
                configmap=f"{self._namespace}/{self._name}",
                error=str(error),
            )
            memory = Memory()
        return memory, str(found["metadata"]["resourceVersion"])

    async def _change(self, make: Callable[[Memory], Memory | None]) -> bool:
        """One swap carries all changes that came while the one before was under way.

        In a storm of alerts each would else lose its swap to the others of this very process.
        """
        change = _Change(make)
        self._waiting.append(change)
        async with self._swapping:
            if not change.done:
                await self._carry_out(change)
        if change.error is not None:
            raise change.error
        return change.counts

    async def _carry_out(self, own: _Change) -> None:
        batch, self._waiting = self._waiting, []
        error: SerinusError | None = None
        try:
            await self._swap(batch)
        except SerinusError as failure:
            error = failure
        except BaseException:
            # Cancelled: those who wait behind see to theirs themselves.
            self._waiting[:0] = [change for change in batch if change is not own]
            raise
        for change in batch:
            change.done, change.error = True, error

    async def _swap(self, batch: list[_Change]) -> None:
        for _ in range(ATTEMPTS):
            before, version = await self._load()
            after = before
            for change in batch:
                made = change.make(after)
                change.counts = made is not None
                after = after if made is None else made
            after = self._bounded(after)
            if after == before:
                return
            data = {_KEY: msgspec.json.encode(after).decode()}
            try:
                if version:
                    patch = {"metadata": {"resourceVersion": version}, "data": data}
                    await self._cluster.merge_patch(_CONFIG_MAP, self._namespace, self._name, patch)
                else:
                    meta = {"name": self._name, "namespace": self._namespace}
                    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}
                    await self._cluster.create(_CONFIG_MAP, body)
            except (Conflict, AlreadyExists, NotFound):
                continue
            return
        raise Unavailable(
            f"lost the swap on ConfigMap {self._namespace}/{self._name} {ATTEMPTS} times"
        )

    def _bounded(self, memory: Memory) -> Memory:
        """The newest alerts that fit; what falls out is still seen when its webhook repeats."""
        kept = memory.bounded()
        dropped = len(memory.firing) - len(kept.firing)
        if dropped:
            log.warning("alert.ledger_full", dropped=dropped, kept=len(kept.firing))
        return kept
