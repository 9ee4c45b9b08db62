"""The stand-ins for Prometheus and Alertmanager."""

import asyncio

import msgspec
import pytest

from agent.clock import SystemClock
from agent.demo import counters as module
from agent.demo.counters import Counters, Rule, Window, totals, watching, webhook
from agent.demo.loopback import Answer, Request, serving
from agent.events.catalogue import ALERT_FIRING, ALERT_RESOLVED
from handlers.alert.webhook import translate

LIMIT = 5.0


def sample(stable: int, good: int, bad: int) -> dict[tuple[str, bool], int]:
    return {("stable", False): stable, ("canary", False): good, ("canary", True): bad}


def test_a_window_counts_what_grew_inside_it() -> None:
    window = Window(4)
    for second in range(10):
        window.add(second, sample(100 * second, 10 * second, 0))
    assert window.calls() == (440, 0)
    assert window.calls("canary") == (40, 0)


def test_a_series_that_is_born_late_counts_from_zero() -> None:
    window = Window(4)
    window.add(0, {("stable", False): 50})
    window.add(1, sample(60, 5, 5))
    assert window.calls("canary") == (10, 5)
    assert window.success_ratio("canary") == 0.5


def test_too_few_calls_are_no_answer() -> None:
    window = Window(4)
    assert window.success_ratio() is None
    window.add(0, sample(0, 0, 0))
    window.add(1, sample(3, 0, 3))
    assert window.success_ratio() is None


def test_counters_are_summed_by_subset_and_outcome() -> None:
    found = totals(
        [
            ({"destination_subset": "canary", "response_code": "503"}, 2),
            ({"destination_subset": "canary", "response_code": "500"}, 1),
            ({"destination_subset": "canary", "response_code": "404"}, 4),
        ]
    )
    assert found == {("canary", True): 3, ("canary", False): 4}


def test_the_webhook_is_one_that_the_agent_understands() -> None:
    rule = Rule("demo/canary-demo")
    start = "2026-11-23T06:36:57.849Z"
    now = SystemClock().now()
    firing = msgspec.json.encode(webhook(rule, "bad", starts_at=start))
    over = msgspec.json.encode(webhook(rule, "", starts_at=start, ends_at=start))
    (first,), (second,) = translate(firing, {}, now), translate(over, {}, now)
    assert (first.type, second.type) == (ALERT_FIRING, ALERT_RESOLVED)


async def test_the_rule_is_told_until_it_is_heard_and_then_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "RULE_SECONDS", 0.01)
    answers = [Answer(503), Answer(200), Answer(200)]
    heard: list[Request] = []
    arrived = asyncio.Event()

    def receive(request: Request) -> Answer:
        heard.append(request)
        arrived.set()
        return answers[len(heard) - 1]

    async def until(count: int) -> None:
        async with asyncio.timeout(LIMIT):
            while len(heard) < count:
                arrived.clear()
                await arrived.wait()

    window = Window(4)
    window.add(0, sample(0, 0, 0))
    window.add(1, sample(10, 5, 5))
    counters = Counters(window, "")
    async with serving(receive) as (host, port):
        url = f"http://{host}:{port}/alerts"
        rule = Rule("demo/canary-demo")
        async with watching(counters, SystemClock(), rule, webhook_url=url, token="secret"):
            await until(2)
            window.add(2, sample(10, 500, 5))
            await until(3)
    assert {request.headers["authorization"] for request in heard} == {"Bearer secret"}
    bodies = [msgspec.json.decode(request.body) for request in heard]
    assert [body["status"] for body in bodies] == ["firing", "firing", "resolved"]
    assert len({body["alerts"][0]["startsAt"] for body in bodies}) == 1
