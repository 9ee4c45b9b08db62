"""Events onto the wire, by the CloudEvents SDK, with its traps worked round.

The SDK keeps a reference to the attributes it is given and invents what is missing, so it gets a fresh and
complete dict of strings; data goes in as bytes, or None for "no data" (an empty record value).
"""

from typing import Any

import msgspec
from cloudevents.core.bindings import http
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from agent.events.event import Event


def _cloudevent(event: Event, data: Any) -> CloudEvent:
    """The SDK's event with these data."""
    attributes: dict[str, Any] = {
        "specversion": "1.0",
        "id": event.id,
        "source": event.source,
        "type": event.type,
        "time": event.time,
        **event.extensions,
    }
    optional = {
        "subject": event.subject,
        "datacontenttype": event.datacontenttype,
        "dataschema": event.dataschema,
    }
    attributes |= {name: value for name, value in optional.items() if value}
    return CloudEvent(attributes, data)


def to_json(event: Event) -> bytes:
    """Structured mode, JSON."""
    return http.to_structured(_cloudevent(event, _decoded(event)), JSONFormat()).body


def to_binary(event: Event) -> tuple[dict[str, str], bytes]:
    """Binary mode over HTTP: headers and body.

    Data go in as bytes: of a JSON document that is a string the SDK would write the bare text.
    """
    message = http.to_binary(_cloudevent(event, event.data or None), JSONFormat())
    return dict(message.headers), message.body


def _decoded(event: Event) -> Any:
    """What stands under `data` of an envelope: JSON as its value, anything else as bytes (`data_base64`)."""
    if not event.data:
        return None
    if event.datacontenttype in ("", "application/json") or event.datacontenttype.endswith("+json"):
        return msgspec.json.decode(event.data)
    return event.data
