"""Two agents and one lease on a real API server: the owner dies, and what the other one does meanwhile."""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import yaml

from agent.api.meta import Object
from agent.clock import SystemClock
from agent.cluster.kubernetes import connect
from agent.cluster.port import KINDS
from agent.engine.lease import LeaseOwner, Terms
from tests.contract.objects import a_name
from tests.e2e.bed.kubernetes_api import Api
from tests.e2e.bed.run import Run
from tests.e2e.loopback import loopback
from tests.e2e.manifests import NAME, indefinite, renamed, short
from tests.e2e.processes import ROOT, Process, free_port, until
from tests.e2e.stage import StandInStage, firing, staged_on

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]
DATA = Path(__file__).parent / "data"
LEASE = KINDS["Lease"]
OWNERSHIP = {"duration_seconds": 6, "renew_seconds": 4, "retry_seconds": 1}


class Replica:
    """One agent of several."""

    def __init__(self, stage: StandInStage, name: str) -> None:
        self.port = free_port()
        config = msgspec.yaml.decode((stage.directory / "serinus.yaml").read_bytes())
        config["sink"] = {"port": self.port}
        config["telegram"]["chat_id"] = ""
        config["ownership"] = {**OWNERSHIP, "namespace": stage.namespace}
        path = stage.directory / f"{name}.yaml"
        path.write_bytes(msgspec.yaml.encode(config))
        self.process = Process(
            name,
            *("-m", "agent", "--config", str(path)),
            directory=stage.directory,
            environment={"POD_NAME": name},
        )

    async def get(self, path: str) -> httpx.Response | None:
        """The answer to a GET, None without one."""
        try:
            async with loopback(timeout=2) as http:
                return await http.get(f"http://127.0.0.1:{self.port}{path}")
        except httpx.HTTPError:
            return None

    async def is_ready(self) -> bool:
        answer = await self.get("/readyz")
        return answer is not None and answer.status_code == 200

    async def is_owner(self) -> bool:
        """By its metric."""
        answer = await self.get("/metrics")
        return (
            answer is not None
            and re.search(r"^serinus_owner 1", answer.text, re.MULTILINE) is not None
        )


@asynccontextmanager
async def two_on(bed: Run, directory: Path) -> AsyncIterator[tuple[StandInStage, Replica, Replica]]:
    """Two that are ready; the first one owns."""
    async with staged_on(bed.part("kubernetes")["kubeconfig"], directory) as stage:
        one, two = Replica(stage, "one"), Replica(stage, "two")
        async with one.process:
            await until(one.is_owner, "the first one owns", context=one.process)
            async with two.process:
                await until(two.is_ready, "the second one is ready", context=two.process)
                assert await one.is_ready()
                stage.agent, stage.port = one.process, one.port
                yield stage, one, two


async def lease(stage: StandInStage) -> dict[str, Any]:
    found = await stage.cluster.get(LEASE, stage.namespace, "serinus")
    spec: dict[str, Any] = found["spec"]
    return spec


def told_once(stage: StandInStage) -> Counter[str]:
    """How often each transition was announced, by id; no id has two contents (I5)."""
    contents: dict[str, bytes] = {}
    for event, body in zip(stage.collector.events, stage.collector.bodies, strict=True):
        assert contents.setdefault(event["id"], body) == body, f"id {event['id']} has two contents"
    return Counter(msgspec.json.decode(body)["type"].split(".")[-2] for body in contents.values())


async def test_when_the_owner_is_killed_the_other_one_ends_the_rollout(
    tmp_path: Path, bed: Run
) -> None:
    async with two_on(bed, tmp_path) as (stage, one, two):
        await stage.apply(*renamed(short(), stage.namespace))
        await stage.until_promoted()
        assert (await lease(stage))["leaseTransitions"] == 0
        await stage.set_image("canary-demo:v2")
        await stage.until_weight(20)
        one.process.kill()
        stage.agent, stage.port = two.process, two.port
        await until(two.is_owner, "the other one owns", context=two.process)
        await stage.until_promoted()
        await stage.until_quiet()
        told = told_once(stage)
        assert (told["started"], told["promoted"], told["completed"]) == (1, 1, 2)
        assert (told["weight"], told["step"]) == (4, 4), "as in a run without a death"
        held = await lease(stage)
        assert held["leaseTransitions"] == 1
        assert held["holderIdentity"].startswith("two_")
        assert await two.process.terminate() == 0
        assert "holderIdentity" not in await lease(stage), "the next one need not wait"


