"""The agent's part of the analysis bench: a local cluster in this very process, and the driver of its runs.

Prints one line of JSON at the end.
"""

import asyncio
import resource
import sys
import time
from typing import Any

import msgspec

from agent.api.meta import Object
from agent.app import running
from agent.clock import SystemClock
from agent.cluster.local.store import LocalCluster
from agent.cluster.port import KINDS
from agent.settings import Settings, SinkSettings
from agent.telemetry.logs import configure
from tests.bench import machine

LAG_SECONDS = 0.05


def analysis_run(number: int, prometheus: str, interval: int) -> Object:
    """A run that goes on until it is deleted; its query names it."""
    name = f"run-{number}"
    metric = {
        "name": "success-rate",
        "interval": f"{interval}s",
        "successCondition": "result[0] >= 0.95",
        "failureLimit": 3,
        "provider": {"prometheus": {"address": prometheus, "query": name}},
    }
    return {"metadata": {"name": name, "namespace": "default"}, "spec": {"metrics": [metric]}}


async def measure(prometheus: str, count: int, seconds: float, interval: int) -> dict[str, Any]:
    """Bring the runs up over one interval, then watch them for a while."""
    configure(level="error", format="json")
    cluster = LocalCluster(SystemClock())
    settings = Settings(sink=SinkSettings(port=0))
    lags: list[float] = []

    async def watch_loop() -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(LAG_SECONDS)
            lags.append(1000 * (time.perf_counter() - before - LAG_SECONDS))

    async with running(settings, cluster=cluster):
        for number in range(count):
            await cluster.create(KINDS["AnalysisRun"], analysis_run(number, prometheus, interval))
            await asyncio.sleep(interval / count)
        await asyncio.sleep(interval)
        before, used = await _counts(cluster), _used()
        began = time.monotonic()
        watching = asyncio.create_task(watch_loop())
        await asyncio.sleep(seconds)
        watching.cancel()
        took, spent = time.monotonic() - began, _used() - used
        after = await _counts(cluster)
        listing = await cluster.list(KINDS["AnalysisRun"])
        return {
            "seconds": took,
            "processor_seconds": spent,
            "resident_mib": machine.resident_mib(machine.own_pid()),
            "loop_lag_ms": lags,
            "counts": {name: after[name] - before[name] for name in after},
            "measured": {
                run["metadata"]["name"]: [
                    one["finishedAt"] for one in _result(run).get("measurements") or ()
                ]
                for run in listing.items
            },
        }


async def _counts(cluster: LocalCluster) -> dict[str, int]:
    listing = await cluster.list(KINDS["AnalysisRun"])
    return {run["metadata"]["name"]: int(_result(run).get("count") or 0) for run in listing.items}


def _result(run: Object) -> dict[str, Any]:
    results = (run.get("status") or {}).get("metricResults") or [{}]
    found: dict[str, Any] = results[0]
    return found


def _used() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    address, number_of, duration, every = sys.argv[1:]
    told = asyncio.run(measure(address, int(number_of), float(duration), int(every)))
    print(msgspec.json.encode(told).decode())
