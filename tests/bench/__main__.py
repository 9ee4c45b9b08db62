"""`python -m tests.bench`: the promises in numbers, as ratios to raw hops of the same run."""

import argparse
import asyncio
import json
import logging
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from tests.bench import abort, analysis, machine, memory
from tests.bench.numbers import Report
from tests.bench.stage import Servers, Stage, local, real, staged

EXAMPLES: Final = """examples:
  python -m tests.bench                          all benches on real servers (`make bed-build` first)
  python -m tests.bench --only abort --runs 50   one of them
  python -m tests.bench --local --runs 5         on the local cluster, without Kafka and Alertmanager
  python -m tests.bench --json numbers.json      also for programs
"""


async def _abort(stage: Stage, options: argparse.Namespace) -> list[Report]:
    """Alone, with an empty API server and with idle rollouts on it."""
    reports = []
    runs, idle = options.runs, options.idle
    for count in dict.fromkeys((0, idle)):
        if count:
            await stage.healthy([f"idle-{number}" for number in range(count)])
        where = f"{count} idle rollouts"
        doors = ["the door"] + ([stage.servers.alertmanager] if stage.servers.alertmanager else [])
        for door in doors:
            through = door if door.startswith("http") else ""
            word = "alertmanager" if through else "direct"
            names = [f"{word}-{count}-{number}" for number in range(runs)]
            await stage.healthy(names)
            await stage.exposed(names, "web:2")
            title = f"alert → weight 0, {'through Alertmanager' if through else 'posted'}, {where}"
            reports.append(await abort.one_by_one(stage, names, title, through=through))
        names = [f"patched-{count}-{number}" for number in range(runs)]
        await stage.healthy(names)
        await stage.exposed(names, "web:2")
        reports.append(
            await abort.by_command_line(stage, names, f"abort by command line → weight 0, {where}")
        )
    return reports


async def _storm(stage: Stage, options: argparse.Namespace) -> list[Report]:
    """Many at once, three ways."""
    names = [f"storm-{number}" for number in range(options.storm)]
    await stage.healthy(names)
    reports = []
    for version, how in enumerate(("one webhook", "webhooks", "patches"), start=2):
        await stage.exposed(names, f"web:{version}")
        title = f"storm: {len(names)} aborts at once, {how}"
        reports.append(await abort.storm(stage, names, title, how=how))
    return reports


ON_A_STAGE: Final[dict[str, Callable[[Stage, argparse.Namespace], Awaitable[list[Report]]]]] = {
    "abort": _abort,
    "storm": _storm,
    "memory": memory.run,
    "analysis": analysis.run,
}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", choices=[*ON_A_STAGE], help="one bench")
    parser.add_argument("--runs", type=int, default=30, help="aborts measured alone (30)")
    parser.add_argument("--idle", type=int, default=300, help="idle rollouts beside them (300)")
    parser.add_argument("--storm", type=int, default=100, help="aborts at once (100)")
    parser.add_argument("--rollouts", type=int, default=1000, help="of the memory bench (1000)")
    parser.add_argument("--analysis-runs", type=int, default=1000, help="at the same time (1000)")
    parser.add_argument("--seconds", type=int, default=60, help="of the analysis bench (60)")
    parser.add_argument("--local", action="store_true", help="without real servers")
    parser.add_argument("--json", type=Path, help="file for the figures")
    return parser.parse_args()


async def _on_a_stage(name: str, servers: Servers, options: argparse.Namespace) -> list[Report]:
    async with staged(servers) as stage:
        return await ON_A_STAGE[name](stage, options)


def main() -> int:
    """Run what was asked for; 0 when all of it could be measured."""
    options = _options()
    # So that what was started is ended then, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    logging.getLogger("aiokafka").setLevel(logging.ERROR)
    names = [options.only] if options.only else [*ON_A_STAGE]
    about = machine.described()
    print(f"machine: {about}", flush=True)
    found: dict[str, list[Report]] = {}
    for name in names:
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="serinus-bench-") as directory:
            where = local if options.local else real
            with where(Path(directory)) as servers:
                found[name] = asyncio.run(_on_a_stage(name, servers, options))
        for report in found[name]:
            print(f"\n{report.text()}", flush=True)
        print(f"\n({name}: {time.monotonic() - began:.0f} s)", flush=True)
    if options.json:
        figures = {name: [report.as_json() for report in of] for name, of in found.items()}
        options.json.write_text(json.dumps({"machine": about, "benches": figures}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