async def test_an_alert_at_the_other_one_takes_the_canary_off(tmp_path: Path, bed: Run) -> None:
    async with two_on(bed, tmp_path) as (stage, one, two):
        await stage.apply(*renamed(indefinite(), stage.namespace))
        await stage.until_promoted()
        await stage.set_image("canary-demo:v2")
        await stage.until_weight(20)
        await stage.until_phase("Paused")
        stage.agent, stage.port = two.process, two.port
        alert = firing(DATA / "alertmanager-firing-0.34.json", rollout=f"{stage.namespace}/{NAME}")
        answer = await stage.alert(alert)
        assert answer.status_code == 202, answer.text
        await stage.until_weight(0)

        async def took_it_off() -> bool:
            return '"rollout.taken_off"' in two.process.output()

        # The route is seen here before the one that wrote it has its answer.
        await until(took_it_off, "the one that was told took it off", context=two.process)
        assert '"rollout.taken_off"' not in one.process.output()
        assert not await two.is_owner()
        await stage.until_phase("Degraded")
        await stage.until_announced("aborted", "rolledback")
        await stage.until_quiet()
        told = told_once(stage)
        assert (told["aborted"], told["rolledback"]) == (1, 1)
        assert await one.process.terminate() == 0
        await until(two.is_owner, "what was given back is taken", context=two.process)
        assert (await stage.status())["abort"] is True


async def test_the_role_that_is_documented_is_enough_and_without_it_the_reason_is_said(
    tmp_path: Path, bed: Run
) -> None:
    where = bed.part("kubernetes")
    async with staged_on(where["kubeconfig"], tmp_path) as stage:
        api, token = a_service_account(where, stage.namespace)
        own = with_token(where["kubeconfig"], token, tmp_path)
        cluster = await connect(SystemClock(), kubeconfig=own)
        terms = Terms(
            name="serinus", namespace=stage.namespace, identity=a_name(), retry_seconds=0.2
        )
        owner = LeaseOwner(cluster, SystemClock(), terms)
        with closing(api):
            async with asyncio.TaskGroup() as group, owner.campaigning(group):

                async def is_refused() -> bool:
                    return "deploy/rbac/lease.yaml" in owner.missing()

                async def owns() -> bool:
                    return owner.holds()

                await until(is_refused, "the role is asked for")
                for obj in role(stage.namespace):
                    api.apply(obj)
                await until(owns, "it owns")
        assert "holderIdentity" not in await lease(stage)
        await cluster.aclose()


def a_service_account(where: dict[str, str], namespace: str) -> tuple[Api, str]:
    """The API as an administrator, and the token of a service account named serinus."""
    admin = yaml.safe_load(Path(where["kubeconfig"]).read_text())
    ca = Path(admin["clusters"][0]["cluster"]["certificate-authority"])
    api = Api(where["server"], admin["users"][0]["user"]["token"], ca)
    account = {"apiVersion": "v1", "kind": "ServiceAccount"}
    api.apply({**account, "metadata": {"name": "serinus", "namespace": namespace}})
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/serinus/token"
    return api, api.post(path, {"spec": {}})["status"]["token"]


def with_token(kubeconfig: str, token: str, directory: Path) -> Path:
    """A kubeconfig like another one, of another user."""
    config = yaml.safe_load(Path(kubeconfig).read_text())
    config["users"][0]["user"]["token"] = token
    path = directory / "own.kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return path


def role(namespace: str) -> list[Object]:
    """The documented role, in this namespace."""
    objects = list(yaml.safe_load_all((ROOT / "deploy/rbac/lease.yaml").read_text()))
    text = yaml.safe_dump_all(objects).replace("namespace: serinus", f"namespace: {namespace}")
    return list(yaml.safe_load_all(text))
