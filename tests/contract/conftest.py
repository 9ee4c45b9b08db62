"""The sides of the contract of a cluster: the local store, the same store through REST and the adapter, and
a real API server through the adapter (`make e2e`)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agent.clock import SystemClock
from agent.cluster.kubernetes import connect
from agent.cluster.local.kubeconfig import write_kubeconfig
from agent.cluster.local.rest import Facade
from agent.cluster.local.store import LocalCluster
from agent.cluster.port import KINDS, Cluster
from agent.http_server import serving
from tests.contract.objects import a_name


@asynccontextmanager
async def through_facade(path: Path) -> AsyncIterator[Cluster]:
    """The store behind REST on loopback, through the adapter."""
    facade = Facade(LocalCluster(SystemClock()), token="secret")
    async with serving(facade.app, host="127.0.0.1", port=0) as port:
        write_kubeconfig(path / "kubeconfig", server=f"http://127.0.0.1:{port}", token="secret")
        cluster = await connect(SystemClock(), kubeconfig=path / "kubeconfig")
        try:
            yield cluster
        finally:
            facade.close()
            await cluster.aclose()


@pytest.fixture(params=["store", "facade", pytest.param("real", marks=pytest.mark.e2e)])
def side(request: pytest.FixtureRequest) -> str:
    """Which cluster."""
    name: str = request.param
    return name


@pytest.fixture
async def cluster(
    side: str, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[Cluster]:
    """One side."""
    if side == "store":
        yield LocalCluster(SystemClock())
    elif side == "facade":
        async with through_facade(tmp_path) as made:
            yield made
    else:
        kubeconfig = request.getfixturevalue("bed").part("kubernetes")["kubeconfig"]
        real = await connect(SystemClock(), kubeconfig=Path(kubeconfig))
        try:
            yield real
        finally:
            await real.aclose()


@pytest.fixture
async def namespace(cluster: Cluster) -> AsyncIterator[str]:
    """A fresh one: a real API server keeps what was there, and takes seconds to empty one."""
    name = a_name()
    await cluster.create(KINDS["Namespace"], {"metadata": {"name": name}})
    yield name
    await cluster.delete(KINDS["Namespace"], "", name)
