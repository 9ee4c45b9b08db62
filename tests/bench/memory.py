"""What a replica's memory grows by with the rollouts it watches."""

import argparse
import asyncio
from typing import Final

from tests.bench import machine
from tests.bench.numbers import Report
from tests.bench.stage import Stage

QUIET_SECONDS: Final = 3.0


async def run(stage: Stage, options: argparse.Namespace) -> list[Report]:
    """Resident memory of an agent that was started beside no rollouts, and beside many that are idle."""
    report = Report(f"memory of one replica, {options.rollouts} idle rollouts")
    empty = await _resident_when_quiet(stage)
    names = [f"idle-{number}" for number in range(options.rollouts)]
    # Their pods are nobody's concern here: only what the agent keeps of them counts.
    await stage.healthy(names, replicas=0)
    after_work = await _resident_when_quiet(stage)
    stage.agent.kill()
    await stage.agent.wait()
    await stage.start_agent()
    full = await _resident_when_quiet(stage)
    cpu = machine.processor_seconds(stage.pid)
    await asyncio.sleep(10)
    idle = machine.processor_seconds(stage.pid) - cpu
    report.add("without rollouts", "MiB", empty)
    report.add("after it brought them up", "MiB", after_work)
    report.add("started beside them", "MiB", full)
    report.add("for 1,000 rollouts", "MiB", (full - empty) * 1000 / max(1, options.rollouts))
    report.add("processor while idle", "%", 10 * idle)
    report.notes.append("each: Rollout, ReplicaSet, VirtualService, two Services")
    return [report]


async def _resident_when_quiet(stage: Stage) -> float:
    """When the processor has rested for a while."""
    while True:
        before = machine.processor_seconds(stage.pid)
        await asyncio.sleep(QUIET_SECONDS)
        if machine.processor_seconds(stage.pid) - before < 0.1 * QUIET_SECONDS:
            return machine.resident_mib(stage.pid)
