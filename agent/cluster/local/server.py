"""A whole local cluster as one owned resource: store, REST facade, simulated workloads, kubeconfig."""

import asyncio
import contextlib
import os
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import msgspec

from agent.clock import Clock
from agent.cluster.local.kubeconfig import write_kubeconfig
from agent.cluster.local.rest import Facade
from agent.cluster.local.snapshot import Snapshot
from agent.cluster.local.store import LocalCluster
from agent.cluster.local.workloads import Workloads
from agent.cluster.port import KINDS
from agent.http_server import serving

LOOPBACK: Final = "127.0.0.1"


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How the cluster is to be.

    Attributes:
        port: on loopback; 0 takes a free one.
        data: directory that keeps the objects and the token; None forgets them.
        kubeconfig: file to write for clients; None writes none.
        ready_seconds, never_ready, termination_seconds: of agent.cluster.local.workloads.Workloads.
    """

    port: int = 0
    data: Path | None = None
    kubeconfig: Path | None = None
    ready_seconds: float = 1.0
    never_ready: tuple[str, ...] = ()
    termination_seconds: float = 0.0


class Running(msgspec.Struct, frozen=True):
    """A cluster that lives: `stopped` ends when it broke (it never does by itself)."""

    store: LocalCluster
    workloads: Workloads
    server: str
    token: str
    stopped: asyncio.Task[None]


@contextlib.asynccontextmanager
async def local_cluster_running(options: Options, clock: Clock) -> AsyncIterator[Running]:
    """The cluster, while the context lasts; it ends in bounded time.

    Raises Invalid for a port that is taken or a data directory that is in use.
    """
    snapshot = Snapshot(options.data) if options.data else None
    store = LocalCluster(clock, snapshot=snapshot)
    try:
        token = _token(options.data)
        facade = Facade(store, token=token)
        workloads = Workloads(
            store,
            clock,
            ready_seconds=options.ready_seconds,
            never_ready=options.never_ready,
            termination_seconds=options.termination_seconds,
        )
        if store.peek("Namespace", "", "default") is None:
            await store.create(KINDS["Namespace"], {"metadata": {"name": "default"}})
        async with serving(facade.app, host=LOOPBACK, port=options.port) as port:
            server = f"http://{LOOPBACK}:{port}"
            if options.kubeconfig:
                write_kubeconfig(options.kubeconfig, server=server, token=token)
            living = asyncio.create_task(workloads.run(), name="workloads")
            try:
                yield Running(store, workloads, server, token, living)
            finally:
                facade.close()
                living.cancel()
                await asyncio.gather(living, return_exceptions=True)
    finally:
        await store.aclose()


def _token(data: Path | None) -> str:
    """The same one after a restart, so that clients need not notice it."""
    if data is None:
        return secrets.token_urlsafe(32)
    file = data / "token"
    if file.exists() and (known := file.read_text().strip()):
        return known
    token = secrets.token_urlsafe(32)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as opened:
        opened.write(token)
    return token
