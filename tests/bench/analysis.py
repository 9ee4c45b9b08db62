"""Many AnalysisRuns at a short interval on one agent: how late they are, and what they cost.

The agent, its cluster and this process, which answers its queries, are processes of their own.
"""

import argparse
import asyncio
import re
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from agent.api.meta import Object
from agent.api.times import parse_time
from agent.cluster.port import KINDS
from agent.http_server import serving
from tests.bench import machine
from tests.bench.numbers import Report
from tests.bench.stage import NAMESPACE, Stage

INTERVAL_SECONDS: Final = 5
SAMPLE_SECONDS: Final = 0.5
LOOP_LAG: Final = re.compile(r"(?m)^serinus_loop_lag_seconds (\S+)$")
RUN: Final = KINDS["AnalysisRun"]


async def run(stage: Stage, options: argparse.Namespace) -> list[Report]:
    """Bring the runs up over one interval, then watch them for a while."""
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
        count = options.analysis_runs
        for number in range(count):
            await stage.cluster.create(RUN, analysis_run(number, f"http://127.0.0.1:{port}"))
            await asyncio.sleep(INTERVAL_SECONDS / count)
        await stage.until(lambda: len(arrivals) == count, f"{count} runs measured")
        await asyncio.sleep(INTERVAL_SECONDS)
        return [await _measured(stage, arrivals, options)]


def analysis_run(number: int, prometheus: str) -> Object:
    """A run that goes on until it is deleted; its query names it."""
    name = f"run-{number}"
    metric = {
        "name": "success-rate",
        "interval": f"{INTERVAL_SECONDS}s",
        "successCondition": "result[0] >= 0.95",
        "failureLimit": 3,
        "provider": {"prometheus": {"address": prometheus, "query": name}},
    }
    return {"metadata": {"name": name, "namespace": NAMESPACE}, "spec": {"metrics": [metric]}}


async def _measured(
    stage: Stage, arrivals: dict[str, list[float]], options: argparse.Namespace
) -> Report:
    report = Report(
        f"{options.analysis_runs} AnalysisRuns, one metric each, every {INTERVAL_SECONDS} s, {options.seconds} s"
    )
    before, began = await _counts(stage), time.monotonic()
    others = [machine.own_pid(), *([stage.stand_in.pid] if stage.stand_in else [])]
    used = [machine.processor_seconds(pid) for pid in (stage.pid, *others)]
    loop_lags = await _loop_lags(stage, options.seconds)
    took = time.monotonic() - began
    spent = [machine.processor_seconds(pid) for pid in (stage.pid, *others)]
    after = await _counts(stage)
    made = sum(after[name] - before[name] for name in after)
    shares = [100 * (now - then) / took for now, then in zip(spent, used, strict=True)]
    report.add("late: query arrived after it was due", "s", *_lags(await _ends(stage), arrivals))
    report.add("measurements", "/s", made / took, baseline=options.analysis_runs / INTERVAL_SECONDS)
    report.add("event loop late", "ms", *loop_lags)
    report.add("processor of the agent", "%", shares[0])
    report.add("processor a measurement", "ms", 10 * shares[0] * took / max(1, made))
    report.add("processor of what stands beside it", "%", sum(shares[1:]))
    report.add("resident memory", "MiB", machine.resident_mib(stage.pid))
    report.notes.append("due: interval after the end of the one before, a whole second as stored")
    report.notes.append("ratio: to one each interval")
    return report


async def _loop_lags(stage: Stage, seconds: float) -> Sequence[float]:
    """How late the agent's loop runs, in ms, as it says itself."""
    found, ends = [], time.monotonic() + seconds
    while time.monotonic() < ends:
        told = LOOP_LAG.search((await stage.http.get("/metrics")).text)
        if told:
            found.append(1000 * float(told.group(1)))
        await asyncio.sleep(SAMPLE_SECONDS)
    return found


def _lags(measured: Mapping[str, Sequence[str]], arrivals: dict[str, list[float]]) -> list[float]:
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


async def _ends(stage: Stage) -> dict[str, list[str]]:
    """When the measurements ended that the runs still keep."""
    listing = await stage.cluster.list(RUN, NAMESPACE)
    return {
        run["metadata"]["name"]: [
            one["finishedAt"] for one in _result(run).get("measurements") or ()
        ]
        for run in listing.items
    }


async def _counts(stage: Stage) -> dict[str, int]:
    listing = await stage.cluster.list(RUN, NAMESPACE)
    return {run["metadata"]["name"]: int(_result(run).get("count") or 0) for run in listing.items}


def _result(found: Object) -> dict[str, Any]:
    results = (found.get("status") or {}).get("metricResults") or [{}]
    result: dict[str, Any] = results[0]
    return result
