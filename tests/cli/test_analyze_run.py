"""A run without a cluster, on a virtual clock: the production driver, and the user's word to end."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

import pytest

from agent.analysis.providers.port import Asked
from agent.api.analysis import AnalysisRun, Measurement, Metric
from agent.api.meta import Object
from agent.cli.analyze_run import analysed
from agent.clock import LoopClock
from tests.simulation.virtual import run

EPOCH = datetime(2026, 5, 1, 10, tzinfo=UTC)


class Scripted:
    """A provider that gives these phases in turn, the last one for ever."""

    name = "web"

    def __init__(self, *phases: str) -> None:
        self.phases = list(phases)
        self.asked: list[Asked] = []

    def check(self, metric: Metric) -> None:
        """Everything can be measured."""

    async def measure(self, asked: Asked) -> Measurement:
        self.asked.append(asked)
        phase = self.phases.pop(0) if len(self.phases) > 1 else self.phases[0]
        if phase == "hang":
            await asyncio.Event().wait()
        return Measurement(phase=phase, value="1")


def a_run(args: Any = None, **metric: Any) -> Object:
    provider = {"web": {"url": "http://x/{{args.token}}" if args else "http://x"}}
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "AnalysisRun",
        "metadata": {"name": "analyze", "namespace": "shop"},
        "spec": {
            "metrics": [{"name": "m", "provider": provider, **metric}],
            **({"args": args} if args else {}),
        },
    }


def carried_out(
    obj: Object,
    provider: Scripted,
    *,
    secrets: tuple[Object, ...] = (),
    until: Callable[[LoopClock, asyncio.Event], Coroutine[Any, Any, None]] | None = None,
) -> tuple[AnalysisRun, list[str], float]:
    """The run at its end, the phases that were seen, and the seconds it took."""
    seen: list[str] = []

    async def main() -> tuple[AnalysisRun, float]:
        clock, stop = LoopClock(EPOCH), asyncio.Event()
        ending = asyncio.create_task(until(clock, stop)) if until else None
        ended = await analysed(
            obj,
            secrets,
            {"web": provider},
            clock,
            seen=lambda run: seen.append(run.status.phase),
            stop=stop,
        )
        if ending is not None:
            await ending
        return ended, clock.monotonic()

    ended, seconds = run(main())
    return ended, seen, seconds


@pytest.mark.parametrize("phase", ["Successful", "Failed", "Error", "Inconclusive"])
def test_the_verdict_is_that_of_the_engine(phase: str) -> None:
    ended, seen, _ = carried_out(a_run(consecutiveErrorLimit=0), Scripted(phase))
    assert ended.status.phase == phase
    assert seen[-1] == phase


def test_it_measures_as_often_as_the_metric_says() -> None:
    provider = Scripted("Successful")
    ended, _, seconds = carried_out(a_run(interval="20s", count=3), provider)
    assert (len(provider.asked), round(seconds)) == (3, 40)
    assert [result.successful for result in ended.status.metric_results or ()] == [3]


def test_a_word_of_the_user_ends_it_with_the_verdict_so_far() -> None:
    async def after_a_while(clock: LoopClock, stop: asyncio.Event) -> None:
        await clock.sleep(35)
        stop.set()

    provider = Scripted("Successful")
    ended, _, seconds = carried_out(a_run(interval="10s"), provider, until=after_a_while)
    assert (ended.status.phase, ended.status.message) == ("Successful", "Run Terminated")
    assert (len(provider.asked), round(seconds)) == (4, 35)


def test_a_measurement_that_hangs_is_not_waited_for_for_ever() -> None:
    async def at_once(clock: LoopClock, stop: asyncio.Event) -> None:
        await clock.sleep(1)
        stop.set()

    ended, _, seconds = carried_out(a_run(), Scripted("hang"), until=at_once)
    assert ended.spec.terminate
    assert seconds < 20


def test_secrets_are_read_and_masked() -> None:
    source = {"secretKeyRef": {"name": "api", "key": "token"}}
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "api", "namespace": "shop"},
        "data": {"token": "aHVzaA=="},
    }
    provider = Scripted("Successful")
    obj = a_run([{"name": "token", "valueFrom": source}])
    ended, _, _ = carried_out(obj, provider, secrets=(secret,))
    assert ended.status.phase == "Successful"
    (asked,) = provider.asked
    assert asked.metric.provider == {"web": {"url": "http://x/hush"}}
    assert asked.secrets == ("hush",)
