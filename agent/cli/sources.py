"""What commands work on: manifests in files, and the cluster of a kubeconfig."""

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import structlog
import typer

from agent.clock import SystemClock
from agent.telemetry.logs import configure

LOCAL_KUBECONFIG: Final = Path("local.kubeconfig")
_MANIFESTS: Final = (".yaml", ".yml", ".json")


@contextlib.contextmanager
def logs_on_stderr() -> Iterator[None]:
    """What the libraries of ours warn about goes to stderr meanwhile: stdout is the command's answer."""
    was, before = structlog.is_configured(), structlog.get_config()
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    configure(level="warning", format="console")
    # A logger that remembers would write to this stderr when it is another's.
    structlog.configure(cache_logger_on_first_use=False)
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        if was:
            structlog.configure(**before)
        else:
            structlog.reset_defaults()


class Connected:
    """The cluster of a kubeconfig, closed at the end."""

    def __init__(self, kubeconfig: Path | None) -> None:
        named = os.environ.get("KUBECONFIG", "")
        self._kubeconfig = kubeconfig or (Path(named) if named else LOCAL_KUBECONFIG)

    async def __aenter__(self) -> Any:
        from agent.cluster.kubernetes import connect

        async with contextlib.AsyncExitStack() as stack:
            stack.enter_context(logs_on_stderr())
            cluster = await connect(SystemClock(), kubeconfig=self._kubeconfig)
            stack.push_async_callback(cluster.aclose)
            self._stack = stack.pop_all()
        return cluster

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()


def text_of(file: str) -> str:
    """A file, - for stdin. Raises typer.BadParameter when it cannot be read."""
    if file == "-":
        return sys.stdin.read()
    try:
        return Path(file).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{file}: {error}") from error


def files_in(named: list[str], *, recursive: bool = False) -> list[str]:
    """The files that are meant: of a directory its manifests, in order of their names; below it if `recursive`."""
    found: list[str] = []
    for name in named:
        path = Path(name)
        if name != "-" and path.is_dir():
            inside = path.rglob("*") if recursive else path.iterdir()
            found += sorted(str(file) for file in inside if file.suffix in _MANIFESTS)
        else:
            found.append(name)
    return found
