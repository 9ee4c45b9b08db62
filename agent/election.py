"""Who drives what, by the settings: Kafka's partitions share it out, a Lease elects one, or this process does."""

import asyncio
import os
import socket
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from agent.bus.make import POD_NAME, POD_NAMESPACE
from agent.bus.ownership import PartitionOwner
from agent.clock import Clock
from agent.cluster.kubernetes import KubernetesCluster
from agent.cluster.port import Cluster
from agent.engine.lease import LeaseOwner, Terms
from agent.engine.ownership import Ownership, SoleOwner
from agent.settings import OwnershipSettings

POD_UID: Final = "POD_UID"
SERVICE_ACCOUNT_NAMESPACE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class Election:
    """Who drives, and how this process comes to.

    Args:
        partitions: the owner by Kafka, when the bus is one.
        counted: called with acquired, lost or released.

    Attributes:
        owner: asked before each pass and each of its writes.
    """

    def __init__(
        self,
        settings: OwnershipSettings,
        cluster: Cluster,
        clock: Clock,
        partitions: PartitionOwner | None = None,
        counted: Callable[[str], None] = lambda _change: None,
        *,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        environment = os.environ if environment is None else environment
        self._lease: LeaseOwner | None = None
        self.owner: Ownership = partitions or SoleOwner()
        real = cluster if isinstance(cluster, KubernetesCluster) else None
        if partitions or settings.kind == "none" or (settings.kind == "auto" and real is None):
            return
        terms = terms_of(settings, environment)
        # What a person starts by hand on his own machine is not made to wait for what he killed.
        alone = {"unless": real.is_local} if real is not None and settings.kind == "auto" else {}
        self.owner = self._lease = LeaseOwner(cluster, clock, terms, counted=counted, **alone)

    def missing(self) -> str:
        """What readiness waits for, "" when nothing. Who is not the owner is ready, too."""
        return self._lease.missing() if self._lease is not None else ""

    @asynccontextmanager
    async def campaigning(self, group: asyncio.TaskGroup) -> AsyncIterator[None]:
        """Stand for election, if there is one, while the context lasts."""
        if self._lease is None:
            yield
            return
        async with self._lease.campaigning(group):
            yield


def terms_of(
    settings: OwnershipSettings,
    environment: Mapping[str, str],
    *,
    service_account: Path = SERVICE_ACCOUNT_NAMESPACE,
) -> Terms:
    """The lease that the settings mean, and the identity of this process."""
    return Terms(
        name=settings.name,
        namespace=settings.namespace or _own_namespace(environment, service_account),
        identity=identity(environment),
        duration_seconds=settings.duration_seconds,
        renew_seconds=settings.renew_seconds,
        retry_seconds=settings.retry_seconds,
    )


def identity(environment: Mapping[str, str]) -> str:
    """A name that no other living process has.

    By the pod's uid a container that was started again takes its own lease back at once: Kubernetes starts
    it only after the one before has ended. Without, it is another one each time, and waits.
    """
    host = environment.get(POD_NAME) or socket.gethostname()
    return f"{host}_{environment.get(POD_UID) or uuid.uuid4()}"


def _own_namespace(environment: Mapping[str, str], service_account: Path) -> str:
    named = environment.get(POD_NAMESPACE, "").strip()
    if not named and service_account.is_file():
        named = service_account.read_text().strip()
    return named or "default"
