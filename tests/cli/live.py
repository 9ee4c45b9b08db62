"""A cluster on a loop in another thread: commands have a loop of their own."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from agent.api.meta import Object
from agent.clock import SystemClock
from agent.cluster.kubernetes import connect
from agent.cluster.local.server import Options, local_cluster_running
from agent.cluster.port import KINDS

DEADLINE_SECONDS: Final = 50.0


@contextlib.contextmanager
def cluster_with(objects: Sequence[Object], directory: Path) -> Iterator[Path]:
    """The kubeconfig of a local cluster that has these objects."""
    ready, stop = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()
    kubeconfig = directory / "kubeconfig"

    async def live() -> None:
        clock = SystemClock()
        async with local_cluster_running(Options(kubeconfig=kubeconfig), clock):
            cluster = await connect(clock, kubeconfig=kubeconfig)
            try:
                for obj in objects:
                    await cluster.create(KINDS[obj["kind"]], obj)
            finally:
                await cluster.aclose()
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(live()), daemon=True)
    thread.start()
    try:
        assert ready.wait(DEADLINE_SECONDS), "the local cluster did not come up"
        yield kubeconfig
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(DEADLINE_SECONDS)
        assert not thread.is_alive()
        loop.close()
