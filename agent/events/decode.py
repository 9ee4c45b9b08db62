"""The strict decoder: what is not a CloudEvent of ours to trust is refused with the reason.

Specification: CloudEvents 1.0.2, its HTTP and Kafka bindings and JSON format. The content type alone
decides between structured, batched and binary mode; nothing that is missing is invented.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import msgspec

from agent.api.decode import parse_json
from agent.api.times import parse_time
from agent.errors import Refused
from agent.events.event import Event

MAX_EVENT: Final = 256 * 1024
MAX_BATCH: Final = 256
_STRUCTURED: Final = "application/cloudevents+json"
_BATCH: Final = "application/cloudevents-batch+json"
_NAME: Final = re.compile(r"[a-z0-9]{1,64}")
_CORE: Final = (
    "id",
    "source",
    "type",
    "specversion",
    "time",
    "subject",
    "datacontenttype",
    "dataschema",
)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class Undecodable(Refused):
    """Bytes that are no event."""


def from_http(headers: Iterable[tuple[str, str]], body: bytes) -> list[Event]:
    """The events of an HTTP request. Raises Undecodable with the reason."""
    fields = _once(headers)
    media = _media(fields.get("content-type", ""))
    if media == _BATCH:
        return _batch(body)
    if media == _STRUCTURED:
        return [_structured(body)]
    if media.startswith("application/cloudevents"):
        raise Undecodable(
            f"content type {media!r} is not supported; use {_STRUCTURED}", field="content-type"
        )
    attributes = {
        name[3:]: _percent_decoded(value)
        for name, value in fields.items()
        if name.startswith("ce-")
    }
    return [_binary(attributes, media, body)]


def from_message(headers: Iterable[tuple[str, bytes | None]], value: bytes) -> Event:
    """The event of a message with the headers of Kafka's binding, structured or binary.

    Raises Undecodable with the reason.
    """
    fields = _once(_texts(headers))
    media = _media(fields.get("content-type", ""))
    if media == _STRUCTURED:
        return _structured(value)
    if media.startswith("application/cloudevents"):
        raise Undecodable(f"content type {media!r} is not supported", field="content-type")
    attributes = {name[3:]: text for name, text in fields.items() if name.startswith("ce_")}
    return _binary(attributes, media, value)


def _texts(headers: Iterable[tuple[str, bytes | None]]) -> Iterator[tuple[str, str]]:
    """Header names and values; a header that is null counts as absent."""
    for name, value in headers:
        if value is None:
            continue
        try:
            yield name, value.decode()
        except UnicodeDecodeError as error:
            raise Undecodable("is not UTF-8", field=f"header {name}") from error


def _once(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Headers by lower-case name. What decides must not depend on which of two a reader takes."""
    fields: dict[str, str] = {}
    for name, value in headers:
        lower = name.lower()
        if lower in fields and (lower == "content-type" or lower.startswith(("ce-", "ce_"))):
            raise Undecodable("is given twice", field=f"header {lower}")
        fields[lower] = value
    return fields


