"""Commands from people and programs: promote, abort, retry, pause, resume, restart, undo.

A command is written as Argo's own tools would write it, in one compare-and-swap with what the sender
saw (`expect`). Abort is always allowed; the rest needs an allowed source. An abort that is delivered late, or again
after a death, is not one of a version that did not exist when it came in.
"""

import fnmatch
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Final

import structlog

from agent.api.meta import Key
from agent.api.times import format_time_ms, parse_time
from agent.clock import Clock
from agent.engine.port import Engine, Outcome
from agent.errors import Refused
from agent.events.catalogue import COMMANDS, Cause, Command, CommandRequest, command_type
from agent.events.event import Event
from agent.events.recorded import is_fresh, recorded_at
from agent.events.registry import read_data

SKEW_SECONDS: Final = 5.0
"""By so much the API server's clock may be ahead of the one by which an event came in."""

log = structlog.get_logger(__name__)

BY_TYPE: Final[dict[str, Command]] = {command_type(command): command for command in COMMANDS}


class CommandHandler:
    """Executes `dev.serinus.command.*.v1`.

    Args:
        allowed_sources: patterns (`*`, `?`) of the event's `source` that may do more than abort.
        counted: called with command and outcome.
    """

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        *,
        allowed_sources: Sequence[str] = (),
        counted: Callable[[str, str], None] = lambda _command, _outcome: None,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._allowed = tuple(allowed_sources)
        self._counted = counted

    async def handle(self, event: Event) -> None:
        """Carry out one command. Raises Refused (dead letter) for what can never be carried out."""
        command = BY_TYPE[event.type]
        request = _request(event, command)
        if command != "abort" and not self._is_allowed(event.source):
            self._counted(command, "forbidden")
            raise Refused(
                f"source {event.source!r} may only abort; add it to commands.allowed_sources",
                field="source",
            )
        outcome = await self._carry_out(command, request, event)
        self._counted(command, outcome.result)
        log.info(
            "command.handled",
            command=command,
            rollout=f"{request.namespace}/{request.name}",
            actor=request.actor,
            source=event.source,
            outcome=outcome.result,
            message=outcome.message,
        )

    async def _carry_out(self, command: Command, request: CommandRequest, event: Event) -> Outcome:
        key = Key(request.namespace, request.name)
        cause = self._cause(command, request, event)
        if command == "abort":
            if self._came_before_the_version(key, event):
                return Outcome(result="refused", message="the version is newer than the command")
            return await self._engine.abort(key, cause, request.expect)
        options: dict[str, Any] = {}
        if request.to_revision:
            options["toRevision"] = request.to_revision
        if request.restart_at:
            options["restartAt"] = request.restart_at
        return await self._engine.command(
            key, command, expect=request.expect, cause=cause, skip=request.skip, options=options
        )

    def _came_before_the_version(self, key: Key, event: Event) -> bool:
        view = self._engine.view(key)
        if view is None or view.created is None or is_fresh(event, self._clock.now()):
            return False
        return recorded_at(event) < view.created - timedelta(seconds=SKEW_SECONDS)

    def _cause(self, command: Command, request: CommandRequest, event: Event) -> Cause:
        by = f" by {request.actor}" if request.actor else ""
        because = f": {request.reason}" if request.reason else ""
        return Cause(
            kind="command",
            summary=f"{command}{by}{because}"[:400],
            evidence={"source": event.source},
            actor=request.actor,
            event_id=event.id,
            started_at=format_time_ms(event.time),
            received_at=format_time_ms(recorded_at(event)),
        )

    def _is_allowed(self, source: str) -> bool:
        return any(fnmatch.fnmatchcase(source, pattern) for pattern in self._allowed)


def _request(event: Event, command: Command) -> CommandRequest:
    request = read_data(CommandRequest, event)
    for field in ("namespace", "name"):
        if not getattr(request, field):
            raise Refused("must name the rollout", field=f"data.{field}")
    if request.skip and command != "promote":
        raise Refused("is only for promote", field="data.skip")
    if request.to_revision and command != "undo":
        raise Refused("is only for undo", field="data.toRevision")
    if request.restart_at:
        if command != "restart":
            raise Refused("is only for restart", field="data.restartAt")
        try:
            parse_time(request.restart_at)
        except ValueError as error:
            raise Refused(
                f"{request.restart_at!r} is not an RFC 3339 time", field="data.restartAt"
            ) from error
    return request
