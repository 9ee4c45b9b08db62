"""Records of our topics as lines for people and programs."""

from datetime import UTC, datetime

import msgspec
import pytest

from agent.bus.dead_letter import dead_letter
from agent.bus.port import Record
from agent.cli.kafka_text import concerns, json_of, printable, text_of

AT = datetime(2026, 5, 1, 10, 3, 12, 412_000, tzinfo=UTC)
STRUCTURED = (("content-type", b"application/cloudevents+json"),)


def a_record(
    type_: str = "dev.serinus.rollout.weight.v1", subject: str = "shop/web", **data: object
) -> Record:
    event = {
        "specversion": "1.0",
        "id": "1",
        "source": "serinus",
        "type": type_,
        "subject": subject,
        "time": AT,
        "data": data,
    }
    return Record(
        topic="serinus.rollouts",
        key=b"shop/web",
        value=msgspec.json.encode(event),
        headers=STRUCTURED,
        partition=3,
        offset=41,
    )


def test_an_event_is_one_line() -> None:
    assert text_of(a_record(message="weight 0 -> 20")).split() == [
        "2026-05-01T10:03:12.412Z",
        "serinus.rollouts/3@41",
        "rollout.weight",
        "shop/web",
        *["weight", "0", "->", "20"],
    ]


def test_an_event_without_message_shows_what_matters() -> None:
    line = text_of(a_record("dev.serinus.alert.firing.v1", labels={"alertname": "Bad"}))
    assert line.endswith('alert.firing        shop/web  {"labels":{"alertname":"Bad"}}')


def test_what_is_no_event_says_why() -> None:
    record = Record(
        topic="t", value=b"\x1b[31mred\xff" + b"x" * 1000, partition=0, offset=7, published_at=AT
    )
    line = text_of(record)
    assert line.startswith("2026-05-01T10:03:12.412Z  t/0@7")
    assert "header ce-specversion is missing" in line
    assert "\x1b" not in line
    assert len(line) < 600


def test_a_dead_letter_says_where_it_is_from_and_why() -> None:
    line = text_of(dead_letter(a_record(message="m"), "no such rollout"))
    assert line.startswith("2026-05-01T10:03:12.412Z  serinus.rollouts.dlq/-1@-1")
    assert line.endswith("[dead letter of serinus.rollouts/3@41: no such rollout]")


def test_what_could_not_be_read_is_shown_as_such() -> None:
    line = text_of(Record(topic="t", partition=0, offset=7), "CorruptRecord: bad")
    assert line.split(maxsplit=3) == ["-", "t/0@7", "unreadable", "CorruptRecord: bad"]


@pytest.mark.parametrize(
    "hostile",
    ["\x1b[2J", "\r", "\n", "\x00", "\x9b", "\u202e", "\u2028", "\ud800"],
    ids=["escape", "return", "line feed", "nul", "C1", "right to left", "separator", "surrogate"],
)
def test_nothing_in_an_event_moves_the_cursor(hostile: str) -> None:
    assert printable(f"a{hostile}b").isprintable()
    if hostile != "\ud800":
        assert text_of(a_record(message=f"a{hostile}b")).isprintable()


def test_a_line_of_json_has_the_event_and_its_place() -> None:
    item = msgspec.json.decode(json_of(a_record(message="m")))
    assert (item["topic"], item["partition"], item["offset"], item["key"]) == (
        "serinus.rollouts",
        3,
        41,
        "shop/web",
    )
    assert item["event"]["data"] == {"message": "m"}
    assert "deadLetter" not in item


def test_a_line_of_json_of_what_is_no_event_has_the_problem() -> None:
    record = dead_letter(Record(topic="t", value=b"\xff", partition=0, offset=7), "why")
    item = msgspec.json.decode(json_of(record))
    assert item["deadLetter"] == {"reason": "why", "from": "t/0@7"}
    assert item["value"] == "\\xff"
    assert "ce-specversion" in item["problem"]
    item = msgspec.json.decode(json_of(Record(topic="t"), "Corrupt"))
    assert item["problem"] == "Corrupt"


@pytest.mark.parametrize(
    ("record", "about"),
    [
        (a_record(), True),
        (msgspec.structs.replace(a_record(), key=b"x"), True),
        (
            msgspec.structs.replace(a_record(subject="", namespace="shop", name="web"), key=None),
            True,
        ),
        (msgspec.structs.replace(a_record(subject="shop/other"), key=None), False),
        (Record(topic="t", value=b"?"), False),
    ],
    ids=["by its key", "by its subject", "by its data", "about another", "no event"],
)
def test_what_is_about_a_rollout(record: Record, about: bool) -> None:
    assert concerns(record, "shop/web") is about
    assert concerns(record, "")
