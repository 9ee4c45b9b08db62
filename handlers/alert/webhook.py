"""Alertmanager's webhook body becomes one CloudEvent an alert.

Facts of the payload (version "4") come from captured webhooks of Alertmanager 0.25 and 0.34; unknown
fields appear with new releases and are ignored.
"""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

import msgspec
import structlog

from agent.api.times import format_time_ms, parse_time
from agent.errors import Refused
from agent.events.catalogue import ALERT_FIRING, ALERT_RESOLVED, Alert
from agent.events.event import Event
from agent.events.recorded import RECORDED

log = structlog.get_logger(__name__)

SOURCE: Final = "/alertmanager"
"""One source for all replicas of Alertmanager: they deliver the same alert under the same id."""

MAX_ALERTS: Final = 2_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class _Alert(msgspec.Struct, frozen=True, rename="camel"):
    status: str
    labels: dict[str, str]
    starts_at: str
    fingerprint: str
    annotations: dict[str, str] = {}
    ends_at: str = ""
    generator_url: str = msgspec.field(name="generatorURL", default="")


class _Webhook(msgspec.Struct, frozen=True, rename="camel"):
    alerts: list[_Alert]
    receiver: str = ""
    external_url: str = msgspec.field(name="externalURL", default="")
    group_key: str = ""
    truncated_alerts: int = 0


_decoder: Final = msgspec.json.Decoder(_Webhook)


def translate(body: bytes, headers: Mapping[str, str], now: datetime) -> list[Event]:
    """The events of one webhook, in the order of its alerts.

    The id of an event is sha256 of fingerprint, startsAt in nanoseconds and status: repeats, restarts
    and replicas of Alertmanager give the same id, an alert that fires again a new one. Annotations,
    endsAt and URLs are left out of it, they change without meaning.

    Raises Refused with the field when the body is not a webhook of Alertmanager.
    """
    del headers  # Alertmanager puts nothing of interest there
    try:
        webhook = _decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Refused(f"not an Alertmanager webhook (version 4): {error}") from error
    except RecursionError as error:
        raise Refused("not an Alertmanager webhook: it is nested too deeply") from error
    if len(webhook.alerts) > MAX_ALERTS:
        raise Refused(
            f"{len(webhook.alerts)} alerts in one webhook, at most {MAX_ALERTS}; set max_alerts or group_by",
            field="alerts",
        )
    if webhook.truncated_alerts > 0:
        # The left-out alerts never arrive: Alertmanager sends the same first ones every time.
        log.warning(
            "alert.webhook_truncated",
            receiver=webhook.receiver,
            truncated=webhook.truncated_alerts,
            fix="raise or remove max_alerts of the webhook receiver",
        )
    return [_event(alert, index, webhook, now) for index, alert in enumerate(webhook.alerts)]


def alert_id(fingerprint: str, starts_at: str, status: str) -> str:
    """sha256 over fingerprint, startsAt in nanoseconds since 1970 and status."""
    text = f"{fingerprint}\n{nanoseconds(starts_at)}\n{status}"
    return hashlib.sha256(text.encode()).hexdigest()


def nanoseconds(text: str) -> int:
    """An RFC 3339 time in nanoseconds since 1970; different spellings of one instant are equal."""
    moment = parse_time(text)
    whole = moment.replace(microsecond=0)
    fraction = text.partition(".")[2]
    digits = fraction[: len(fraction) - len(fraction.lstrip("0123456789"))]
    return int((whole - _EPOCH).total_seconds()) * 1_000_000_000 + int(
        digits[:9].ljust(9, "0") or 0
    )


def _event(alert: _Alert, index: int, webhook: _Webhook, now: datetime) -> Event:
    where = f"alerts[{index}]"
    if alert.status not in ("firing", "resolved"):
        raise Refused(f"{alert.status!r} is neither firing nor resolved", field=f"{where}.status")
    if not alert.fingerprint:
        raise Refused("must not be empty", field=f"{where}.fingerprint")
    try:
        starts_at = parse_time(alert.starts_at)
    except ValueError as error:
        raise Refused(
            f"{alert.starts_at!r} is not an RFC 3339 time", field=f"{where}.startsAt"
        ) from error
    firing = alert.status == "firing"
    return Event(
        id=alert_id(alert.fingerprint, alert.starts_at, alert.status),
        source=SOURCE,
        type=ALERT_FIRING if firing else ALERT_RESOLVED,
        time=starts_at if firing else _ended(alert, now),
        subject=alert.labels.get("alertname", ""),
        datacontenttype="application/json",
        extensions={"partitionkey": alert.fingerprint, RECORDED: format_time_ms(now)},
        data=msgspec.json.encode(
            Alert(
                fingerprint=alert.fingerprint,
                starts_at=alert.starts_at,
                labels=alert.labels,
                annotations=alert.annotations or None,
                ends_at=None if firing else alert.ends_at or None,
                generator_url=alert.generator_url,
                receiver=webhook.receiver,
                external_url=webhook.external_url,
                group_key=webhook.group_key,
            )
        ),
    )


def _ended(alert: _Alert, now: datetime) -> datetime:
    """When a resolved alert ended; a missing or odd endsAt is no reason to lose the event."""
    try:
        return parse_time(alert.ends_at)
    except ValueError:
        return now
