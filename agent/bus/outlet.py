"""Where events go besides topics: an HTTP sink (Knative's K_SINK, a webhook), and several places at once."""

from collections.abc import Sequence

from agent.bus.port import Bus, Receive, Record
from agent.errors import Unavailable
from agent.http import Http


class HttpOutlet:
    """Posts each record as a structured CloudEvent. Only publishes.

    Args:
        token: sent as bearer token; "" for none.
    """

    durable = True

    def __init__(self, http: Http, url: str, *, token: str = "") -> None:
        self._http = http
        self._url = url
        self._headers = {"Content-Type": "application/cloudevents+json"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"

    async def publish(self, record: Record) -> None:
        answer = await self._http.request(
            "POST", self._url, headers=self._headers, body=record.value or b""
        )
        if not 200 <= answer.status < 300:
            raise Unavailable(f"the outlet answered {answer.status}")


class FanOut:
    """Publishes to a bus and to outlets; done when all have taken it. Consumes from the bus.

    After a failure all get the record again: at least once, under the same id.
    """

    def __init__(self, bus: Bus, outlets: Sequence[HttpOutlet]) -> None:
        self._bus = bus
        self._outlets = tuple(outlets)
        self.durable = bus.durable

    async def publish(self, record: Record) -> None:
        for outlet in self._outlets:
            await outlet.publish(record)
        await self._bus.publish(record)

    async def consume(self, topics: Sequence[str], receive: Receive) -> None:
        await self._bus.consume(topics, receive)

    async def aclose(self) -> None:
        await self._bus.aclose()
