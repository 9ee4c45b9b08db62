"""What the strict decoder lets in and what it does not, mode by mode, where readers commonly differ."""

from typing import Any

import msgspec
import pytest
from cloudevents.core.bindings import http as sdk_http
from cloudevents.core.bindings import kafka as sdk_kafka

from agent.bus.codec import from_record, to_record
from agent.bus.port import Record
from agent.events.decode import MAX_EVENT, Undecodable, from_http
from agent.events.encode import to_binary
from agent.events.event import Event

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
CORE = {
    "specversion": "1.0",
    "id": "e-1",
    "source": "/test",
    "type": "dev.test",
    "time": "2026-01-01T12:00:00Z",
}
HTTP = [(f"ce-{name}", value) for name, value in CORE.items()]
KAFKA = tuple((f"ce_{name}", value.encode()) for name, value in CORE.items())


def envelope(**fields: Any) -> bytes:
    return msgspec.json.encode({**CORE, **fields})


def refusal(headers: list[tuple[str, str]], body: bytes) -> str:
    with pytest.raises(Undecodable) as refused:
        from_http(headers, body)
    return str(refused.value)


@pytest.mark.parametrize("name", ["id", "source", "type", "specversion", "time"])
def test_a_required_attribute_that_is_missing_is_never_invented(name: str) -> None:
    without = {key: value for key, value in CORE.items() if key != name}
    for value in ({}, {name: None}, {name: ""}):
        said = refusal([("content-type", STRUCTURED)], msgspec.json.encode({**without, **value}))
        assert said.startswith(f"{name}: is required")
    assert name in refusal([(f"ce-{key}", value) for key, value in without.items()], b"")
    headers = tuple((f"ce_{key}", value.encode()) for key, value in without.items())
    with pytest.raises(Undecodable, match=name):
        from_record(Record(topic="t", headers=(*headers, (f"ce_{name}", None))))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"id": 7}, "id: must be a string"),
        ({"subject": True}, "subject: must be a string"),
        ({"datacontenttype": 7}, "datacontenttype: must be a string"),
        ({"time": 7}, "time: must be a string"),
        ({"data_base64": 1234}, "data_base64: must be a string of base64"),
        ({"data_base64": "AAA"}, "data_base64: not base64"),
        ({"ext": 1.5}, "ext: must be a string, an integer or a boolean"),
        ({"my_ext": "a"}, "my_ext: attribute names"),
        ({"x" * 65: "a"}, "attribute names"),
        ({"time": "9999-12-31T23:59:59-23:59"}, "time: '9999-12-31"),
        ({"time": "2026-01-01T12:00:00+25:00"}, "RFC 3339"),
    ],
    ids=[
        "a number as id", "a boolean as subject", "a number as media type", "a number as time",
        "a number as base64", "broken base64", "a float", "an underscore", "a long name",
        "a time after the last one", "a zone beyond a day",
    ],
)  # fmt: skip
def test_an_attribute_of_a_wrong_kind_is_refused_by_name(fields: dict[str, Any], said: str) -> None:
    assert said in refusal([("content-type", STRUCTURED)], envelope(**fields))
    in_batch = b"[" + envelope() + b"," + envelope(**fields) + b"]"
    assert refusal([("content-type", BATCH)], in_batch).startswith("[1].")


