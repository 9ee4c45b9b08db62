"""The strict decoder: the content type decides, and nothing that is missing is invented."""

import base64
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from cloudevents.core.bindings import http as sdk
from cloudevents.core.formats.json import JSONFormat
from hypothesis import given
from hypothesis import strategies as st

from agent.bus.codec import from_record, to_record
from agent.bus.port import Record
from agent.events.decode import MAX_EVENT, Undecodable, from_http
from agent.events.encode import to_binary, to_json
from agent.events.event import Event

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"


def an_envelope(**fields: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": "e-1",
        "source": "/test",
        "type": "dev.test",
        "time": "2026-01-01T12:00:00.5Z",
        **fields,
    }


def structured(envelope: Any, content_type: str = STRUCTURED) -> list[Event]:
    return from_http([("Content-Type", content_type)], msgspec.json.encode(envelope))


def test_an_envelope_is_read_whole() -> None:
    (event,) = structured(
        an_envelope(
            subject="s",
            partitionkey="k",
            flag=True,
            number=7,
            data={"a": [1]},
            datacontenttype="Application/JSON",
        )
    )
    assert (event.id, event.source, event.type, event.subject) == ("e-1", "/test", "dev.test", "s")
    assert event.time == datetime(2026, 1, 1, 12, 0, 0, 500_000, tzinfo=UTC)
    assert event.extensions == {"partitionkey": "k", "flag": "true", "number": "7"}
    assert (event.datacontenttype, event.data) == ("application/json", b'{"a":[1]}')


@pytest.mark.parametrize(
    "content_type",
    [STRUCTURED, "application/cloudevents+json; charset=UTF-8", "Application/CloudEvents+JSON"],
)
def test_the_media_type_decides_whatever_its_case_and_parameters(content_type: str) -> None:
    assert structured(an_envelope(), content_type)[0].id == "e-1"


def test_headers_beside_a_structured_event_do_not_make_it_binary() -> None:
    headers = [("content-type", STRUCTURED), ("ce-id", "other"), ("ce-specversion", "1.0")]
    (event,) = from_http(headers, msgspec.json.encode(an_envelope(data={"a": 1})))
    assert (event.id, event.data) == ("e-1", b'{"a":1}')


def test_null_attributes_are_absent_ones() -> None:
    assert structured(an_envelope(subject=None, dataschema=None))[0].subject == ""


def test_binary_data_is_base64() -> None:
    coded = base64.b64encode(b"\x00\xff").decode()
    (event,) = structured(
        an_envelope(data_base64=coded, datacontenttype="application/octet-stream")
    )
    assert event.data == b"\x00\xff"


def test_a_batch_is_all_its_events() -> None:
    events = structured([an_envelope(id="a"), an_envelope(id="b")], BATCH)
    assert [event.id for event in events] == ["a", "b"]


@pytest.mark.parametrize(
    ("envelope", "content_type", "words"),
    [
        (an_envelope(id=""), STRUCTURED, "id: is required"),
        ({k: v for k, v in an_envelope().items() if k != "id"}, STRUCTURED, "id: is required"),
        ({k: v for k, v in an_envelope().items() if k != "time"}, STRUCTURED, "time: is required"),
        ({k: v for k, v in an_envelope().items() if k != "specversion"}, STRUCTURED, "specversion"),
        (an_envelope(specversion="0.3"), STRUCTURED, "only 1.0"),
        (an_envelope(time="yesterday"), STRUCTURED, "RFC 3339"),
        (an_envelope(time="2026-01-01T12:00:00"), STRUCTURED, "RFC 3339"),
        (an_envelope(Bad="x"), STRUCTURED, "Bad"),
        (an_envelope(ext={"a": 1}), STRUCTURED, "ext"),
        (an_envelope(ext=2**40), STRUCTURED, "range"),
        (an_envelope(subject="a\nb"), STRUCTURED, "control characters"),
        (an_envelope(data_base64="%%%"), STRUCTURED, "base64"),
        (an_envelope(data=1, data_base64="AA=="), STRUCTURED, "not both"),
        ([1], STRUCTURED, "JSON object"),
        (an_envelope(), BATCH, "JSON array"),
        ([an_envelope(), an_envelope(id="")], BATCH, "[1].id"),
        ([an_envelope()] * 300, BATCH, "at most"),
        (an_envelope(), "application/cloudevents+avro", "not supported"),
        (an_envelope(), "application/json", "ce-specversion"),
        (an_envelope(data="x" * MAX_EVENT), STRUCTURED, "longer than"),
    ],
)  # fmt: skip
def test_refusals_name_what_is_wrong(envelope: Any, content_type: str, words: str) -> None:
    with pytest.raises(Undecodable) as refused:
        structured(envelope, content_type)
    assert words in str(refused.value)


