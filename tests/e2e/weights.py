"""Every weight of the canary that a route has had: what a look now and then would miss."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from agent.api.meta import Object
from agent.cluster.port import Cluster, Kind
from tests.e2e.processes import until


class Observed:
    """The weights of one route, one for each version of its spec, in the order in which the API server showed them.

    Attributes:
        weights: those since the beginning, which is not among them.
        times: when each came, by time.perf_counter.
    """

    def __init__(self, weight_of: Callable[[Object], int], before: Object) -> None:
        self._weight_of = weight_of
        self._generation: int = before["metadata"]["generation"]
        self.weights: list[int] = []
        self.times: list[float] = []

    def take(self, route: Object) -> None:
        """One version of the route; what is no change of its spec is passed over."""
        generation: int = route["metadata"]["generation"]
        if generation > self._generation:
            self._generation = generation
            self.weights.append(self._weight_of(route))
            self.times.append(time.perf_counter())

    async def until_count(self, count: int, what: str) -> None:
        """Wait until so many weights were seen."""

        async def seen() -> bool:
            return len(self.weights) >= count

        try:
            await until(seen, what)
        except AssertionError as error:
            raise AssertionError(f"{error}; seen: {self.weights}") from None

    def exposed(self) -> list[float]:
        """Milliseconds between each weight that somebody set and the one that answered it."""
        pairs = zip(self.times[::2], self.times[1::2], strict=True)
        return [1000 * (down - up) for up, down in pairs]


@asynccontextmanager
async def observing(
    cluster: Cluster, kind: Kind, namespace: str, name: str, weight_of: Callable[[Object], int]
) -> AsyncIterator[Observed]:
    """What happens to the weights of a route inside the block. Fails when the watch has ended before."""
    start = await cluster.list(kind, namespace)
    (before,) = (item for item in start.items if item["metadata"]["name"] == name)
    observed = Observed(weight_of, before)

    async def watch() -> None:
        async for event in cluster.watch(kind, namespace, resource_version=start.resource_version):
            if event.type == "MODIFIED" and event.object["metadata"]["name"] == name:
                observed.take(event.object)

    task = asyncio.create_task(watch(), name=f"watch {kind.plural}")
    try:
        yield observed
        assert not task.done(), f"the watch ended: {task.exception()}"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
