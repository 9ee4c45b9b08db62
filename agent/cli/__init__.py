"""`serinus …`: one file a command."""

import sys


def main() -> None:
    """Entry point of the console script."""
    try:
        from agent.cli.root import app
    except ImportError as error:
        if error.name not in ("typer", "rich"):
            raise
        print(
            f"missing: {error.name}. Install the command line: pip install 'serinus[cli]'",
            file=sys.stderr,
        )
        print("(the agent itself needs neither: python -m agent --config FILE)", file=sys.stderr)
        sys.exit(2)
    app()