def test_bytes_that_are_no_json_are_refused() -> None:
    for body in (b"", b"<html>", b"\xff\xfe", b'{"a":'):
        with pytest.raises(Undecodable):
            from_http([("content-type", STRUCTURED)], body)


def test_binary_headers_are_percent_decoded_and_unquoted() -> None:
    headers = [
        ("ce-specversion", "1.0"), ("ce-id", '"a b"'), ("ce-source", "/x%20y"), ("ce-type", "t"),
        ("ce-time", "2026-01-01T12:00:00Z"), ("ce-subject", "%C3%BC"), ("Content-Type", "text/plain"),
    ]  # fmt: skip
    (event,) = from_http(headers, b"hi")
    assert (event.id, event.source, event.subject) == ("a b", "/x y", "ü")
    assert (event.datacontenttype, event.data) == ("text/plain", b"hi")


def a_record(**headers: bytes | None) -> Record:
    named = {name.replace("__", "-"): value for name, value in headers.items()}
    return Record(topic="t", headers=tuple(named.items()), value=b"{}")


def test_a_kafka_record_may_have_null_headers_but_not_broken_ones() -> None:
    good = {
        "ce_specversion": b"1.0", "ce_id": b"1", "ce_source": b"/s", "ce_type": b"t",
        "ce_time": b"2026-01-01T12:00:00Z", "content__type": b"application/json",
    }  # fmt: skip
    assert from_record(a_record(**good, other=None)).data == b"{}"
    with pytest.raises(Undecodable) as refused:
        from_record(a_record(**{**good, "ce_subject": b"\xff"}))
    assert "ce_subject" in str(refused.value)


TEXT = st.text(
    st.characters(min_codepoint=32, max_codepoint=0x2FFF, exclude_categories=["Cc", "Cs"]),
    min_size=1,
    max_size=20,
)
EVENTS = st.builds(
    Event,
    id=TEXT,
    source=st.just("/test"),
    type=st.just("dev.test"),
    time=st.integers(946_684_800, 4_102_444_800).map(
        lambda seconds: datetime.fromtimestamp(seconds, tz=UTC)
    ),
    subject=TEXT,
    datacontenttype=st.just("application/json"),
    extensions=st.dictionaries(st.sampled_from(["partitionkey", "traceparent"]), TEXT, max_size=2),
    data=st.recursive(
        st.integers(-5, 5) | TEXT, lambda inner: st.lists(inner, max_size=3), max_leaves=4
    ).map(msgspec.json.encode),
)


@given(EVENTS)
def test_what_is_encoded_is_decoded_the_same(event: Event) -> None:
    assert from_http([("content-type", STRUCTURED)], to_json(event)) == [event]
    assert from_record(to_record(event, topic="t", key=None)) == event
    headers, body = to_binary(event)
    (back,) = from_http(list(headers.items()), body)
    assert msgspec.json.decode(back.data) == msgspec.json.decode(event.data)
    assert (back.id, back.subject, back.extensions) == (
        event.id,
        event.subject.strip(),
        event.extensions,
    ) or any(
        value != value.strip() for value in (event.id, event.subject, *event.extensions.values())
    )


@given(EVENTS)
def test_the_sdk_reads_what_we_write(event: Event) -> None:
    message = sdk.HTTPMessage(headers={"content-type": STRUCTURED}, body=to_json(event))
    theirs = sdk.from_structured_event(message)
    assert (theirs.get_id(), theirs.get_subject(), theirs.get_time()) == (
        event.id,
        event.subject,
        event.time,
    )
    assert JSONFormat().get_content_type().startswith(STRUCTURED)


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"a":' * 40_000], ids=["lists", "objects"])
def test_what_is_nested_too_deeply_is_refused(body: bytes) -> None:
    for media in (STRUCTURED, "application/cloudevents-batch+json"):
        with pytest.raises(Undecodable, match="nested too deeply"):
            from_http([("content-type", media)], body)
