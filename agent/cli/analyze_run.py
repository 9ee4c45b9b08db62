"""One AnalysisRun without a cluster: the production driver on objects in memory."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from agent.analysis.missing import Policy
from agent.analysis.providers.port import Provider
from agent.api.analysis import AnalysisRun
from agent.api.decode import read
from agent.api.meta import Key, Object, Ref
from agent.clock import Clock
from agent.cluster.cache import Cache
from agent.cluster.local.store import LocalCluster
from agent.cluster.port import KINDS
from agent.engine.measure import DONE, AnalysisDriver
from agent.errors import SerinusError

END_SECONDS: Final = 10.0
"""How long a measurement in flight is waited for when the user ends the run."""

Seen = Callable[[AnalysisRun], None]


async def analysed(
    run: Object,
    secrets: Sequence[Object],
    providers: Mapping[str, Provider],
    clock: Clock,
    *,
    seen: Seen,
    stop: asyncio.Event,
    missing: Policy = "error",
) -> AnalysisRun:
    """The run as it is when it has ended.

    Args:
        run, secrets: objects that are not in any cluster.
        seen: called with the run after each change of it; must not wait.
        stop: set by whoever has seen enough: the run is terminated, as Argo's tools do it, and ends with the
            verdict so far.
    """
    store = LocalCluster(clock)
    key, done = Key.of(run), asyncio.Event()
    latest = read(AnalysisRun, run)

    def changed(ref: Ref, old: Object | None, new: Object | None) -> None:
        nonlocal latest
        del old
        if ref.kind == "AnalysisRun" and new is not None:
            latest = read(AnalysisRun, new)
            seen(latest)
            if latest.status.phase in DONE:
                done.set()

    for secret in secrets:
        await store.create(KINDS["Secret"], secret)
    await store.create(KINDS["AnalysisRun"], run)
    cache = Cache(store, ("AnalysisRun", "Rollout"), clock)
    driver = AnalysisDriver(store, cache, clock, providers, missing=missing)
    cache.on_change(driver.changed)
    cache.on_change(changed)
    async with asyncio.TaskGroup() as group:
        working = [group.create_task(cache.run(), name="cache")]
        await cache.synced.wait()
        working.append(group.create_task(driver.run(), name="driver"))
        try:
            await _first_of(done, stop)
            if not done.is_set():
                await _terminate(store, key)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(done.wait(), END_SECONDS)
        finally:
            for task in working:
                task.cancel()
    return latest


async def _first_of(*events: asyncio.Event) -> None:
    waiting = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def _terminate(store: LocalCluster, key: Key) -> None:
    """As `kubectl argo rollouts terminate analysisrun` does it."""
    with contextlib.suppress(SerinusError):
        await store.merge_patch(
            KINDS["AnalysisRun"], key.namespace, key.name, {"spec": {"terminate": True}}
        )
