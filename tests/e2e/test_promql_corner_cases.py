"""What a success rate in PromQL answers when there is little to answer with: never a success.

The query is the one that everybody writes. Against a real Prometheus it answers nothing, NaN, the ratio of
before, or 1 where most requests failed; whatever the condition, none of these may count as healthy.
"""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Final

import pytest
import pytest_asyncio

from agent.analysis.providers.port import Asked
from agent.analysis.providers.prometheus import Prometheus
from agent.analysis.verdict import Compat
from agent.api.analysis import Measurement, Metric
from agent.http import Http
from tests.e2e.prometheus import METRIC, Service, scraping

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.asyncio(loop_scope="module"),
]

WINDOW: Final = "3s"
LONG: Final = "1m"
DEADLINE_SECONDS: Final = 20.0
CONDITIONS: Final = (
    ("result[0] >= 0.95", ""),
    ("", "result[0] < 0.95"),
    ("all(result, # >= 0.95)", ""),
    ("", "any(result, # < 0.95)"),
    ("!(result[0] < 0.95)", ""),
    ("", ""),
)


def labels(code: str, reporter: str = "source") -> tuple[tuple[str, str], ...]:
    return (("response_code", code), ("reporter", reporter))


def services() -> dict[str, Service]:
    good = {labels("200"): 200.0, labels("500"): 2.0}
    return {
        "healthy": Service(good),
        "stopped": Service(good),
        "down": Service(good),
        "failing": Service({labels("503"): 100.0}),
        "born": Service({labels("200"): 40.0}),
        "twice": Service(
            {
                labels("200", "source"): 50.0,
                labels("503", "source"): 50.0,
                labels("200", "destination"): 50.0,
            }
        ),
    }


def query(service: str, window: str) -> str:
    every = f'{METRIC}{{job="{service}"}}[{window}]'
    good = f'{METRIC}{{job="{service}",response_code!~"5.*"}}[{window}]'
    return f"sum(rate({good})) / sum(rate({every}))"


class Bed:
    """A Prometheus with its services, and our provider in front of it."""

    def __init__(self, url: str, found: dict[str, Service], http: Http) -> None:
        self.services = found
        self._url = url
        self._provider = Prometheus(http, environment={})

    async def ask(
        self, text: str, success: str = "", failure: str = "", compat: Compat = "safe"
    ) -> Measurement:
        settings = {"address": self._url, "query": text}
        metric = Metric(
            name="m",
            provider={"prometheus": settings},
            success_condition=success,
            failure_condition=failure,
        )
        now = datetime.now(UTC)
        return await self._provider.measure(Asked(metric=metric, now=now, compat=compat))

    async def until(self, text: str, wanted: str) -> None:
        """Until a query of Prometheus gives this value."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while (await self.ask(text, compat="argo")).value != wanted:
                await asyncio.sleep(0.05)

    async def phases(self, service: str, window: str = WINDOW) -> list[str]:
        """What every condition makes of the answer."""
        found = []
        for success, failure in CONDITIONS:
            measured = await self.ask(query(service, window), success, failure)
            found.append(measured.phase)
        return found


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def bed(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bed]:
    found = services()
    http = Http()
    async with scraping(found, tmp_path_factory.mktemp("prometheus")) as url:
        made = Bed(url, found, http)
        # The first window is full when all series are older than it.
        await made.until(f'count({METRIC}{{job="healthy"}} offset {WINDOW})', "[2]")
        yield made
    await http.aclose()


async def test_a_healthy_service_is_healthy_by_every_condition(bed: Bed) -> None:
    assert await bed.phases("healthy") == ["Successful"] * len(CONDITIONS)


async def test_no_such_service_is_not_healthy(bed: Bed) -> None:
    assert "Successful" not in await bed.phases("nobody")
    measured = await bed.ask(query("nobody", WINDOW), "all(result, # >= 0.95)")
    assert (measured.value, (measured.metadata or {})["missingData"]) == ("[]", "no data")


async def test_a_service_without_traffic_is_not_healthy(bed: Bed) -> None:
    bed.services["stopped"].stop()
    await bed.until(query("stopped", WINDOW), "[NaN]")
    assert "Successful" not in await bed.phases("stopped")
    argo = await bed.ask(query("stopped", WINDOW), "", "result[0] < 0.95", compat="argo")
    assert argo.phase == "Successful"


async def test_a_service_whose_every_call_fails_is_not_healthy(bed: Bed) -> None:
    """The series of good answers was never born, so there is no numerator."""
    assert "Successful" not in await bed.phases("failing")
    argo = await bed.ask(query("failing", WINDOW), "all(result, # >= 0.95)", compat="argo")
    assert (argo.phase, argo.value) == ("Successful", "[]")


async def test_failures_that_are_there_before_their_first_sample_are_not_healthy(bed: Bed) -> None:
    """A counter that begins with 500 has a rate of 0: the ratio is 1 where most requests failed."""
    bed.services["born"].born[labels("500")] = 500
    failed = f'{METRIC}{{job="born",response_code="500"}}'
    await bed.until(f"sum(count_over_time({failed}[{LONG}]) >= bool 2)", "[1]")
    argo = await bed.ask(query("born", LONG), "result[0] >= 0.95", compat="argo")
    assert (argo.phase, argo.value) == ("Successful", "[1]")
    assert "Successful" not in await bed.phases("born", LONG)
    measured = await bed.ask(query("born", LONG), "result[0] >= 0.95")
    assert (measured.metadata or {})["missingData"] == "partial data"
    assert "which no rate sees" in measured.message


async def test_calls_that_one_of_two_reporters_saw_fail_are_not_healthy(bed: Bed) -> None:
    phases = await bed.phases("twice")
    assert phases[:-1] == ["Failed"] * (len(CONDITIONS) - 1)


async def test_a_target_that_is_gone_is_not_healthy_from_the_first_scrape_that_failed(
    bed: Bed,
) -> None:
    """For a whole window the rate goes on giving the last ratio; then there is nothing."""
    assert "Successful" in await bed.phases("down")
    bed.services["down"].up = False
    await bed.until('up{job="down"}', "[0]")
    argo = await bed.ask(query("down", WINDOW), "result[0] >= 0.95", compat="argo")
    assert argo.phase == "Successful"
    kinds = set()
    async with asyncio.timeout(DEADLINE_SECONDS):
        while "no data" not in kinds:
            assert "Successful" not in await bed.phases("down")
            measured = await bed.ask(query("down", WINDOW), "all(result, # >= 0.95)")
            kinds.add((measured.metadata or {})["missingData"])
    assert kinds == {"stale sample", "no data"}


async def test_the_safer_query_sees_what_the_usual_one_does_not(bed: Bed) -> None:
    """docs/missing-data.md: differences of counters, which count what a series began with."""
    every = f'{METRIC}{{job="born",reporter="source"}}'
    failed = f'{METRIC}{{job="born",reporter="source",response_code=~"5.*"}}'
    counted = [f"sum((({one} - {one} offset {LONG}) >= 0) or {one})" for one in (failed, every)]
    text = f"1 - ({counted[0]} or vector(0)) / {counted[1]}"
    bed.services["born"].born[labels("500")] = 500
    await bed.until(f'count({METRIC}{{job="born",response_code="500"}})', "[1]")
    measured = await bed.ask(text, "result[0] >= 0.95")
    assert measured.phase == "Failed", measured.value
