"""Alerts as Prometheus sends them: to a real Alertmanager, which tells the agent."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from agent.api.times import format_time_ms
from tests.e2e.loopback import loopback

POST_SECONDS = 5.0


class Alert(msgspec.Struct, frozen=True):
    """One alert of one series; another start makes another alert."""

    labels: dict[str, str]
    starts_at: str
    annotations: dict[str, str] = {}


def alert(ago: float = 0.0, **labels: str) -> Alert:
    """An alert that began so many seconds ago."""
    return Alert(
        labels=labels,
        starts_at=format_time_ms(datetime.now(UTC) - timedelta(seconds=ago)),
        annotations={"summary": f"{labels['alertname']} of a test"},
    )


async def fire(url: str, *alerts: Alert) -> None:
    """Tell the Alertmanager at this address that they fire."""
    await _post(url, [_body(each) for each in alerts])


async def resolve(url: str, *alerts: Alert) -> None:
    """Tell it that they are over now."""
    ends_at = format_time_ms(datetime.now(UTC))
    await _post(url, [{**_body(each), "endsAt": ends_at} for each in alerts])


def _body(each: Alert) -> dict[str, Any]:
    return {
        "labels": each.labels,
        "annotations": each.annotations,
        "startsAt": each.starts_at,
        "generatorURL": "http://prometheus.test/graph",
    }


async def _post(url: str, body: list[dict[str, Any]]) -> None:
    async with loopback(timeout=POST_SECONDS) as http:
        answer = await http.post(f"{url}/api/v2/alerts", json=body)
    assert answer.status_code == 200, answer.text
