"""The roles that are shipped, given to a service account on the real API server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

from agent.api.meta import Object
from tests.contract.objects import a_name
from tests.e2e.bed.kubernetes_api import Api
from tests.e2e.bed.run import Run
from tests.e2e.processes import ROOT
from tests.e2e.stage import Stage


class Role(NamedTuple):
    """Manifests below deploy/ and the account that they are for."""

    account: str
    files: tuple[str, ...]


COMPANION: Final = Role("serinus-companion", ("companion/rbac.yaml",))
DRIVING: Final = Role("serinus", ("rbac/driving.yaml", "rbac/lease.yaml", "rbac/two-engines.yaml"))


def shipped(role: Role, namespace: str, suffix: str) -> list[Object]:
    """The manifests for this namespace, their cluster-wide parts under names of their own."""
    text = "\n---\n".join((ROOT / "deploy" / file).read_text() for file in role.files)
    objects = list(
        yaml.safe_load_all(text.replace("namespace: serinus", f"namespace: {namespace}"))
    )
    for obj in objects:
        if obj["kind"].startswith("Cluster"):
            obj["metadata"]["name"] += suffix
        if obj["kind"] == "ClusterRoleBinding":
            obj["roleRef"]["name"] += suffix
    return objects


@asynccontextmanager
async def with_role(bed: Run, stage: Stage, role: Role) -> AsyncIterator[Path]:
    """A kubeconfig of the shipped service account, which has this role and no other."""
    where = bed.part("kubernetes")
    config = _read(where["kubeconfig"])
    user = config["users"][0]["user"]
    ca = Path(config["clusters"][0]["cluster"]["certificate-authority"])
    objects = shipped(role, stage.namespace, f"-{a_name()}")
    with closing(Api(where["server"], user["token"], ca)) as api:
        for obj in objects:
            api.apply(obj)
        accounts = f"/api/v1/namespaces/{stage.namespace}/serviceaccounts"
        user["token"] = api.post(f"{accounts}/{role.account}/token", {"spec": {}})["status"]["token"]  # fmt: skip
        path = stage.directory / f"{role.account}.kubeconfig"
        path.write_text(yaml.safe_dump(config))
        try:
            yield path
        finally:
            for obj in objects:
                if obj["kind"].startswith("Cluster"):
                    plural = f"{obj['kind'].lower()}s"
                    api.delete(
                        f"/apis/rbac.authorization.k8s.io/v1/{plural}/{obj['metadata']['name']}"
                    )


def _read(kubeconfig: str) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load(Path(kubeconfig).read_text())
    return config
