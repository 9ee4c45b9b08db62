"""The word of what a process does: one event, the same bytes however often it is sent."""

from datetime import UTC, datetime

import msgspec

from agent.bus.port import Receive, Record
from agent.bus.topics import ROLLOUTS
from agent.clock import LoopClock
from agent.composition.mode_events import TRIES, ModeEvents
from agent.errors import Unavailable
from agent.events.catalogue import AGENT_MODE, AgentMode
from agent.events.decode import from_http
from agent.events.registry import decode_data
from tests.simulation.virtual import run

NOW = datetime(2026, 5, 1, 10, tzinfo=UTC)


class Topic:
    """agent.bus.port.Bus whose first publications fail, after they were stored."""

    durable = True

    def __init__(self, failures: int) -> None:
        self._failures = failures
        self.records: list[Record] = []

    async def publish(self, record: Record) -> None:
        self.records.append(record)
        if len(self.records) <= self._failures:
            raise Unavailable("the acknowledgement was lost")

    async def consume(self, topics: object, receive: Receive) -> None:
        raise NotImplementedError

    async def aclose(self) -> None:
        """Nothing to close."""


def told(failures: int) -> list[Record]:
    async def main() -> list[Record]:
        topic = Topic(failures)
        events = ModeEvents(topic, LoopClock(NOW), "serinus", "serinus-0")
        await events.tell("companion", "Lease x is held by argo")
        return topic.records

    return run(main())


def test_the_event_says_what_this_process_does_why_and_since_when() -> None:
    (record,) = told(0)
    assert (record.topic, record.key) == (ROLLOUTS, b"serinus")
    headers = [("content-type", "application/cloudevents+json")]
    (event,) = from_http(headers, record.value or b"")
    assert (event.type, event.subject, event.time) == (AGENT_MODE, "serinus-0", NOW)
    assert decode_data(event) == AgentMode(
        mode="companion",
        reason="Lease x is held by argo",
        instance="serinus-0",
        since="2026-05-01T10:00:00.000Z",
    )


def test_it_is_sent_again_as_it_was_and_given_up_after_some_tries() -> None:
    records = told(1)
    assert len(records) == 2
    assert records[0] == records[1]
    assert len(told(TRIES + 5)) == TRIES


def test_two_processes_tell_under_two_ids() -> None:
    async def main() -> set[str]:
        topic = Topic(0)
        for instance in ("serinus-0", "serinus-1"):
            await ModeEvents(topic, LoopClock(NOW), "serinus", instance).tell("drive", "")
        return {msgspec.json.decode(record.value or b"")["id"] for record in topic.records}

    assert len(run(main())) == 2
