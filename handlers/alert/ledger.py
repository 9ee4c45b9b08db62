"""The ledger: matched alerts that fired and did not resolve, for the level check before a raise.

Used when Alertmanager's own API is not configured. One ConfigMap, bounded, written by
compare-and-swap, so that every replica and every restart sees the same alerts.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec
import structlog

from agent.cluster.port import KINDS, Cluster
from agent.errors import AlreadyExists, Conflict, NotFound, SerinusError, Unavailable
from agent.events.catalogue import Alert
from handlers.alert.webhook import nanoseconds

log = structlog.get_logger(__name__)

MAX_ALERTS: Final = 500
MAX_BYTES: Final = 256 * 1024
ATTEMPTS: Final = 6
_CONFIG_MAP: Final = KINDS["ConfigMap"]
_KEY: Final = "alerts.json"

Alerts = tuple[Alert, ...]


@dataclass(eq=False, slots=True)
class _Change:
    """One change that somebody waits for."""

    make: Callable[[Alerts], Alerts]
    done: bool = False
    error: SerinusError | None = None


class Source(Protocol):
    """Where the alerts that fire now are known."""

    async def active(self) -> Alerts:
        """Alerts that fire now. Raises Unavailable when it cannot be told."""
        ...

    async def fired(self, alert: Alert) -> None: ...

    async def resolved(self, alert: Alert) -> None: ...

    @property
    def live(self) -> bool:
        """Whether `active` is Alertmanager's own word, so that an absent alert means it has ended."""
        ...


class ConfigMapLedger:
    """The ledger in ConfigMap `namespace/name`, oldest alert first."""

    live = False

    def __init__(self, cluster: Cluster, *, namespace: str, name: str = "serinus-alerts") -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._name = name
        self._waiting: list[_Change] = []
        self._swapping = asyncio.Lock()

    async def active(self) -> Alerts:
        return (await self._load())[0]

    async def fired(self, alert: Alert) -> None:
        slim = msgspec.structs.replace(alert, generator_url="", external_url="", group_key="")
        await self._change(lambda alerts: (*_without(alerts, slim), slim))

    async def resolved(self, alert: Alert) -> None:
        await self._change(lambda alerts: _without(alerts, alert))

    async def _load(self) -> tuple[Alerts, str]:
        """The alerts and the resource version they were read at, "" when there is no ConfigMap."""
        try:
            found = await self._cluster.get(_CONFIG_MAP, self._namespace, self._name)
        except NotFound:
            return (), ""
        text = (found.get("data") or {}).get(_KEY, "[]")
        try:
            alerts = tuple(msgspec.json.decode(text, type=list[Alert]))
        except msgspec.MsgspecError as error:
            # Somebody edited it. Losing it costs a level check, never a live alert.
            log.error(
                "alert.ledger_unreadable",
                configmap=f"{self._namespace}/{self._name}",
                error=str(error),
            )
            alerts = ()
        return alerts, str(found["metadata"]["resourceVersion"])

    async def _change(self, make: Callable[[Alerts], Alerts]) -> None:
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
                after = change.make(after)
            after = _bounded(after)
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


def same(one: Alert, other: Alert) -> bool:
    """Whether two alerts are one firing: fingerprint and the instant of startsAt."""
    return one.fingerprint == other.fingerprint and nanoseconds(one.starts_at) == nanoseconds(
        other.starts_at
    )


def _without(alerts: Alerts, gone: Alert) -> Alerts:
    return tuple(alert for alert in alerts if not same(alert, gone))


def _bounded(alerts: Alerts) -> Alerts:
    """The newest alerts that fit; what falls out is still seen when its webhook repeats."""
    kept = alerts[-MAX_ALERTS:]
    while kept and len(msgspec.json.encode(kept)) > MAX_BYTES:
        kept = kept[1:]
    if len(kept) < len(alerts):
        log.warning("alert.ledger_full", dropped=len(alerts) - len(kept), kept=len(kept))
    return kept
