"""`python -m agent [--config FILE]`: the agent without the command line's libraries."""

import sys
from pathlib import Path

from agent.serve import run_agent

USAGE = "usage: python -m agent [--config FILE]   (settings: docs/settings.md)"


def main(arguments: list[str]) -> int:
    """Exit code of the agent; 2 for arguments that are not understood."""
    if not arguments:
        return run_agent(None, {})
    if len(arguments) == 2 and arguments[0] == "--config":
        return run_agent(Path(arguments[1]), {})
    sys.stderr.write(f"{USAGE}\n")
    return 0 if arguments == ["--help"] else 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
