"""What the ledger remembers of alerts: which fire, and of which firings it is known that they are over. Pure.

A firing is a fingerprint and the instant of its startsAt. The word that came in last about it counts, not the one
that arrives last: a bus delivers again what nobody committed. That a firing is over is no end for good, either: an
Alertmanager that hears nothing of an alert for a while resolves it, and when it hears of it again, it fires with the
startsAt that it had.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Final

import msgspec

from agent.api.holds import Hold
from agent.events.catalogue import Alert
from handlers.alert.webhook import nanoseconds

MAX_FIRING: Final = 500
MAX_OVER: Final = 500
MAX_BYTES: Final = 256 * 1024
"""Of the alerts that fire; the firings that are over are small."""

Told = Annotated[datetime, msgspec.Meta(tz=True)]
"""When a word came in."""


class Firing(msgspec.Struct, frozen=True):
    """An alert that fires, by the word of `told`."""

    told: Told
    alert: Alert


class Over(msgspec.Struct, frozen=True, rename="camel"):
    """A firing that is over, by the word of `told`."""

    told: Told
    fingerprint: str
    starts_at: str


class Memory(msgspec.Struct, frozen=True):
    """Alerts that fire and firings that are over, both in the order in which they were noted."""

    firing: tuple[Firing, ...] = ()
    over: tuple[Over, ...] = ()

    def fires(self, alert: Alert, told: datetime) -> "Memory | None":
        """With this alert firing; None when a later word says that it is over."""
        if self.is_over(alert, told):
            return None
        if any(item.told >= told and same(item.alert, alert) for item in self.firing):
            return self
        return Memory(
            firing=(*self._others_firing(alert), Firing(told, alert)),
            over=self._others_over(alert),
        )

    def ends(self, alert: Alert, told: datetime, *, remember: bool) -> "Memory | None":
        """With this firing over; None when a later word says that it fires.

        Args:
            remember: note it although nothing is known of its beginning: that word may be on its way.
        """
        if any(item.told > told and same(item.alert, alert) for item in self.firing):
            return None
        others = self._others_firing(alert)
        if others == self.firing and not remember:
            return self
        if any(item.told >= told and same(item, alert) for item in self.over):
            return self
        end = Over(told, alert.fingerprint, alert.starts_at)
        return Memory(others, (*self._others_over(alert), end))

    def is_over(self, alert: Alert, told: datetime) -> bool:
        """Whether a later word than this one says that the firing is over."""
        return any(item.told > told and same(item, alert) for item in self.over)

    def ended(self, holds: Iterable[Hold]) -> list[Hold]:
        """Those of an alert whose last word says that it is over."""
        return [hold for hold in holds if any(same(item, hold) for item in self.over)]

    def _others_firing(self, alert: Alert) -> tuple[Firing, ...]:
        return tuple(item for item in self.firing if not same(item.alert, alert))

    def _others_over(self, alert: Alert) -> tuple[Over, ...]:
        return tuple(item for item in self.over if not same(item, alert))

    def bounded(self) -> "Memory":
        """The newest that fit."""
        firing = self.firing[-MAX_FIRING:]
        while firing and len(msgspec.json.encode(firing)) > MAX_BYTES:
            firing = firing[1:]
        return Memory(firing, self.over[-MAX_OVER:])


def read_memory(text: str) -> Memory:
    """The memory as it was stored. Raises ValueError with what is wrong with it."""
    try:
        return msgspec.json.decode(text, type=Memory)
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from error


def same(one: Alert | Over | Hold, other: Alert | Over | Hold) -> bool:
    """Whether two are one firing; a startsAt that is no time, as somebody may write one, is the same as itself."""
    if one.fingerprint != other.fingerprint:
        return False
    try:
        return nanoseconds(one.starts_at) == nanoseconds(other.starts_at)
    except ValueError:
        return one.starts_at == other.starts_at
