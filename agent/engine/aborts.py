"""Aborts: one run at a time a rollout, owned by the engine, never stopped by who asked for it.

In a storm few of them run side by side, in order of arrival: a run has several requests one after the other, and
a hundred runs that take turns at each of them all end late, past their requests' deadlines.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from typing import Any, Final, Protocol

import structlog

from agent.api.meta import Key, Object, Ref
from agent.clock import Clock
from agent.engine.crash_points import Reach
from agent.engine.expectation import check_expected
from agent.engine.observe import Objects
from agent.engine.port import Outcome
from agent.engine.write import Writer
from agent.errors import Conflict, NotFound, Refused, SerinusError, Unavailable
from agent.events.catalogue import Cause, Expect

log = structlog.get_logger(__name__)

TRIES: Final = 8
DEADLINE_SECONDS: Final = 10.0
RETRY_SECONDS: Final = 0.05
AT_ONCE: Final = 8
SLOW_SECONDS: Final = 1.0
"""A run that takes longer gives its place away: what one rollout waits for holds up no other one for long."""


class AbortRun(Protocol):
    """One abort under way."""

    async def write_intent(self) -> Outcome:
        """Put the abort onto the object. Raises Unavailable when it could not be stored."""
        ...

    async def take_off(self, *, announce: bool) -> None:
        """Do what follows from the intent. `announce`: this run wrote it."""
        ...


Begin = Callable[[Key, Cause, Expect | None], AbortRun]
"""Makes the run of one abort."""


class Aborts:
    """Aborts rollouts, one run at a time each.

    Args:
        spawn: starts a task that the engine owns: the caller's cancellation does not stop an abort.
        suspended: keeps a rollout's lane from starting passes, and ends the running one's right to write.
    """

    def __init__(
        self,
        begin: Begin,
        *,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        suspended: Callable[[Key], AbstractContextManager[None]] = lambda _key: nullcontext(),
    ) -> None:
        self._begin = begin
        self._spawn = spawn
        self._suspended = suspended
        self._active: dict[Key, asyncio.Future[Outcome]] = {}
        self._places = asyncio.Semaphore(AT_ONCE)

    @property
    def busy(self) -> bool:
        """Whether an abort waits or is under way: all else can wait a little."""
        return bool(self._active)

    async def abort(self, key: Key, cause: Cause, expect: Expect | None) -> Outcome:
        """Abort if the rollout is as expected, or being aborted already; returns once the intent is on the object (the weight follows at once, by itself).

        Raises Unavailable when the intent could not be stored: the event must come again.
        """
        intent = self._active.get(key)
        if intent is None:
            intent = asyncio.get_running_loop().create_future()
            self._spawn(self._run(key, self._begin(key, cause, expect), intent))
            self._active[key] = intent
        return await asyncio.shield(intent)

    async def _run(self, key: Key, run: AbortRun, intent: asyncio.Future[Outcome]) -> None:
        try:
            with self._suspended(key), structlog.contextvars.bound_contextvars(rollout=str(key)):
                async with self._place(), asyncio.timeout(DEADLINE_SECONDS):
                    outcome = await run.write_intent()
                    if not intent.done():
                        intent.set_result(outcome)
                    if outcome.result != "refused":
                        await run.take_off(announce=outcome.result == "done")
        except TimeoutError:
            log.error("abort.timed_out", rollout=str(key), stored=intent.done())
            _fail(intent, Unavailable("the abort was not stored in time"))
        except SerinusError as error:
            # After the intent the owner's lane ends what is left; before it the event comes again.
            log.error("abort.failed", rollout=str(key), stored=intent.done(), error=str(error))
            _fail(intent, error if isinstance(error, Unavailable) else Unavailable(str(error)))
        except Exception as error:
            # A bug here must not end the task group of everybody.
            log.exception("abort.bug", rollout=str(key), stored=intent.done())
            _fail(intent, Unavailable(f"the abort failed: {error}"))
        finally:
            self._active.pop(key, None)
            intent.cancel()

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        """One of the few places, given back at the end of the block or when it takes long: no wait for one has no end."""
        await self._places.acquire()
        given_back = False

        def give_back() -> None:
            nonlocal given_back
            if not given_back:
                given_back = True
                self._places.release()

        late = asyncio.get_running_loop().call_later(SLOW_SECONDS, give_back)
        try:
            yield
        finally:
            late.cancel()
            give_back()


class AbortIntent:
    """The intent of an abort, by compare-and-swap, whoever acts on it."""

    def __init__(self, writer: Writer, objects: Objects, clock: Clock, reach: Reach) -> None:
        self._writer = writer
        self._objects = objects
        self._clock = clock
        self._reach = reach

    async def store(
        self,
        key: Key,
        swap: Callable[[Object], Coroutine[Any, Any, None]],
        expect: Expect | None,
    ) -> Outcome:
        """Have `swap` write it onto the Rollout as it is, again and again until it is there.

        Args:
            swap: one try on the version it is given. Raises Conflict when that is not the present one.

        Raises Unavailable.
        """
        ref = Ref("Rollout", *key)
        self._reach("abort-before-intent")
        rollout = self._objects.get(ref)
        for attempt in range(TRIES):
            if rollout is None:
                try:
                    rollout = await self._writer.get(ref, urgent=True)
                except NotFound:
                    return Outcome(result="refused", message="there is no such rollout")
            answer = self._answer(rollout, expect)
            if answer is not None:
                # The cache may be behind: only what the API server says counts as a reason not to abort.
                if attempt == 0:
                    rollout = None
                    continue
                return answer
            try:
                await swap(rollout)
            except Conflict:
                rollout = self._objects.get(ref)
                continue
            except Unavailable:
                # It may have been stored nevertheless: the next read shows.
                await self._clock.sleep(RETRY_SECONDS)
                rollout = None
                continue
            self._reach("abort-after-intent")
            return Outcome(result="done", message="aborted")
        raise Unavailable("others kept writing the Rollout, or the API server does not answer")

    def _answer(self, rollout: Object, expect: Expect | None) -> Outcome | None:
        """Why there is nothing to abort; None when there is."""
        status = rollout.get("status") or {}
        current, stable = status.get("currentPodHash") or "", status.get("stableRS") or ""
        if not current or not stable or current == stable:
            return Outcome(result="refused", message="no update is in progress")
        try:
            check_expected(self._objects, rollout, expect)
        except Refused as error:
            return Outcome(result="refused", message=str(error))
        if status.get("abort"):
            return Outcome(result="unchanged", message="it is aborted already")
        return None


def _fail(intent: asyncio.Future[Outcome], error: Exception) -> None:
    if not intent.done():
        intent.set_exception(error)
        # Whoever asked may be gone by now; an error that nobody fetches would be reported at collection.
        intent.exception()
