"""Commands of people and programs, written as Argo's own tools would write them.

They are carried out only if the rollout is still what their sender saw.
"""

from collections.abc import Callable
from typing import Any

import msgspec
import structlog

from agent.api.decode import read
from agent.api.meta import Key, Object, Ref
from agent.api.names import PAUSED_BY_HOLD
from agent.api.rollout import Rollout
from agent.api.times import format_time
from agent.clock import Clock
from agent.engine.expectation import check_expected
from agent.engine.holds import annotated, annotations_of
from agent.engine.intents import forgetting, overruling
from agent.engine.notes import Noted, Notes
from agent.engine.observe import Objects
from agent.engine.port import Outcome
from agent.engine.swap import Change, Swap
from agent.engine.write import Writer
from agent.errors import NotFound, Refused
from agent.events.catalogue import Cause, Command, Expect
from agent.rollout import operator, replica_sets

log = structlog.get_logger(__name__)


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked: see agent.engine.port.Engine.command."""

    cause: Cause
    skip: bool = False
    options: dict[str, Any] = {}


Make = Callable[[Object, Rollout, Request], Change | Outcome]
"""Makes the change of one command. Raises Refused."""


class Commands:
    """Carries out commands. Raises Unavailable when one could not be stored."""

    def __init__(
        self, objects: Objects, clock: Clock, swap: Swap, writer: Writer, notes: Notes
    ) -> None:
        self._objects = objects
        self._notes = notes
        self._writer = writer
        self._clock = clock
        self._swap = swap
        self._makers: dict[str, Make] = {
            "promote": self._promote,
            "promote-full": self._promote_full,
            "resume": self._resume,
            "retry": self._retry,
            "pause": self._pause,
            "restart": self._restart,
        }

    async def command(
        self, key: Key, command: Command, request: Request, expect: Expect | None
    ) -> Outcome:
        """Any command but `abort`, which has its own path."""
        make = await self._undo(key) if command == "undo" else self._makers[command]

        def build(rollout: Object) -> Change | Outcome:
            check_expected(self._objects, rollout, expect)
            return make(rollout, read(Rollout, rollout), request)

        outcome = await self._swap(key, build)
        log.info(
            "rollout.command",
            rollout=str(key),
            command=command,
            actor=request.cause.actor,
            outcome=outcome.result,
            message=outcome.message,
        )
        return outcome

    async def set_images(
        self, key: Key, images: dict[str, str], *, expect_revision: str, cause: Cause
    ) -> Outcome:
        """Put images (by container name) into the template, wherever it is."""

        def build(rollout: Object) -> Change | Outcome:
            check_expected(self._objects, rollout, Expect(revision=expect_revision))
            typed, workload = self._with_template(rollout)
            return _change(operator.set_images(typed, images), workload)

        outcome = await self._swap(key, build)
        if outcome.result == "done":
            log.info("rollout.images_set", rollout=str(key), images=images, actor=cause.actor)
        return outcome

    # One command each.

    def _promote(self, rollout: Object, typed: Rollout, request: Request) -> Change | Outcome:
        noted, off = overruling(self._objects, self._notes, rollout, request.cause.actor)
        intent = operator.promote(typed)
        if intent.skips_step and not request.skip:
            if not off:
                return Outcome(
                    result="refused",
                    message="nothing is paused; to skip the current step ask for it (skip: true)",
                )
            intent = operator.resume(typed)
        return _change(intent, None, noted=noted, also=off)

    def _resume(self, rollout: Object, typed: Rollout, request: Request) -> Change | Outcome:
        noted, off = overruling(self._objects, self._notes, rollout, request.cause.actor)
        return _change(operator.resume(typed), None, noted=noted, also=off)

    def _promote_full(self, rollout: Object, typed: Rollout, request: Request) -> Change | Outcome:
        if typed.status.abort:
            raise Refused("it is aborted: retry it first")
        noted, off = overruling(self._objects, self._notes, rollout, request.cause.actor)
        return _change(operator.promote_full(typed), None, noted=noted, also=off)

    def _retry(self, rollout: Object, typed: Rollout, _request: Request) -> Change | Outcome:
        if not typed.status.abort:
            return Outcome(result="unchanged", message="it is not aborted")
        noted = forgetting(self._objects, self._notes, rollout)
        return _change(operator.RETRY, None, noted=noted)

    def _pause(self, rollout: Object, typed: Rollout, _request: Request) -> Change | Outcome:
        if typed.spec.paused and PAUSED_BY_HOLD in annotations_of(rollout):
            return annotated({PAUSED_BY_HOLD: None}, "the pause of the hold is a person's now")
        if typed.spec.paused:
            return Outcome(result="unchanged", message="it is paused already")
        return _change(operator.PAUSE, None)

    def _restart(self, _rollout: Object, _typed: Rollout, request: Request) -> Change | Outcome:
        at = request.options.get("restartAt") or format_time(self._clock.now())
        return _change(operator.restart(str(at)), None)

    async def _undo(self, key: Key) -> Make:
        """The maker for the ReplicaSets as they are: the cache keeps no whole templates of old ones."""
        sets = await self._whole_sets(key)

        def make(rollout: Object, _typed: Rollout, request: Request) -> Change | Outcome:
            text = str(request.options.get("toRevision") or "0")
            if not text.isdecimal():
                raise Refused(f"{text!r} is not the number of a revision", field="toRevision")
            typed, workload = self._with_template(rollout)
            return _change(operator.undo(typed, sets, int(text)), workload)

        return make

    # What they share.

    async def _whole_sets(self, key: Key) -> tuple[replica_sets.ReplicaSetView, ...]:
        rollout = self._objects.get(Ref("Rollout", *key))
        uid = str(rollout["metadata"].get("uid", "")) if rollout is not None else ""
        found = []
        for known in self._objects.owned("ReplicaSet", uid):
            try:
                found.append(await self._writer.get(Ref("ReplicaSet", *Key.of(known))))
            except NotFound:
                continue  # trimmed from the history a moment ago
        return tuple(replica_sets.view(item) for item in found)

    def _with_template(self, rollout: Object) -> tuple[Rollout, Object | None]:
        """The Rollout with its template resolved, and the workload that holds the template.

        Raises Refused when the workload is not known here.
        """
        typed = read(Rollout, rollout)
        reference = typed.spec.workload_ref
        if reference is None:
            return typed, None
        place = Ref(reference.kind, Key.of(rollout).namespace, reference.name)
        workload = self._objects.get(place)
        if workload is None:
            raise Refused(
                f"{place} is not known: change its template there", field="spec.workloadRef"
            )
        template = (workload.get("spec") or {}).get("template")
        spec = msgspec.structs.replace(typed.spec, template=template)
        return msgspec.structs.replace(typed, spec=spec), workload


def _change(
    intent: operator.Intent,
    workload: Object | None,
    *,
    noted: Noted = Noted(),  # noqa: B008 - immutable
    also: tuple[operator.Patch, ...] = (),
) -> Change | Outcome:
    patches = (*noted.patches, *also, *intent.patches)
    if not patches and not intent.operations:
        return Outcome(result="unchanged", message=intent.message)
    return Change(
        before=noted.before,
        patches=patches,
        operations=intent.operations,
        target=workload if intent.on_workload else None,
    )
