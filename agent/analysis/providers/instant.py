"""An instant query of Prometheus outside of any metric."""

from collections.abc import Awaitable, Callable
from typing import Any

from agent.analysis.providers.prometheus import Prometheus
from agent.clock import Clock
from agent.errors import Unavailable
from agent.http import Http


def instant(http: Http, address: str, clock: Clock) -> Callable[[str], Awaitable[Any]]:
    """Asks for a query's result as Prometheus answers it (`data.result`).

    The function raises Refused without an address or for a query that cannot be, Unavailable without an answer.
    """
    prometheus = Prometheus(http, address=address)

    async def ask(query: str) -> Any:
        body = await prometheus.raw({}, {"query": query}, clock.now())
        data = body.get("data")
        if not isinstance(data, dict):
            raise Unavailable("Prometheus answered without data")
        return data.get("result")

    return ask
