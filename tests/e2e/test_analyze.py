"""The shipped `serinus analyze` against a real Prometheus."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
import pytest_asyncio
import yaml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from agent.demo.manifests import page
from agent.http_server import serving
from tests.e2e.bed.run import Run
from tests.e2e.loopback import loopback
from tests.e2e.processes import ROOT
from tests.e2e.prometheus import METRIC, Service

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(180),
]

DEADLINE_SECONDS: Final = 90.0
WINDOW: Final = "5s"


def labels(code: str) -> tuple[tuple[str, str], ...]:
    return (("response_code", code),)


SERVICES: Final = {
    "analyze-stable": Service({labels("200"): 400.0, labels("500"): 4.0}),
    "analyze-canary": Service({labels("200"): 60.0, labels("500"): 40.0}),
}


class Said(NamedTuple):
    code: int
    text: str

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def url(bed: Run) -> AsyncIterator[str]:
    """The bed's Prometheus, once it has a window of both services."""
    part = await asyncio.to_thread(bed.part, "prometheus")

    async def expose(request: Request) -> PlainTextResponse:
        return PlainTextResponse(SERVICES[request.path_params["name"]].text())

    async with serving(
        Starlette(routes=[Route("/{name}", expose)]), host="127.0.0.1", port=0
    ) as port:
        targets = Path(part["directory"]) / "targets" / f"analyze-{port}.yml"
        body = [
            {
                "targets": [f"127.0.0.1:{port}"],
                "labels": {"__metrics_path__": f"/{name}", "service": name},
            }
            for name in SERVICES
        ]
        targets.write_text(yaml.safe_dump(body))
        try:
            await _until_seen(part["url"])
            yield part["url"]
        finally:
            targets.unlink()


async def _until_seen(address: str) -> None:
    query = f'count({METRIC}{{service=~"analyze-.*"}} offset {WINDOW})'
    async with (
        loopback(timeout=5) as client,
        asyncio.timeout(DEADLINE_SECONDS),
    ):
        while True:
            answer = await client.get(f"{address}/api/v1/query", params={"query": query})
            found = answer.json()["data"]["result"]
            if found and found[0]["value"][1] == "4":
                return
            await asyncio.sleep(0.1)


async def analyze(*arguments: str) -> Said:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "agent.cli", "analyze", *arguments,
        cwd=ROOT, stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return Said(process.returncode or 0, said.decode())


def template(directory: Path, **metric: Any) -> str:
    every = f'{METRIC}{{service="{{{{args.service}}}}"'
    query = (
        f'1 - (sum(rate({every},response_code=~"5.*"}}[{WINDOW}])) or vector(0))'
        f" / sum(rate({every}}}[{WINDOW}]))"
    )
    made = {
        "name": "success-rate",
        "successCondition": "result[0] >= 0.95",
        "provider": {"prometheus": {"query": query}},
        **metric,
    }
    body = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "AnalysisTemplate",
        "metadata": {"name": "success-rate"},
        "spec": {
            "args": [{"name": "service"}],
            "metrics": [{name: value for name, value in made.items() if value is not None}],
        },
    }
    file = directory / "template.yaml"
    file.write_text(yaml.safe_dump(body))
    return str(file)


async def test_a_healthy_service_is_measured_as_often_as_asked(url: str, tmp_path: Path) -> None:
    said = await analyze(
        template(tmp_path), "--prometheus", url, "--arg", "service=analyze-stable",
        "--interval", "1s", "--count", "3",
    )  # fmt: skip
    assert said.code == 0, said.text
    assert 'service="analyze-stable"' in said.lines[1]
    measured = [line for line in said.lines if " success-rate Successful  [0.9" in line]
    assert len(measured) == 3, said.text
    # On a busy machine a scrape may be late; that is an error then, and said behind this.
    assert "result[0] >= 0.95 holds  3 of 3 measured, 0 failed (limit 0)" in measured[-1]
    assert said.lines[-1] == "Successful"


async def test_a_sick_canary_fails_with_its_numbers(url: str, tmp_path: Path) -> None:
    said = await analyze(
        template(tmp_path, interval="1s", failureLimit=1), "--prometheus", url,
        "--arg", "service=analyze-canary", "--watch",
    )  # fmt: skip
    assert said.code == 1, said.text
    last = said.lines[-2]
    # Between the two a busy machine may say what it missed: a scrape that was late.
    assert "result[0] >= 0.95 does not hold" in last, said.text
    assert last.endswith("2 measured, 2 failed (limit 1)"), said.text
    assert said.lines[-1] == (
        'Failed: Metric "success-rate" assessed Failed due to failed (2) > failureLimit (1)'
    )


async def test_no_such_service_is_an_error_and_never_healthy(url: str, tmp_path: Path) -> None:
    said = await analyze(
        template(tmp_path), "--prometheus", url, "--arg", "service=nobody", "--once"
    )
    assert said.code == 4, said.text
    assert "missing: no data" in said.text


async def test_the_pages_template_asks_for_its_placeholder(url: str, tmp_path: Path) -> None:
    raw = tmp_path / "raw.yaml"
    raw.write_text(yaml.safe_dump(page()["analysisTemplate"]))
    said = await analyze(str(raw), "--prometheus", url, "--arg", "service-name=x", "--once")
    assert said.code == 4, said.text
    assert "<service-name>.*" in said.lines[1]
    assert "no data returned from the metric provider" in said.text


async def test_the_sequential_judge_shows_its_evidence_form(url: str, tmp_path: Path) -> None:
    arms = {
        arm: {
            "requests": f'{METRIC}{{service="analyze-{arm}"}}',
            "bad": f'{METRIC}{{service="analyze-{arm}",response_code=~"5.*"}}',
        }
        for arm in ("canary", "stable")
    }
    judge = {"plugin": {"serinus/sequential": arms}}
    file = template(tmp_path, provider=judge, successCondition=None, interval="1s")
    said = await analyze(file, "--prometheus", url, "--arg", "service=unused")
    assert said.code == 1, said.text
    assert "e-value" in said.text
    assert "against the canary" in said.text
    assert "canary fails" in said.lines[-1]


async def test_a_prometheus_that_is_away_is_an_error(tmp_path: Path) -> None:
    said = await analyze(
        template(tmp_path), "--prometheus", "http://127.0.0.1:1", "--arg", "service=x", "--once"
    )
    assert said.code == 4, said.text
    assert "Traceback" not in said.text
