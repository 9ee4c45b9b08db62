"""The examples in docs/events: one whole event of every type, read as ours are read."""

from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from agent.events.catalogue import AGENT_MODE
from agent.events.decode import from_http
from agent.events.event import Event
from agent.events.registry import OUTGOING, TYPES, decode_data, schema

EXAMPLES = Path(__file__).parent.parent.parent / "docs" / "events"
MAX_ANNOUNCEMENT = 4096


def example(type_: str) -> Event:
    body = (EXAMPLES / f"{type_}.json").read_bytes()
    (event,) = from_http([("content-type", "application/cloudevents+json")], body)
    return event


def test_every_type_has_its_example_and_nothing_else_has() -> None:
    assert sorted(path.name for path in EXAMPLES.iterdir()) == sorted(f"{t}.json" for t in TYPES)


@pytest.mark.parametrize("type_", TYPES)
def test_an_example_is_an_event_of_its_type(type_: str) -> None:
    event = example(type_)
    data = msgspec.json.decode(event.data)
    assert event.type == type_
    jsonschema.Draft202012Validator(schema(type_)).validate(data)
    # What stands in an example must mean something: members that nobody reads would be dropped here.
    assert msgspec.to_builtins(decode_data(event)) == _at_rest(data)


@pytest.mark.parametrize("type_", TYPES)
def test_a_schema_refuses_what_the_reader_refuses(type_: str) -> None:
    validator = jsonschema.Draft202012Validator(schema(type_))
    data = msgspec.json.decode(example(type_).data)
    for name in TYPES[type_].__struct_fields__[:2]:
        wire = {field.name: field.encode_name for field in msgspec.structs.fields(TYPES[type_])}
        assert not validator.is_valid({**data, wire[name]: {"not": ["a", "text"]}}), name
    assert not validator.is_valid([data])


@pytest.mark.parametrize("type_", [type_ for type_ in OUTGOING if type_ != AGENT_MODE])
def test_an_announcement_is_short_and_says_where_it_belongs(type_: str) -> None:
    event = example(type_)
    assert len((EXAMPLES / f"{type_}.json").read_bytes()) < MAX_ANNOUNCEMENT
    assert event.subject == event.extensions["partitionkey"] == "shop/checkout"
    assert {"sequence", "correlationid"} <= set(event.extensions)


def _at_rest(data: Any) -> Any:
    """Without members at their defaults (0 and ""), which structs leave out."""
    if isinstance(data, dict):
        return {name: _at_rest(value) for name, value in data.items() if value not in (0, "", None)}
    if isinstance(data, list):
        return [_at_rest(value) for value in data]
    return data
