"""The adapter and the cache against an API server that dies, and as the service account of a pod."""

import asyncio
import os
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import structlog

from agent.api.meta import Object, Ref
from agent.clock import SystemClock
from agent.cluster.cache import Cache
from agent.cluster.kubernetes import connect
from agent.cluster.port import KINDS, Cluster, Kind, Listing, WatchEvent
from agent.errors import Forbidden, SerinusError
from tests.contract.objects import CONFIG_MAP, a_config_map
from tests.e2e.bed.kubernetes import Kubernetes
from tests.e2e.bed.run import Run
from tests.e2e.processes import until
from tests.e2e.real import connected, fresh_namespace
from tests.e2e.test_lease import a_service_account

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(150)]

IN_CLUSTER = "kubernetes_asyncio.config.incluster_config"
SECRET = KINDS["Secret"]
SERVICE = KINDS["Service"]


class Counting:
    """Lists and watches of a cluster, counted."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.asked: Counter[str] = Counter()

    async def list(self, kind: Kind, namespace: str | None = None, **options: Any) -> Listing:
        self.asked["list"] += 1
        return await self._cluster.list(kind, namespace, **options)

    async def watch(
        self, kind: Kind, namespace: str | None = None, **options: Any
    ) -> AsyncIterator[WatchEvent]:
        self.asked["watch"] += 1
        async for event in self._cluster.watch(kind, namespace, **options):
            yield event


@pytest.fixture
def kubernetes() -> Iterator[Kubernetes]:
    """A control plane of this test's own: it is going to be killed."""
    with (
        tempfile.TemporaryDirectory(prefix="serinus-api-") as directory,
        Kubernetes(Path(directory), controllers=False) as started,
    ):
        yield started


async def test_watches_go_on_after_a_kill_of_the_api_server_and_no_change_is_lost(
    kubernetes: Kubernetes,
) -> None:
    async with connected(kubernetes.kubeconfig) as cluster:
        await cluster.create(KINDS["Namespace"], {"metadata": {"name": "shop"}})
        counting = Counting(cluster)
        kinds = ("ConfigMap", "Secret", "Service")
        cache = Cache(counting, kinds, SystemClock(), namespaces=["shop"])  # type: ignore[arg-type]  # lists and watches are all it asks for
        seen: dict[Ref, list[int]] = {}

        def changed(ref: Ref, _old: Object | None, new: Object | None) -> None:
            if new is not None:
                seen.setdefault(ref, []).append(int(new["metadata"]["resourceVersion"]))

        cache.on_change(changed)
        following = asyncio.create_task(cache.run())
        await cache.synced.wait()
        calm = counting.asked.total()
        written: Counter[str] = Counter()

        async def write_on(name: str) -> None:
            """As a user who tries again: until cancelled."""
            await cluster.create(CONFIG_MAP, a_config_map("shop", name))
            while True:
                written[name] += 1
                with suppress(SerinusError):
                    patch = {"data": {"a": str(written[name])}}
                    await cluster.merge_patch(CONFIG_MAP, "shop", name, patch)
                await asyncio.sleep(0.02)

        writers = [asyncio.create_task(write_on(f"c-{number}")) for number in range(4)]

        async def is_seen(times: int) -> bool:
            return all(
                len(seen.get(Ref("ConfigMap", "shop", f"c-{n}"), ())) > times for n in range(4)
            )

        with structlog.testing.capture_logs() as logs:
            for _ in range(2):
                await until(lambda: is_seen(5), "changes arrive")
                await asyncio.to_thread(kubernetes.kill_api_server)
                seen.clear()
                await asyncio.to_thread(kubernetes.start_api_server)
                await until(lambda: is_seen(5), "changes arrive again", deadline_seconds=60)
        for writer in writers:
            writer.cancel()
        await asyncio.gather(*writers, return_exceptions=True)

        async def is_equal() -> bool:
            listing = await cluster.list(CONFIG_MAP, "shop")
            live = {obj["metadata"]["name"]: obj["data"] for obj in listing.items}
            return live == {o["metadata"]["name"]: o["data"] for o in cache.list("ConfigMap")}

        await until(is_equal, "the cache shows what there is")
        assert not following.done()
        for versions in seen.values():
            assert versions == sorted(versions), "an object never goes backwards"
        # Three kinds, two deaths of some seconds each, pauses that double from 0.1 s: some tens of tries.
        assert counting.asked.total() - calm < 150, counting.asked
        assert any(entry["event"] in ("cache.retry", "cache.relist") for entry in logs)
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def test_a_pod_is_its_service_account_and_its_token_may_change(
    bed: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TLS by the mounted authority; a token that expired is read again after the first 401."""
    where = bed.part("kubernetes")
    async with connected(where["kubeconfig"]) as admin, fresh_namespace(admin) as namespace:
        api, token = a_service_account(where, namespace)
        api.close()
        files = {"SERVICE_TOKEN_FILENAME": "token", "SERVICE_CERT_FILENAME": "ca.crt"}
        for constant, name in files.items():
            monkeypatch.setattr(f"{IN_CLUSTER}.{constant}", str(tmp_path / name))
        authority = await admin.get(CONFIG_MAP, namespace, "kube-root-ca.crt")
        (tmp_path / "ca.crt").write_text(authority["data"]["ca.crt"])
        (tmp_path / "token").write_text("expired")
        host, _, port = where["server"].removeprefix("https://").partition(":")
        monkeypatch.setitem(os.environ, "KUBERNETES_SERVICE_HOST", host)
        monkeypatch.setitem(os.environ, "KUBERNETES_SERVICE_PORT", port)
        cluster = await connect(SystemClock())
        try:
            (tmp_path / "token").write_text(token)
            # Known, but without a role: it was the account, and not nobody, that asked.
            with pytest.raises(Forbidden, match=f"system:serviceaccount:{namespace}:serinus"):
                await cluster.list(CONFIG_MAP, namespace)
        finally:
            await cluster.aclose()
