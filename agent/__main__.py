"""`python -m agent [--config FILE]`: the agent without the command line's libraries."""

import gc
import sys
from pathlib import Path

USAGE = "usage: python -m agent [--config FILE]   (settings: docs/settings.md)"


def main(arguments: list[str]) -> int:
    """Exit code of the agent; 2 for arguments that are not understood."""
    # Code and classes by the ten thousand, none of them garbage: to search them for some is a fifth of the start.
    # The agent has the collector on again once it is ready (agent/serve.py).
    gc.disable()
    from agent.serve import run_agent

    if not arguments:
        return run_agent(None, {})
    if len(arguments) == 2 and arguments[0] == "--config":
        return run_agent(Path(arguments[1]), {})
    sys.stderr.write(f"{USAGE}\n")
    return 0 if arguments == ["--help"] else 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
