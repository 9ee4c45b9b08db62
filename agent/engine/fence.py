"""One pass and its fence: the compare-and-swap on the Rollout that everything dangerous hangs on."""

from collections.abc import Callable

import msgspec

from agent.api.meta import Key, Object, Ref
from agent.engine.lane import Epoch
from agent.engine.write import Writer, version_of
from agent.errors import Conflict, NotFound
from agent.rollout.types import Decision, Observation


class Superseded(Exception):
    """The pass lost its right to write: an abort came in, or another process drives now. Not a failure."""


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """One pass: what was seen, what was decided, and the right to write."""

    key: Key
    epoch: Epoch
    observation: Observation
    decision: Decision
    owns: Callable[[Key], bool]

    def check(self) -> None:
        """Raises Superseded when the right to write has ended."""
        if self.epoch.ended or not self.owns(self.key):
            raise Superseded(str(self.key))


class Fence:
    """The Rollout as this pass's compare-and-swap left it (or as it was observed, without one)."""

    def __init__(self, writer: Writer, rollout: Object, *, written: bool) -> None:
        self._writer = writer
        self.rollout = rollout
        self.written = written
        self._held = written

    @property
    def resource_version(self) -> str:
        """The version that the Rollout must still have."""
        return version_of(self.rollout)

    @property
    def ref(self) -> Ref:
        """The Rollout."""
        return Ref("Rollout", *Key.of(self.rollout))

    def moved(self, rollout: Object) -> None:
        """This pass wrote the Rollout once more, by compare-and-swap."""
        self.rollout = rollout

    async def hold(self, turn: Turn) -> None:
        """Make sure that the fence holds: by the swap, or by one live read when nothing was swapped.

        Raises Conflict when somebody else wrote the Rollout, Superseded when an abort came in.
        """
        turn.check()
        if not self._held:
            await self.check_live(turn)
            self._held = True

    async def check_live(self, turn: Turn) -> Object:
        """Read the Rollout and compare; the live object. Raises Conflict or Superseded."""
        try:
            live = await self._writer.get(Ref("Rollout", *turn.key))
        except NotFound as error:
            raise Conflict(f"{turn.key} was deleted") from error
        turn.check()
        if live["metadata"].get("uid") != self.rollout["metadata"].get("uid"):
            raise Conflict(f"{turn.key} is another object now")
        if version_of(live) != self.resource_version:
            raise Conflict(f"{turn.key} changed since it was observed")
        return live
