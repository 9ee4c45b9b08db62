"""When an event came in: stated once, and the same however often, and by whatever road, it is delivered.

Extension `recordedtime` of CloudEvents ("Recorded Time Extension"). Of two events about one thing it tells which one
was told later, which their order of arrival does not: a bus delivers again what was not committed.
"""

from datetime import datetime
from typing import Final

import msgspec

from agent.api.times import format_time_ms, parse_time
from agent.events.event import Event

RECORDED: Final = "recordedtime"
FRESH_SECONDS: Final = 2.0
"""What came in longer ago may be delivered late, or again, after what came in later."""


def recorded_at(event: Event) -> datetime:
    """When it came in; its own time when that was not stated. UTC."""
    return _stated(event) or event.time


def recorded(event: Event, at: datetime) -> Event:
    """The event, stating that it came in at this time unless it states one that can be read."""
    if _stated(event) is not None:
        return event
    extensions = {**event.extensions, RECORDED: format_time_ms(at)}
    return msgspec.structs.replace(event, extensions=extensions)


def is_fresh(event: Event, now: datetime) -> bool:
    """Whether it came in just now, so that nothing has to be asked before it is carried out."""
    return abs((now - recorded_at(event)).total_seconds()) < FRESH_SECONDS


def _stated(event: Event) -> datetime | None:
    try:
        return parse_time(event.extensions[RECORDED])
    except (KeyError, ValueError):
        return None
