"""The agent as a process: settings, logs, signals, exit code. Imports no command-line framework."""

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import structlog

from agent.app import running
from agent.errors import Invalid, Refused, SerinusError
from agent.settings import Settings, load
from agent.telemetry.logs import configure

log = structlog.get_logger(__name__)

STARTING_SECONDS: Final = 10.0
"""An agent that is not ready by then waits for its cluster, and may for long."""


def overrides(
    *, kubeconfig: Path | None = None, port: int | None = None, companion: bool = False
) -> dict[str, str]:
    """Options of the command line as the environment variables that they stand for."""
    chosen = {}
    if kubeconfig is not None:
        chosen["SERINUS_CLUSTER__KUBECONFIG"] = str(kubeconfig)
    if port is not None:
        chosen["SERINUS_SINK__PORT"] = str(port)
    if companion:
        chosen["SERINUS_ENGINE__MODE"] = "companion"
    return chosen


def run_agent(config: Path | None, options: Mapping[str, str]) -> int:
    """Run until SIGTERM or SIGINT. 0 after an orderly stop, 1 after a failure, 2 for bad settings."""
    try:
        settings = load(config, {**os.environ, **options})
    except Refused as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    configure(level=settings.log.level, format=settings.log.format)
    try:
        asyncio.run(_serve(settings))
    except BaseExceptionGroup as group:
        return _explained(group)
    except SerinusError as error:
        return _explained(BaseExceptionGroup("", [error]))
    return 0


def _explained(group: BaseExceptionGroup[BaseException]) -> int:
    """Say what ended the agent; what is not one of our own errors keeps its traceback."""
    ours, others = group.split(SerinusError)
    code = 1
    for error in _leaves(ours):
        log.error("agent.failed", error=str(error))
        if isinstance(error, Refused | Invalid):
            sys.stderr.write(f"error: {error}\n")
            code = 2
    if others is not None:
        raise others
    return code


def _leaves(group: BaseExceptionGroup[BaseException] | None) -> Iterator[BaseException]:
    for error in group.exceptions if group is not None else ():
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


async def _serve(settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    late = loop.call_later(STARTING_SECONDS, _collect)
    async with running(settings):
        late.cancel()
        _collect()
        await stop.wait()


def _collect() -> None:
    """Have the garbage collector on. What is there by now stays: collections that pass over it delay no alert."""
    gc.freeze()
    gc.enable()
