"""Alertmanager's webhook body becomes events."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from agent.errors import Refused
from agent.events.catalogue import ALERT_FIRING, ALERT_RESOLVED, Alert
from handlers.alert.webhook import alert_id, nanoseconds, translate

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


def a_webhook(*alerts: dict[str, Any], **fields: Any) -> bytes:
    return msgspec.json.encode(
        {"version": "4", "receiver": "serinus", "alerts": list(alerts), **fields}
    )


def an_alert(**fields: Any) -> dict[str, Any]:
    return {
        "status": "firing",
        "labels": {"alertname": "HighErrorRate", "namespace": "shop"},
        "annotations": {"summary": "too many errors"},
        "startsAt": "2026-01-01T11:59:30.123456789Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus/graph",
        "fingerprint": "73397de7b431bb84",
        **fields,
    }


def test_one_event_an_alert_each_with_its_own_status() -> None:
    resolved = an_alert(status="resolved", fingerprint="b", endsAt="2026-01-01T12:00:00Z")
    firing, ended = translate(a_webhook(an_alert(), resolved), {}, NOW)
    assert (firing.type, ended.type) == (ALERT_FIRING, ALERT_RESOLVED)
    assert firing.subject == "HighErrorRate"
    assert firing.extensions["partitionkey"] == "73397de7b431bb84"
    data = msgspec.json.decode(firing.data, type=Alert)
    assert data.starts_at == "2026-01-01T11:59:30.123456789Z"
    assert data.receiver == "serinus"
    assert ended.time == NOW


def test_repeats_are_the_same_event_whatever_else_changed() -> None:
    first = translate(a_webhook(an_alert()), {}, NOW)[0]
    repeat = an_alert(annotations={"summary": "now at 7 %"}, generatorURL="http://other/graph")
    again = translate(a_webhook(repeat, notification_reason="repeat interval elapsed"), {}, NOW)[0]
    assert first.id == again.id


def test_firing_again_is_another_event() -> None:
    later = an_alert(startsAt="2026-01-01T11:59:30.123456790Z")
    assert (
        translate(a_webhook(an_alert()), {}, NOW)[0].id
        != translate(a_webhook(later), {}, NOW)[0].id
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2026-01-01T12:00:00Z", "2026-01-01T13:00:00+01:00"),
        ("2026-01-01T12:00:00.5Z", "2026-01-01T12:00:00.500000000Z"),
    ],
    ids=["time zones", "trailing zeros"],
)
def test_spellings_of_one_instant_are_equal(one: str, other: str) -> None:
    assert nanoseconds(one) == nanoseconds(other)
    assert alert_id("f", one, "firing") == alert_id("f", other, "firing")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<html>", "not an Alertmanager webhook"),
        (b"{}", "alerts"),
        (b"\xff\xfe", "not an Alertmanager webhook"),
        (a_webhook(an_alert(status="sleeping")), "alerts[0].status"),
        (a_webhook(an_alert(), an_alert(startsAt="yesterday")), "alerts[1].startsAt"),
        (a_webhook(an_alert(fingerprint="")), "alerts[0].fingerprint"),
        (a_webhook(an_alert(labels=7)), "labels"),
    ],
    ids=["HTML", "another object", "no UTF-8", "status", "time", "fingerprint", "labels"],
)
def test_refusals_name_the_field(body: bytes, words: str) -> None:
    with pytest.raises(Refused) as refused:
        translate(body, {}, NOW)
    assert words in str(refused.value)


def test_what_is_nested_too_deeply_is_refused() -> None:
    with pytest.raises(Refused, match="nested too deeply"):
        translate(b'{"x":' + b"[" * 100_000, {}, NOW)
