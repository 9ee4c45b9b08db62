"""What commands work on: manifests in files, and the cluster of a kubeconfig."""

import os
import sys
from pathlib import Path
from typing import Any, Final

import typer

from agent.clock import SystemClock

LOCAL_KUBECONFIG: Final = Path("local.kubeconfig")
_MANIFESTS: Final = (".yaml", ".yml", ".json")


class Connected:
    """The cluster of a kubeconfig, closed at the end."""

    def __init__(self, kubeconfig: Path | None) -> None:
        named = os.environ.get("KUBECONFIG", "")
        self._kubeconfig = kubeconfig or (Path(named) if named else LOCAL_KUBECONFIG)

    async def __aenter__(self) -> Any:
        from agent.cluster.kubernetes import connect

        self._cluster = await connect(SystemClock(), kubeconfig=self._kubeconfig)
        return self._cluster

    async def __aexit__(self, *_: object) -> None:
        await self._cluster.aclose()


def text_of(file: str) -> str:
    """A file, - for stdin. Raises typer.BadParameter when it cannot be read."""
    if file == "-":
        return sys.stdin.read()
    try:
        return Path(file).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{file}: {error}") from error


def files_in(named: list[str]) -> list[str]:
    """The files that are meant: of a directory its manifests, in order of their names, not below it."""
    found: list[str] = []
    for name in named:
        path = Path(name)
        if name != "-" and path.is_dir():
            found += sorted(str(file) for file in path.iterdir() if file.suffix in _MANIFESTS)
        else:
            found.append(name)
    return found
