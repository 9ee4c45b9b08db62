"""The demo's application in its versions: v1 and v2 work, v3 can be told to fail a share of its calls."""

import contextlib
from collections.abc import AsyncIterator

from agent.demo.loopback import Answer, Request, serving

SERVED_BY = "x-served-by"
"""Header of every answer of the application. An answer without it was made by the proxy."""


class Upstream:
    """One version. All its pods are this one server: the demo's pods are simulated.

    Attributes:
        failing: share of calls, 0..1, that are answered with 500. May be set at any time.
    """

    def __init__(self, version: str, *, failing: float = 0.0) -> None:
        self.version = version
        self.failing = failing
        self.host, self.port = "127.0.0.1", 0
        self.answered = 0
        self._due = 0.0

    def answer(self, _request: Request) -> Answer:
        """Failures are spread evenly instead of drawn, so that a run is the same every time."""
        self.answered += 1
        self._due += self.failing
        status = 200
        if self._due >= 1.0:
            self._due -= 1.0
            status = 500
        return Answer(status, self.version.encode() + b"\n", {SERVED_BY: self.version})

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Upstream"]:
        """Listen on a free loopback port while the context is open."""
        async with serving(self.answer) as (self.host, self.port):
            yield self