def _media(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _percent_decoded(value: str) -> str:
    text = value.strip()
    if len(text) >= 2 and text[0] == text[-1] == '"':
        text = re.sub(r"\\(.)", r"\1", text[1:-1])
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError as error:
        raise Undecodable(f"{value!r} is not percent-encoded UTF-8") from error


def _json(body: bytes) -> Any:
    if len(body) > MAX_EVENT * MAX_BATCH:
        raise Undecodable(f"longer than {MAX_EVENT * MAX_BATCH} bytes")
    try:
        return parse_json(body)
    except Refused as error:
        raise Undecodable(error.detail) from error


def _batch(body: bytes) -> list[Event]:
    items = _json(body)
    if not isinstance(items, list):
        raise Undecodable("a batch is a JSON array of events")
    if len(items) > MAX_BATCH:
        raise Undecodable(f"{len(items)} events in one batch, at most {MAX_BATCH}")
    return [_envelope(item, f"[{index}].") for index, item in enumerate(items)]


def _structured(body: bytes) -> Event:
    if len(body) > MAX_EVENT:
        raise Undecodable(f"longer than {MAX_EVENT} bytes")
    return _envelope(_json(body), "")


def _envelope(item: Any, where: str) -> Event:
    if not isinstance(item, dict):
        raise Undecodable("an event is a JSON object", field=where.rstrip("."))
    item = {name: value for name, value in item.items() if value is not None}
    for name in _CORE:
        if not isinstance(item.get(name, ""), str):
            raise Undecodable("must be a string", field=f"{where}{name}")
    data = b""
    if "data" in item and "data_base64" in item:
        raise Undecodable("an event has data or data_base64, not both", field=f"{where}data")
    if "data_base64" in item:
        data = _base64(item.pop("data_base64"), f"{where}data_base64")
    media = _media(item.get("datacontenttype") or "application/json")
    if "data" in item:
        value = item.pop("data")
        is_text = isinstance(value, str) and not (
            media == "application/json" or media.endswith("+json")
        )
        data = value.encode() if is_text else msgspec.json.encode(value)
    if len(data) > MAX_EVENT:
        raise Undecodable(f"longer than {MAX_EVENT} bytes", field=f"{where}data")
    attributes = {name: _attribute(value, f"{where}{name}") for name, value in item.items()}
    return _event(attributes, media if data else "", data, where)


def _base64(value: Any, field: str) -> bytes:
    if not isinstance(value, str):
        raise Undecodable("must be a string of base64", field=field)
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Undecodable(f"not base64: {error}", field=field) from error


def _attribute(value: Any, field: str) -> str:
    """The canonical string form. Raises Undecodable for what is no attribute."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        if not -(2**31) <= value < 2**31:
            raise Undecodable("is outside the range of a CloudEvents Integer", field=field)
        return str(value)
    if isinstance(value, str):
        return value
    raise Undecodable("must be a string, an integer or a boolean", field=field)


def _binary(attributes: Mapping[str, str], media: str, body: bytes) -> Event:
    if len(body) > MAX_EVENT:
        raise Undecodable(f"longer than {MAX_EVENT} bytes")
    if "specversion" not in attributes:
        raise Undecodable(
            f"neither {_STRUCTURED} nor binary mode: header ce-specversion is missing",
            field="content-type",
        )
    if "datacontenttype" in attributes:
        raise Undecodable("is the Content-Type header in binary mode", field="datacontenttype")
    return _event(attributes, (media or "application/json") if body else "", body, "")


def _event(attributes: Mapping[str, str], media: str, data: bytes, where: str) -> Event:
    for name in ("id", "source", "type", "specversion"):
        if not attributes.get(name):
            raise Undecodable("is required and must not be empty", field=f"{where}{name}")
    if attributes["specversion"] != "1.0":
        raise Undecodable(
            f"{attributes['specversion']!r} is not supported, only 1.0", field=f"{where}specversion"
        )
    for name, value in attributes.items():
        if not _NAME.fullmatch(name):
            raise Undecodable(
                "attribute names are lower-case letters and digits", field=f"{where}{name}"
            )
        if name == "data":
            raise Undecodable("is no name of an attribute", field=f"{where}data")
        if _CONTROL.search(value):
            raise Undecodable("must not have control characters", field=f"{where}{name}")
    time = attributes.get("time", "")
    if not time:
        raise Undecodable(
            "is required by Serinus: nothing can be ordered or explained without it",
            field=f"{where}time",
        )
    try:
        at = parse_time(time)
    except ValueError as error:
        raise Undecodable(
            f"{time!r} is not an RFC 3339 time with a zone", field=f"{where}time"
        ) from error
    return Event(
        id=attributes["id"],
        source=attributes["source"],
        type=attributes["type"],
        time=at,
        subject=attributes.get("subject", ""),
        datacontenttype=media,
        dataschema=attributes.get("dataschema", ""),
        extensions={name: value for name, value in attributes.items() if name not in _CORE},
        data=data,
    )