def test_every_event_of_a_batch_is_bounded_like_a_single_one() -> None:
    body = b"[" + envelope(data="x" * MAX_EVENT) + b"]"
    assert refusal([("content-type", BATCH)], body).startswith("[0].data: longer than")
    assert from_http([("content-type", BATCH)], b"[]") == []


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ([*HTTP, ("CE-ID", "other")], "ce-id: is given twice"),
        ([("content-type", STRUCTURED), ("Content-Type", "text/plain")], "content-type: is given"),
        ([*HTTP, ("ce-datacontenttype", "a/b")], "datacontenttype: is the Content-Type header"),
        ([*HTTP, ("ce-data", "a")], "data: is no name"),
        ([*HTTP, ("ce-my-ext", "a")], "my-ext: attribute names"),
        ([*HTTP, ("ce-subject", "%C0%A0")], "not percent-encoded UTF-8"),
        ([*HTTP, ("ce-subject", "%FF")], "not percent-encoded UTF-8"),
        ([*HTTP, ("ce-subject", "a%0Ab")], "subject: must not have control characters"),
        ([("content-type", "application/json")], "ce-specversion is missing"),
        ([], "ce-specversion is missing"),
    ],
    ids=[
        "an attribute twice", "the content type twice", "a media type as attribute", "data as attribute",
        "a hyphen", "an overlong encoding", "no UTF-8", "a line break", "JSON without headers", "nothing",
    ],
)  # fmt: skip
def test_binary_mode_refuses_what_readers_would_read_differently(
    headers: list[tuple[str, str]], said: str
) -> None:
    assert said in refusal(headers, b"{}")


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("100%25", "100%"),
        ("100%2525", "100%25"),
        ("a%20b", "a b"),
        ("%E2%82%AC", "€"),
        ('"a \\"b\\""', 'a "b"'),
        ("%zz", "%zz"),
    ],
)
def test_header_values_are_decoded_exactly_once(written: str, read: str) -> None:
    (event,) = from_http([*HTTP, ("ce-subject", written)], b"")
    assert event.subject == read


def test_a_long_body_in_binary_mode_is_refused() -> None:
    assert "longer than" in refusal(HTTP, b"x" * (MAX_EVENT + 1))
    with pytest.raises(Undecodable, match="longer than"):
        from_record(Record(topic="t", headers=KAFKA, value=b"x" * (MAX_EVENT + 1)))


@pytest.mark.parametrize(
    ("headers", "value", "said"),
    [
        ((), None, "ce-specversion is missing"),
        ((("content-type", BATCH.encode()),), b"[]", "not supported"),
        ((("content-type", STRUCTURED.encode()),), None, "not JSON"),
        ((*KAFKA, ("ce_id", b"other")), b"", "ce_id: is given twice"),
        ((*KAFKA, ("x", b"\xff")), b"", "header x: is not UTF-8"),
        (tuple((f"ce-{n[3:]}", v) for n, v in KAFKA), b"", "missing"),
    ],
    ids=[
        "nothing at all", "a batch", "an envelope that is a tombstone", "an attribute twice",
        "another header that is no text", "names as HTTP writes them",
    ],
)  # fmt: skip
def test_a_record_that_is_no_event_is_refused(
    headers: tuple[tuple[str, bytes | None], ...], value: bytes | None, said: str
) -> None:
    with pytest.raises(Undecodable, match=said):
        from_record(Record(topic="t", headers=headers, value=value))


def test_a_record_s_key_changes_no_event_and_its_headers_are_taken_literally() -> None:
    headers = (*KAFKA, ("ce_subject", b"a%20b"), ("CE_Partitionkey", b"p"))
    event = from_record(Record(topic="t", key=b"\xff other", headers=headers, value=None))
    assert (event.subject, event.extensions, event.data) == ("a%20b", {"partitionkey": "p"}, b"")


def test_an_envelope_in_a_record_wins_over_headers_beside_it() -> None:
    headers = (("Content-Type", b"Application/CloudEvents+JSON; charset=utf-8"), ("ce_id", b"z"))
    assert from_record(Record(topic="t", headers=headers, value=envelope())).id == "e-1"


EVENT = Event(
    id="ä 1%",
    source="/test",
    type="dev.test",
    time=from_http(HTTP, b"")[0].time,
    subject="shop/web €",
    datacontenttype="application/json",
    extensions={"partitionkey": "k", "traceparent": "00-1"},
    data=b'{"a":[1,null]}',
)


def test_the_sdk_reads_our_binary_mode_and_our_records_as_we_do() -> None:
    headers, body = to_binary(EVENT)
    theirs = sdk_http.from_binary_event(sdk_http.HTTPMessage(headers=headers, body=body))
    record = to_record(EVENT, topic="t", key=None)
    named = {name: value or b"" for name, value in record.headers}
    message = sdk_kafka.KafkaMessage(headers=named, key=None, value=record.value or b"")
    for event in (theirs, sdk_kafka.from_structured_event(message)):
        assert (event.get_id(), event.get_subject()) == (EVENT.id, EVENT.subject)
        assert event.get_extension("partitionkey") == "k"
        assert event.get_data() == {"a": [1, None]}
    assert from_http(list(headers.items()), body) == [EVENT]
    assert from_record(record) == EVENT
