"""The clusters of the contract: the local store, and the same store through REST and the adapter.

A real API server (with the CRDs of Argo Rollouts and Istio) joins by SERINUS_CONTRACT_KUBECONFIG.
"""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.clock import SystemClock
from agent.cluster.kubernetes import connect
from agent.cluster.local.kubeconfig import write_kubeconfig
from agent.cluster.local.rest import Facade
from agent.cluster.local.store import LocalCluster
from agent.cluster.port import Cluster
from agent.http_server import serving


@asynccontextmanager
async def _store(_path: Path) -> AsyncIterator[Cluster]:
    yield LocalCluster(SystemClock())


@asynccontextmanager
async def _facade(path: Path) -> AsyncIterator[Cluster]:
    facade = Facade(LocalCluster(SystemClock()), token="secret")
    async with serving(facade.app, host="127.0.0.1", port=0) as port:
        write_kubeconfig(path / "kubeconfig", server=f"http://127.0.0.1:{port}", token="secret")
        cluster = await connect(SystemClock(), kubeconfig=path / "kubeconfig")
        try:
            yield cluster
        finally:
            facade.close()
            await cluster.aclose()


@asynccontextmanager
async def _real(_path: Path) -> AsyncIterator[Cluster]:
    cluster = await connect(
        SystemClock(), kubeconfig=Path(os.environ["SERINUS_CONTRACT_KUBECONFIG"])
    )
    try:
        yield cluster
    finally:
        await cluster.aclose()


CLUSTERS: dict[str, Callable[[Path], Any]] = {"store": _store, "facade": _facade}
if "SERINUS_CONTRACT_KUBECONFIG" in os.environ:
    CLUSTERS["real"] = _real


@pytest.fixture(params=list(CLUSTERS))
async def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Cluster]:
    async with CLUSTERS[request.param](tmp_path) as made:
        yield made
