"""One pass of a lane: observe, decide, act; and what each kind of failure means for the next one."""

from collections.abc import Callable
from datetime import datetime
from typing import Final

import msgspec
import structlog

from agent.api.meta import Key
from agent.clock import Clock
from agent.engine.act import Actor
from agent.engine.backoff import Backoff
from agent.engine.fence import Superseded, Turn
from agent.engine.interest import Interest
from agent.engine.lane import Epoch
from agent.engine.notice import Notice
from agent.engine.observe import Observer, Routers, named_by
from agent.engine.quarantine import Quarantine
from agent.engine.timers import Timers
from agent.errors import Conflict, Forbidden, Invalid, Refused, Retry, Unavailable
from agent.rollout.types import Decision, Observation

log = structlog.get_logger(__name__)

Decide = Callable[[Observation, Routers], Decision]

BUSY_PASSES: Final = 40
BUSY_SECONDS: Final = 10.0
"""More writing passes than this in this time are a loop of our own making: the lane is slowed down."""


class Wait(msgspec.Struct, frozen=True, kw_only=True):
    """What a rollout waits for, in a sentence, and when it will be looked at again at the latest."""

    why: str
    until: datetime | None = None


class Passes:
    """Runs passes.

    Args:
        decide: the pure core.
        owns: whether this process drives a rollout.
        interest: learns what each rollout refers to.
        notice: announces a quarantine.
    """

    def __init__(
        self,
        observer: Observer,
        decide: Decide,
        routers: Routers,
        actor: Actor,
        timers: Timers,
        quarantine: Quarantine,
        backoff: Backoff,
        clock: Clock,
        *,
        owns: Callable[[Key], bool],
        interest: Interest,
        notice: Notice,
        counted: Callable[[str], None] = lambda _result: None,
    ) -> None:
        self._observer = observer
        self._decide = decide
        self._routers = routers
        self._actor = actor
        self._timers = timers
        self._quarantine = quarantine
        self._backoff = backoff
        self._clock = clock
        self._owns = owns
        self._interest = interest
        self._notice = notice
        self._counted = counted
        self._busy: dict[Key, tuple[float, int]] = {}
        self.last_pass: dict[Key, float] = {}
        self.waits: dict[Key, Wait] = {}

    async def run(self, key: Key, epoch: Epoch, causes: tuple[str, ...]) -> float | None:
        """One pass; seconds until the next one, None for "when woken"."""
        with structlog.contextvars.bound_contextvars(rollout=str(key)):
            if not self._owns(key):
                self.forget(key)
                return None
            observation = self._observer.observe(key, self._clock.now())
            if observation is None:
                self.forget(key)
                self._quarantine.release(key)
                return None
            self.last_pass[key] = self._clock.monotonic()
            rollout = observation.rollout
            self._interest.set(key, (*named_by(rollout), *self._observer.references(rollout)))
            if self._quarantine.holds(key, rollout):
                return None
            return await self._guarded(key, epoch, observation, causes)

    def forget(self, key: Key) -> None:
        """The rollout is gone or another process drives it."""
        self._timers.set(key, None)
        self._backoff.succeeded(key)
        for known in (self.last_pass, self.waits, self._busy):
            known.pop(key, None)

    async def _guarded(
        self, key: Key, epoch: Epoch, observation: Observation, causes: tuple[str, ...]
    ) -> float | None:
        """The pass with every failure turned into a time to look again."""
        result = "ok"
        try:
            return await self._pass(key, epoch, observation, causes)
        except Superseded:
            result = "superseded"
            return 0.0
        except Conflict as error:
            result = "conflict"
            log.debug("pass.conflict", error=str(error))
            # The first lost races are ordinary: look again at once. Losing on and on is not.
            wait = self._backoff.failed(key)
            return 0.0 if self._backoff.failures(key) <= 3 else wait
        except Retry as error:
            result = "retry"
            wait = self._backoff.failed(key, at_least=error.after_seconds)
            return self._later(key, wait, str(error))
        except Unavailable as error:
            result = "unavailable"
            wait = self._backoff.failed(key, at_least=error.retry_after_seconds or 0.0)
            return self._later(key, wait, f"the cluster does not answer: {error}")
        except (Invalid, Forbidden, Refused) as error:
            result = "rejected"
            wait = self._backoff.failed(key, at_least=1.0)
            return self._later(key, wait, f"the cluster rejects a write: {error}")
        except Exception as error:
            # Whatever else happens is a bug of ours in one rollout: the others go on.
            log.exception("pass.bug")
            result = "bug"
            await self._bug(key, observation, error)
            return None
        finally:
            self._counted(result)

    async def _pass(
        self, key: Key, epoch: Epoch, observation: Observation, causes: tuple[str, ...]
    ) -> float | None:
        decision = self._decide(observation, self._routers)
        turn = Turn(
            key=key, epoch=epoch, observation=observation, decision=decision, owns=self._owns
        )
        wrote = await self._actor.act(turn)
        self._backoff.succeeded(key)
        self._timers.set(key, decision.wake_at)
        self.waits[key] = Wait(why=decision.why, until=decision.wake_at)
        log.debug("pass.done", causes=causes, wrote=wrote, why=decision.why)
        # What was written may make the next thing possible: do not wait for the watch to say so.
        return self._pace(key) if wrote else None

    def _later(self, key: Key, seconds: float, why: str) -> float:
        log.warning("pass.failed", retry_seconds=round(seconds, 3), why=why)
        self.waits[key] = Wait(why=why)
        return seconds

    def _pace(self, key: Key) -> float:
        now = self._clock.monotonic()
        since, passes = self._busy.get(key, (now, 0))
        if now - since > BUSY_SECONDS:
            since, passes = now, 0
        self._busy[key] = (since, passes + 1)
        if passes < BUSY_PASSES:
            return 0.0
        log.warning("pass.busy", passes=passes, seconds=BUSY_SECONDS)
        return 1.0

    async def _bug(self, key: Key, observation: Observation, error: Exception) -> None:
        why = self._quarantine.enter(key, observation.rollout, error)
        path = self._quarantine.dump(key, observation, error, self._clock.now())
        self._timers.set(key, None)
        self.waits[key] = Wait(why=why)
        log.error("rollout.quarantined", why=why, dump=str(path or ""))
        await self._notice.quarantined(observation.rollout, why)
