"""`python -m tests.e2e.bed build|up|down|start|guard`: what `make bed-build`, `bed` and `bed-down` run."""

import argparse
import hashlib
import os
import sys
import time
from pathlib import Path
from typing import Final

from tests.e2e.bed.errors import BedError
from tests.e2e.bed.guardian import REGISTER, runs
from tests.e2e.bed.parts import PARTS
from tests.e2e.bed.run import Run, sweep, watch
from tests.e2e.bed.servers import broken, running
from tests.e2e.bed.tools import ROOT, WITHOUT, excluded

EPILOG: Final = f"""
{WITHOUT}=kafka,kubernetes leaves parts out; tests that need one are then skipped. `expressions` is the
comparison with the real expression language, which needs Go.
Everything built is kept in ${{XDG_CACHE_HOME:-~/.cache}}/serinus-bed, which may be removed at any time
when no bed is up.

examples:
  python -m tests.e2e.bed build           # fetch and build what is missing (minutes, once)
  python -m tests.e2e.bed up              # start all parts on free ports, or say where they are
  python -m tests.e2e.bed down
"""


def main(arguments: list[str]) -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.e2e.bed",
        description="Real servers for tests, on loopback: Kubernetes, Kafka, Prometheus, Alertmanager.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("build", help="fetch, build and install what is missing")
    commands.add_parser("up", help="start all parts; says where they are when they are up")
    commands.add_parser("down", help="stop what `up` started, and what killed test runs left")
    start = commands.add_parser("start", help="start one part in the directory of a run")
    start.add_argument("part", choices=PARTS)
    start.add_argument("directory", type=Path)
    guard = commands.add_parser("guard", help="end a run as soon as its owner is gone")
    guard.add_argument("directory", type=Path)
    given = parser.parse_args(arguments)
    try:
        if given.command == "start":
            Run(given.directory).start_here(given.part)
        elif given.command == "guard":
            watch(given.directory)
        else:
            {"build": _build, "up": _up, "down": _down}[given.command]()
    except BedError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _wanted() -> list[str]:
    for name in PARTS:
        if excluded(name):
            print(excluded(name))
    return [name for name in PARTS if not excluded(name)]


def _build() -> None:
    """All parts are tried, so that one message names everything that is missing."""
    failures = []
    for name in _wanted():
        began = time.monotonic()
        try:
            PARTS[name].build()
        except BedError as error:
            failures.append(f"{name}: {error}")
        else:
            print(f"{name}: built ({time.monotonic() - began:.1f} s)", flush=True)
    if failures:
        raise BedError("\n".join(failures))


def _run() -> Run:
    """One bed for each clone: another one may want other versions."""
    return Run(runs() / f"bed-{hashlib.sha256(str(ROOT).encode()).hexdigest()[:8]}")


def _up() -> None:
    run = _run()
    ended = broken(run.directory)
    if ended or not running(run.directory):
        # Killed, or of a machine that was switched off: half a bed is none.
        print(*(f"{name} is gone: starting anew" for name in ended), sep="\n")
        run.end()
    os.environ[REGISTER] = str(run.directory)
    already = run.directory.exists()
    _build()
    print("the bed is up already" if already else "the bed is up", "in", run.directory)
    for name in _wanted():
        for what, where in run.part(name).items():
            print(f"  {name:<14}{what:<15}{where}", flush=True)
    print(f"tests use it with {REGISTER}={run.directory}; `make bed-down` ends it")


def _down() -> None:
    ended = [*_run().end(), *sweep()]
    print(f"stopped: {', '.join(ended)}" if ended else "there was no bed")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
