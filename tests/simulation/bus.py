"""The bus of a simulated world: slow, at times down, and what was published can be read."""

import random
from collections.abc import Callable
from typing import Any

import msgspec

from agent.bus.port import Receive, Record
from agent.clock import Clock
from agent.errors import Unavailable
from tests.simulation.faults import Weather


class SimulatedBus:
    """agent.bus.port.Bus that keeps what was published."""

    durable = True

    def __init__(
        self,
        clock: Clock,
        rng: random.Random,
        weather: Weather,
        accepted: Callable[[str], None],
    ) -> None:
        self.accepted = accepted
        self._clock = clock
        self._rng = rng
        self._weather = weather
        self.is_down = False
        self.records: list[Record] = []

    async def publish(self, record: Record) -> None:
        await self._clock.sleep(self._rng.uniform(0.001, 0.01))
        if self.is_down or self._rng.random() < self._weather.unavailable:
            raise Unavailable("simulated: the bus does not answer")
        self.records.append(record)
        self.accepted(msgspec.json.decode(record.value or b"")["id"])
        if self._rng.random() < self._weather.lost_answer:
            raise Unavailable("simulated: the acknowledgement was lost")

    async def consume(self, topics: Any, receive: Receive) -> None:
        raise NotImplementedError

    async def aclose(self) -> None:
        """Nothing to close."""

    def events(self) -> list[dict[str, Any]]:
        """The announced events, each id once, in the order of their first publication."""
        seen: dict[str, dict[str, Any]] = {}
        for record in self.records:
            event = msgspec.json.decode(record.value or b"")
            seen.setdefault(event["id"], event)
        return list(seen.values())

    def violations(self) -> list[str]:
        """I5: one id, one content."""
        by_id: dict[str, bytes] = {}
        broken = []
        for record in self.records:
            body = record.value or b""
            event_id = msgspec.json.decode(body)["id"]
            if by_id.setdefault(event_id, body) != body:
                broken.append(f"I5 {event_id} was published with two contents")
        return broken
