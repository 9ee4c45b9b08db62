"""Alertmanager's own API as the source of active alerts (recommended over the ledger)."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from agent.api.decode import parse_json
from agent.api.holds import Hold
from agent.errors import Refused, Unavailable
from agent.events.catalogue import Alert
from agent.http import Http
from handlers.alert.memory import same

SECONDS: Final = 5.0
MAX_BODY: Final = 8 * 1024 * 1024
_QUERY: Final = "active=true&silenced=false&inhibited=false&unprocessed=false"


class AlertmanagerSource:
    """`GET /api/v2/alerts` of one Alertmanager (or of a load balancer before several)."""

    def __init__(self, http: Http, url: str) -> None:
        self._http = http
        self._url = f"{url.rstrip('/')}/api/v2/alerts?{_QUERY}"

    async def active(self) -> tuple[Alert, ...]:
        answer = await self._http.request("GET", self._url, seconds=SECONDS, max_body=MAX_BODY)
        if answer.status != 200:
            raise Unavailable(f"Alertmanager answered {answer.status}")
        try:
            items: Any = parse_json(answer.body)
            return tuple(
                Alert(
                    fingerprint=item["fingerprint"],
                    starts_at=item["startsAt"],
                    labels=item["labels"],
                    annotations=item.get("annotations") or None,
                    generator_url=item.get("generatorURL", ""),
                )
                for item in items
            )
        except (Refused, KeyError, TypeError) as error:
            raise Unavailable(f"Alertmanager's answer is not a list of alerts: {error}") from error

    async def fired(self, alert: Alert, told: datetime) -> bool:
        """Alertmanager knows it already."""
        del alert, told
        return True

    async def resolved(self, alert: Alert, told: datetime, *, matched: bool) -> bool:
        """Alertmanager knows it already."""
        del alert, told, matched
        return True

    async def ended(self, holds: Sequence[Hold]) -> list[Hold]:
        """Those whose alert Alertmanager does not have among those that fire. Raises Unavailable."""
        active = await self.active()
        return [hold for hold in holds if not any(same(known, hold) for known in active)]

    async def is_over(self, alert: Alert, told: datetime) -> bool:
        """Whether Alertmanager no longer has it among those that fire. Raises Unavailable."""
        del told
        return not any(same(known, alert) for known in await self.active())
