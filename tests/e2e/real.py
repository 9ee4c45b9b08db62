"""The real API server of the bed, for tests that ask for more than the contract."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from agent.clock import SystemClock
from agent.cluster.kubernetes import KubernetesCluster, connect
from agent.cluster.port import KINDS
from tests.contract.objects import a_name


@asynccontextmanager
async def connected(kubeconfig: str | Path) -> AsyncIterator[KubernetesCluster]:
    """The product's client."""
    cluster = await connect(SystemClock(), kubeconfig=Path(kubeconfig))
    try:
        yield cluster
    finally:
        await cluster.aclose()


@asynccontextmanager
async def fresh_namespace(cluster: KubernetesCluster) -> AsyncIterator[str]:
    """One that nobody used before; emptied in the background."""
    name = a_name()
    await cluster.create(KINDS["Namespace"], {"metadata": {"name": name}})
    try:
        yield name
    finally:
        await cluster.delete(KINDS["Namespace"], "", name)
