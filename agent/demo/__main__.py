"""`make demo`: the page's canary on one machine, with real traffic through a real Envoy. Two acts.

A good version goes 10 -> 30 -> 50 -> 100. Then a bad one is taken off by an alert. The agent is the shipped
one, on the shipped local cluster through its REST API; the manifests are the page's.
"""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from agent.demo.show import Show
from agent.errors import SerinusError
from agent.telemetry.logs import configure

LIMIT_SECONDS = 175.0


def main() -> int:
    """0 when both acts went as promised and the switch failed no call."""
    parser = argparse.ArgumentParser(
        prog="python -m agent.demo",
        description="The page's canary, end to end: a good version goes out, a bad one is taken off by an alert.",
        epilog="examples:  make demo    python -m agent.demo --speed 10    python -m agent.demo --plain",
    )
    parser.add_argument(
        "--speed",
        type=float,
        default=20.0,
        help="factor by which pauses and intervals are shortened (default 20)",
    )
    parser.add_argument("--rate", type=float, default=200.0, help="calls a second (default 200)")
    parser.add_argument("--plain", action="store_true", help="lines instead of the live view")
    parser.add_argument("--log", type=Path, help="write the agent's log (JSON lines) to this file")
    options = parser.parse_args()
    if not 1 <= options.speed <= 60 or not 10 <= options.rate <= 2000:
        parser.error("--speed must be between 1 and 60, --rate between 10 and 2000")
    with tempfile.TemporaryDirectory(prefix="serinus-demo-") as directory:
        log = options.log or Path(directory) / "agent.log"
        with log.open("w") as stream:
            configure(level="info", format="json", stream=stream)
            code, reason = asyncio.run(_perform(options, Path(directory)))
        if reason:
            print(f"{reason}; the agent's last lines:", file=sys.stderr)
            print("\n".join(log.read_text().splitlines()[-20:]), file=sys.stderr)
        return code


async def _perform(options: argparse.Namespace, directory: Path) -> tuple[int, str]:
    """Exit code, and why it is not 0 when the demo could not be played to its end."""
    show = Show(directory, speed=options.speed, rate=options.rate, plain=options.plain)
    limit = LIMIT_SECONDS if options.speed >= 20 else LIMIT_SECONDS * 20 / options.speed
    try:
        async with asyncio.timeout(limit):
            return await show.run(), ""
    except TimeoutError:
        return 1, f"the demo did not end within {limit:g} s"
    except SerinusError as error:
        return 1, f"error: {error}"
    except BaseExceptionGroup as group:
        ours, others = group.split(SerinusError)
        if others is not None:
            raise
        return 1, f"error: {ours}"


if __name__ == "__main__":
    sys.exit(main())
