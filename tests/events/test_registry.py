"""Types, their data and their schemas."""

from datetime import UTC, datetime
from typing import Any

import jsonschema
import msgspec
import pytest

from agent.errors import Refused
from agent.events.catalogue import Alert, RolloutEvent
from agent.events.event import Event
from agent.events.registry import TYPES, decode_data, schema


def an_event(type_: str, data: Any) -> Event:
    body = data if isinstance(data, bytes) else msgspec.json.encode(data)
    return Event(id="1", source="/t", type=type_, time=datetime(2026, 1, 1, tzinfo=UTC), data=body)


@pytest.mark.parametrize("type_", TYPES)
def test_every_type_has_a_schema_that_is_one(type_: str) -> None:
    made = schema(type_)
    jsonschema.Draft202012Validator.check_schema(made)
    assert made["title"] == type_


def test_data_is_read_as_its_struct() -> None:
    data = {"fingerprint": "f", "startsAt": "2026-01-01T00:00:00Z", "labels": {"a": "b"}}
    assert isinstance(decode_data(an_event("dev.serinus.alert.firing.v1", data)), Alert)
    event = decode_data(an_event("dev.serinus.rollout.aborted.v1", {"namespace": "n", "name": "x"}))
    assert isinstance(event, RolloutEvent)


@pytest.mark.parametrize(
    ("type_", "data", "words"),
    [
        ("dev.other", {}, "unknown event type"),
        ("dev.serinus.alert.firing.v1", b"<", "not JSON"),
        ("dev.serinus.alert.firing.v1", {"fingerprint": 7}, "fingerprint"),
    ],
)
def test_refusals_name_the_field(type_: str, data: Any, words: str) -> None:
    with pytest.raises(Refused) as refused:
        decode_data(an_event(type_, data))
    assert words in str(refused.value)
