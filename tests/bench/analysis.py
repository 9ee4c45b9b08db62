"""Many AnalysisRuns at a short interval on one process: how late they are, and what they cost."""

import argparse
import asyncio
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from agent.api.times import parse_time
from agent.http_server import serving
from tests.bench.numbers import Report
from tests.e2e.processes import ROOT

INTERVAL_SECONDS: Final = 5
GRACE_SECONDS: Final = 120.0


async def run(directory: Path, options: argparse.Namespace) -> list[Report]:
    """An answerer of Prometheus' kind here, the agent with its runs in a process of its own."""
    arrivals: dict[str, list[float]] = defaultdict(list)

    async def query(request: Request) -> Response:
        form = parse_qs((await request.body()).decode())
        arrivals[form.get("query", [""])[0]].append(time.time())
        result = [{"metric": {}, "value": [time.time(), "1"]}]
        return JSONResponse(
            {"status": "success", "data": {"resultType": "vector", "result": result}}
        )

    app = Starlette(routes=[Route("/api/v1/query", query, methods=["GET", "POST"])])
    async with serving(app, host="127.0.0.1", port=0) as port:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "tests.bench.analysis_process", f"http://127.0.0.1:{port}"),
            *(str(options.analysis_runs), str(options.seconds), str(INTERVAL_SECONDS)),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(options.seconds + GRACE_SECONDS):
            output, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"the agent's process ended with {process.returncode}")
    told: dict[str, Any] = msgspec.json.decode(output.splitlines()[-1])
    return [_report(told, arrivals, options)]


def _report(
    told: dict[str, Any], arrivals: dict[str, list[float]], options: argparse.Namespace
) -> Report:
    report = Report(
        f"{options.analysis_runs} AnalysisRuns, one metric each, every {INTERVAL_SECONDS} s, {options.seconds} s"
    )
    lags = _lags(told["measured"], arrivals)
    expected = options.analysis_runs * told["seconds"] / INTERVAL_SECONDS
    made = sum(told["counts"].values())
    report.add("late: query arrived after it was due", "s", *lags)
    report.add("measurements", "/s", made / told["seconds"], baseline=expected / told["seconds"])
    report.add("event loop late", "ms", *told["loop_lag_ms"])
    report.add("processor", "%", 100 * told["processor_seconds"] / told["seconds"])
    report.add("processor a measurement", "ms", 1000 * told["processor_seconds"] / max(1, made))
    report.add("resident memory", "MiB", told["resident_mib"])
    report.notes.append("due: interval after the end of the one before, a whole second as stored")
    report.notes.append("the process holds the cluster as well; ratio: to one each interval")
    return report


def _lags(measured: dict[str, list[str]], arrivals: dict[str, list[float]]) -> list[float]:
    """Seconds from when a measurement was due until its query arrived.

    Args:
        measured: when the last measurements of each run ended.
    """
    lags = []
    for name, finished in measured.items():
        ends = [parse_time(text).timestamp() for text in finished]
        for end in ends:
            due = end + INTERVAL_SECONDS
            # The first query after this measurement; its own came within the second it ended in.
            after = [at for at in arrivals[name] if at >= end + 1.5]
            if after and (end != ends[-1] or after[0] - due < INTERVAL_SECONDS):
                lags.append(after[0] - due)
    return lags
