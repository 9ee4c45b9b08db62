"""Every event type we know, the struct of its data, and its JSON Schema."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from agent.api.decode import read
from agent.api.meta import Struct
from agent.errors import Refused
from agent.events import catalogue
from agent.events.event import Event

INCOMING: Final[Mapping[str, type[Struct]]] = {
    catalogue.ALERT_FIRING: catalogue.Alert,
    catalogue.ALERT_RESOLVED: catalogue.Alert,
    catalogue.DEPLOYMENT_SYNCED: catalogue.DeploymentSynced,
    catalogue.DEPLOYMENT_REQUESTED: catalogue.DeploymentRequested,
    **{catalogue.command_type(command): catalogue.CommandRequest for command in catalogue.COMMANDS},
}
OUTGOING: Final[Mapping[str, type[Struct]]] = {
    catalogue.rollout_event_type(transition): catalogue.RolloutEvent
    for transition in catalogue.ROLLOUT_TRANSITIONS
}
TYPES: Final[Mapping[str, type[Struct]]] = {**INCOMING, **OUTGOING}


def decode_data(event: Event) -> Struct:
    """The event's data as its struct. Raises Refused: unknown type, no JSON, or the field that is wrong."""
    kind = TYPES.get(event.type)
    if kind is None:
        raise Refused(
            f"unknown event type {event.type!r}; see `serinus events types`", field="type"
        )
    try:
        return read(kind, msgspec.json.decode(event.data))
    except msgspec.MsgspecError as error:
        raise Refused(f"not JSON: {error}", field="data") from error


def schema(event_type: str) -> dict[str, Any]:
    """JSON Schema (2020-12) of an event type's data. Raises Refused for an unknown type."""
    kind = TYPES.get(event_type)
    if kind is None:
        raise Refused(
            f"unknown event type {event_type!r}; see `serinus events types`", field="type"
        )
    (body,), components = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"https://serinus.dev/schemas/{event_type}.json",
        "title": event_type,
        **body,
        "$defs": components,
    }
