"""The controller of a gateway: it takes up each generation of an HTTPRoute after a while, and says so."""

import random
from collections.abc import Callable

from agent.api.meta import Object
from agent.clock import Clock
from agent.cluster.local.store import LocalCluster
from agent.cluster.port import KINDS
from agent.errors import NotFound

ROUTE = KINDS["HTTPRoute"]


class GatewayController:
    """Writes the status of HTTPRoutes.

    Attributes:
        is_silent: it has stopped answering.
        refuses: why it accepts nothing; "" when it does.
    """

    def __init__(
        self,
        store: LocalCluster,
        clock: Clock,
        rng: random.Random,
        *,
        wrote: Callable[[], None],
        seconds: tuple[float, float] = (0.01, 0.3),
    ) -> None:
        self._store = store
        self._clock = clock
        self._rng = rng
        self._wrote = wrote
        self._seconds = seconds
        self.is_silent = False
        self.refuses = ""

    async def run(self) -> None:
        """Until cancelled."""
        version = str(self._store.now_version())
        for route in self._store.peek_all("HTTPRoute"):
            await self.answer(route)
        async for event in self._store.watch(ROUTE, resource_version=version):
            if event.type in ("ADDED", "MODIFIED"):
                await self._clock.sleep(self._rng.uniform(*self._seconds))
                if not self.is_silent:
                    await self.answer(event.object)

    async def answer(self, route: Object) -> None:
        """Say how the route stands now, unless that was said."""
        meta = route["metadata"]
        current = self._store.peek("HTTPRoute", meta["namespace"], meta["name"])
        if current is None:
            return
        status = _status(current, self.refuses)
        if current.get("status") == status:
            return
        try:
            await self._store.merge_patch(
                ROUTE, meta["namespace"], meta["name"], {"status": status}, status=True
            )
        except NotFound:
            return
        self._wrote()


def _status(route: Object, refuses: str) -> Object:
    accepted = (
        {"reason": refuses, "status": "False"}
        if refuses
        else {"reason": "Accepted", "status": "True"}
    )
    generation = route["metadata"]["generation"]
    conditions = [
        {"type": "Accepted", "observedGeneration": generation, **accepted},
        {
            "type": "ResolvedRefs",
            "observedGeneration": generation,
            "reason": "ResolvedRefs",
            "status": "True",
        },
    ]
    return {
        "parents": [
            {"parentRef": parent, "controllerName": "example.com/gateway", "conditions": conditions}
            for parent in route["spec"]["parentRefs"]
        ]
    }
