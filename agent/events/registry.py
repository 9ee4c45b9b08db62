"""Every event type we know, the struct of its data, and its JSON Schema."""

from collections.abc import Mapping
from typing import Any, Final, TypeVar

import msgspec

from agent.api.decode import parse_json, read
from agent.api.meta import Struct
from agent.errors import Refused
from agent.events import catalogue
from agent.events.event import Event

T = TypeVar("T")

INCOMING: Final[Mapping[str, type[Struct]]] = {
    catalogue.ALERT_FIRING: catalogue.Alert,
    catalogue.ALERT_RESOLVED: catalogue.Alert,
    catalogue.DEPLOYMENT_SYNCED: catalogue.DeploymentSynced,
    catalogue.DEPLOYMENT_REQUESTED: catalogue.DeploymentRequested,
    **{catalogue.command_type(command): catalogue.CommandRequest for command in catalogue.COMMANDS},
}
OUTGOING: Final[Mapping[str, type[Struct]]] = {
    **{
        catalogue.rollout_event_type(transition): catalogue.RolloutEvent
        for transition in catalogue.ROLLOUT_TRANSITIONS
    },
    catalogue.AGENT_MODE: catalogue.AgentMode,
}
TYPES: Final[Mapping[str, type[Struct]]] = {**INCOMING, **OUTGOING}


def decode_data(event: Event) -> Struct:
    """The event's data as its struct. Raises Refused: unknown type, no JSON, or the field that is wrong."""
    kind = TYPES.get(event.type)
    if kind is None:
        raise Refused(
            f"unknown event type {event.type!r}; see `serinus events types`", field="type"
        )
    return read_data(kind, event)


def read_data(kind: type[T], event: Event) -> T:
    """The event's data as a struct. Raises Refused: no JSON, or the field that is wrong."""
    try:
        return read(kind, parse_json(event.data))
    except Refused as error:
        raise Refused(error.detail, field=f"data.{error.field}".rstrip(".")) from error


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
