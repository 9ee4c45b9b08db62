"""The controller of a gateway: it takes up each generation of a route after a while, and says so."""

import asyncio
import contextlib
import random
from collections.abc import Callable, Sequence
from typing import Final

from agent.api.meta import Object
from agent.clock import Clock
from agent.cluster.port import KINDS, Cluster, Kind
from agent.errors import Gone, NotFound, Unavailable
from tests.traffic.gateway_objects import answer, condition

SINCE: Final = "2026-05-01T10:00:00Z"
RELIST_SECONDS: Final = 0.1


class GatewayController:
    """Writes the status of routes, on the simulated cluster or a real one.

    Args:
        kinds: of the routes.
        namespace: None is all of them.
        wrote: called after each write.
        seconds: how long it takes, at least and at most.

    Attributes:
        is_silent: it has stopped answering.
        refuses: why it accepts nothing; "" when it does.
    """

    def __init__(
        self,
        cluster: Cluster,
        clock: Clock,
        rng: random.Random,
        *,
        kinds: Sequence[str] = ("HTTPRoute",),
        namespace: str | None = None,
        wrote: Callable[[], None] = lambda: None,
        seconds: tuple[float, float] = (0.01, 0.3),
    ) -> None:
        self._cluster = cluster
        self._clock = clock
        self._rng = rng
        self._kinds = tuple(KINDS[name] for name in kinds)
        self._namespace = namespace
        self._wrote = wrote
        self._seconds = seconds
        self.is_silent = False
        self.refuses = ""

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            for kind in self._kinds:
                group.create_task(self._keep_following(kind))

    async def answer(self, route: Object) -> None:
        """Say how the route stands now, unless that was said."""
        kind, meta = KINDS[route["kind"]], route["metadata"]
        try:
            current = await self._cluster.get(kind, meta["namespace"], meta["name"])
            status = _status(current, self.refuses)
            if current.get("status") == status:
                return
            await self._cluster.merge_patch(
                kind, meta["namespace"], meta["name"], {"status": status}, status=True
            )
        except NotFound:
            return
        self._wrote()

    async def _keep_following(self, kind: Kind) -> None:
        while True:
            with contextlib.suppress(Gone, Unavailable):
                await self._follow(kind)
            await self._clock.sleep(RELIST_SECONDS)

    async def _follow(self, kind: Kind) -> None:
        listing = await self._cluster.list(kind, self._namespace)
        for route in listing.items:
            await self._answer_unless_silent(route)
        async for event in self._cluster.watch(
            kind, self._namespace, resource_version=listing.resource_version
        ):
            if event.type in ("ADDED", "MODIFIED"):
                await self._clock.sleep(self._rng.uniform(*self._seconds))
                await self._answer_unless_silent(event.object)

    async def _answer_unless_silent(self, route: Object) -> None:
        if not self.is_silent:
            await self.answer(route)


def _status(route: Object, refuses: str) -> Object:
    generation = route["metadata"]["generation"]
    said = [
        condition(
            name,
            "False" if refuses and name == "Accepted" else "True",
            generation,
            reason=refuses if refuses and name == "Accepted" else name,
            message="",
            lastTransitionTime=SINCE,
        )
        for name in ("Accepted", "ResolvedRefs")
    ]
    return {"parents": [answer(*said, parent=parent) for parent in route["spec"]["parentRefs"]]}
