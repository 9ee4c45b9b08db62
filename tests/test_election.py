"""Which owner the settings mean, under which name, and where."""

import asyncio
from pathlib import Path

import pytest

from agent.api.meta import Key
from agent.bus.ownership import PartitionOwner
from agent.clock import SystemClock
from agent.cluster.kubernetes import KubernetesCluster, connect
from agent.cluster.local.kubeconfig import write_kubeconfig
from agent.cluster.local.rest import Facade
from agent.cluster.local.store import LocalCluster
from agent.cluster.port import KINDS, Cluster
from agent.election import Election, identity, terms_of
from agent.engine.lease import LeaseOwner
from agent.engine.ownership import SoleOwner
from agent.errors import NotFound
from agent.http_server import serving
from agent.settings import OwnershipSettings, Settings, load

WEB = Key("shop", "web")
NOWHERE = Path("/nonexistent")


async def by_kubeconfig(path: Path, server: str = "http://127.0.0.1:1") -> KubernetesCluster:
    write_kubeconfig(path / "k", server=server, token="t")
    return await connect(SystemClock(), kubeconfig=path / "k")


def owner(cluster: Cluster, partitions: PartitionOwner | None = None, **settings: str) -> object:
    found = OwnershipSettings(**settings)  # type: ignore[arg-type]  # kinds are checked where they are read
    return Election(found, cluster, SystemClock(), partitions, environment={}).owner


async def test_who_drives_by_kind(tmp_path: Path) -> None:
    real, local, kafka = (
        await by_kubeconfig(tmp_path),
        LocalCluster(SystemClock()),
        PartitionOwner(),
    )
    try:
        assert isinstance(owner(real), LeaseOwner)
        assert isinstance(owner(real, kind="lease"), LeaseOwner)
        assert isinstance(owner(real, kind="none"), SoleOwner)
        assert owner(real, kafka) is kafka
        assert isinstance(owner(local), SoleOwner), "it lives in this very process"
        assert isinstance(owner(local, kind="lease"), LeaseOwner)
    finally:
        await real.aclose()


@pytest.mark.parametrize("kind", ["auto", "lease"])
async def test_on_the_local_cluster_only_who_asks_for_it_is_elected(
    tmp_path: Path, kind: str
) -> None:
    store = LocalCluster(SystemClock())
    facade = Facade(store, token="t")
    async with serving(facade.app, host="127.0.0.1", port=0) as port:
        cluster = await by_kubeconfig(tmp_path, f"http://127.0.0.1:{port}")
        assert await cluster.is_local()
        settings = load(None, {"SERINUS_OWNERSHIP__KIND": kind}).ownership
        election = Election(settings, cluster, SystemClock(), environment={})
        assert election.missing() == "lease default/serinus: was not looked at yet"
        acquired = asyncio.Event()
        election.owner.on_change(acquired.set)
        async with asyncio.TaskGroup() as group, election.campaigning(group):
            async with asyncio.timeout(20):
                await acquired.wait()
            assert election.owner.owns(WEB)
            assert (store.peek("Lease", "default", "serinus") is not None) == (kind == "lease")
        if kind == "lease":
            spec = (await cluster.get(KINDS["Lease"], "default", "serinus"))["spec"]
            assert "holderIdentity" not in spec
            assert not election.owner.owns(WEB)
        else:
            with pytest.raises(NotFound):
                await cluster.get(KINDS["Lease"], "default", "serinus")
        facade.close()
        await cluster.aclose()


async def test_without_a_lease_nothing_is_waited_for() -> None:
    election = Election(OwnershipSettings(), LocalCluster(SystemClock()), SystemClock())
    async with asyncio.TaskGroup() as group, election.campaigning(group):
        assert election.missing() == ""
        assert election.owner.holds()


@pytest.mark.parametrize(
    ("setting", "environment", "account", "namespace"),
    [
        ("ops", {"POD_NAMESPACE": "pod"}, "sa", "ops"),
        ("", {"POD_NAMESPACE": "pod"}, "sa", "pod"),
        ("", {}, "sa\n", "sa"),
        ("", {}, None, "default"),
    ],
    ids=["the setting", "the pod's", "the service account's", "default"],
)
def test_the_namespace_of_the_lease_is(
    setting: str, environment: dict[str, str], account: str | None, namespace: str, tmp_path: Path
) -> None:
    if account is not None:
        (tmp_path / "namespace").write_text(account)
    settings = OwnershipSettings(namespace=setting)
    terms = terms_of(settings, environment, service_account=tmp_path / "namespace")
    assert str(terms) == f"{namespace}/serinus"


def test_the_terms_are_those_of_the_settings() -> None:
    settings = OwnershipSettings(name="a", duration_seconds=30, renew_seconds=20, retry_seconds=4)
    terms = terms_of(settings, {}, service_account=NOWHERE)
    assert (terms.name, terms.duration_seconds, terms.renew_seconds, terms.retry_seconds) == (
        "a",
        30,
        20,
        4,
    )
    assert Settings().ownership == OwnershipSettings()


def test_no_two_living_processes_have_one_identity_and_a_container_keeps_its_pod_s() -> None:
    assert identity({}) != identity({})
    assert identity({"POD_NAME": "serinus-0"}) != identity({"POD_NAME": "serinus-0"})
    pod = {"POD_NAME": "serinus-0", "POD_UID": "7f3a"}
    assert identity(pod) == identity(pod) == "serinus-0_7f3a"
    again = {"POD_NAME": "serinus-0", "POD_UID": "91bc"}
    assert identity(again) != identity(pod), "a StatefulSet gives the name again, not the uid"
