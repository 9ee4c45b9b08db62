"""Asks Prometheus whether a raise has reached the requests, for rollouts that want that (annotation CONFIRM_SHARES).

Outside the lanes: what it finds out becomes an annotation, and a change of that wakes the rollout. Only the counters
at the beginning of a look are in memory; another process begins anew.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import structlog

from agent.analysis.shares import Counts, Shown, counts, judge
from agent.api.decode import read
from agent.api.meta import Key, Object
from agent.api.names import CONFIRM_SHARES, SHARES
from agent.api.rollout import Rollout
from agent.clock import Clock
from agent.cluster.port import KINDS, Cluster
from agent.engine.observe import Objects, Routers
from agent.errors import Refused, SerinusError
from agent.rollout.share_confirmation import asked_for, canary_names, istio_query, noted, text_of
from agent.traffic.routers import router_of
from agent.traffic.routing import routing_of

log = structlog.get_logger(__name__)

Ask = Callable[[str], Awaitable[Any]]
"""A PromQL instant query; the answer's `data.result`. Raises Refused or Unavailable."""

PERIOD_SECONDS: Final = 5.0
DEADLINE_SECONDS: Final = 4.0
AT_ONCE: Final = 8
ISTIO: Final = "istio"


class ShareMeter:
    """Looks at the requests of every rollout whose weight waits for them.

    Args:
        owns: whether this process drives a rollout.
        least: requests that a look needs.
    """

    def __init__(
        self,
        cluster: Cluster,
        objects: Objects,
        clock: Clock,
        ask: Ask,
        routers: Routers,
        *,
        owns: Callable[[Key], bool],
        least: int,
    ) -> None:
        self._cluster = cluster
        self._objects = objects
        self._clock = clock
        self._ask = ask
        self._routers = routers
        self._owns = owns
        self._least = least
        self._begun: dict[Key, tuple[str, Counts]] = {}
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def run(self) -> None:
        """Looks every few seconds, until cancelled."""
        while True:
            await self.look()
            await self._clock.sleep(PERIOD_SECONDS)

    async def look(self) -> None:
        """One look at every rollout that waits."""
        waiting: dict[Key, tuple[Rollout, str]] = {}
        for raw in tuple(self._objects.list("Rollout")):
            key, annotations = Key.of(raw), raw["metadata"].get("annotations") or {}
            if annotations.get(CONFIRM_SHARES) and self._owns(key):
                rollout, exposure = self._exposure(raw)
                if rollout is not None and exposure:
                    waiting[key] = rollout, exposure
        self._begun = {key: begun for key, begun in self._begun.items() if key in waiting}
        await asyncio.gather(*(self._one(key, *what) for key, what in waiting.items()))

    def _exposure(self, raw: Object) -> tuple[Rollout | None, str]:
        """What is to be confirmed; "" when there is nothing, or it was."""
        try:
            rollout = read(Rollout, raw)
        except Refused:
            return None, ""
        router = router_of(routing_of(rollout), self._routers)
        if router is None:
            return rollout, ""
        found = ((ref, self._objects.get(ref)) for ref in router.references(rollout))
        routes = {ref: obj for ref, obj in found if obj is not None}
        exposure = asked_for(rollout, router.canary_weight(rollout, routes))
        return rollout, "" if noted(rollout, exposure).state == "confirmed" else exposure

    async def _one(self, key: Key, rollout: Rollout, exposure: str) -> None:
        async with self._slots:
            try:
                shown = await self._shown(key, rollout, exposure)
                await self._note(key, rollout, exposure, shown)
            except SerinusError as error:
                # It is noted in a moment; the wait has a name all the while.
                log.warning("shares.not_noted", rollout=str(key), error=str(error))
            except Exception:
                # A bug here must not end the task group of everybody.
                log.exception("shares.bug", rollout=str(key))

    async def _shown(self, key: Key, rollout: Rollout, exposure: str) -> Shown:
        asked = rollout.metadata.annotation(CONFIRM_SHARES)
        query = istio_query(rollout) if asked == ISTIO else asked
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                answer = await self._ask(query)
        except Refused as error:
            return Shown("absent", f"the query of {CONFIRM_SHARES} is refused: {error.detail}")
        except (SerinusError, TimeoutError) as error:
            log.warning("shares.not_told", rollout=str(key), error=str(error) or "no answer")
            return Shown("absent", "Prometheus does not answer")
        now = counts(answer, canary_names(rollout))
        if now is None:
            return Shown("absent", "Prometheus has no counters of its requests")
        return self._judged(key, exposure, now)

    def _judged(self, key: Key, exposure: str, now: Counts) -> Shown:
        begun = self._begun.get(key)
        if begun is None or begun[0] != exposure or now.total < begun[1].total:
            self._begun[key] = exposure, now
            return Shown("few", f"0 of {self._least} requests were seen")
        weight = int(exposure.rpartition(":")[2])
        shown = judge(begun[1], now, weight, self._least)
        if shown.state == "off":
            # The proxies may have been late: the next look counts from here.
            self._begun[key] = exposure, now
        return shown

    async def _note(self, key: Key, rollout: Rollout, exposure: str, shown: Shown) -> None:
        before = noted(rollout, exposure)
        if before.state == shown.state and before.text:
            return  # counts alone are no news, and would be a write every few seconds
        body = {"metadata": {"annotations": {SHARES: text_of(exposure, shown)}}}
        answer = await self._cluster.merge_patch(KINDS["Rollout"], *key, body)
        self._objects.observe_write(answer)
        log.info("shares.told", rollout=str(key), state=shown.state, what=shown.text)
