"""A real Kubernetes control plane: etcd, API server, controllers, scheduler and fake nodes (KWOK).

One file that is built from `kubernetes/go.mod`; which part it is, its link's name says. No containers run:
a pod's life follows `kubernetes/stages.yaml`.
"""

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Self

import yaml

from tests.e2e.bed.cache import Artefact
from tests.e2e.bed.certificates import self_signed, signing_key
from tests.e2e.bed.crds import install
from tests.e2e.bed.errors import BedError
from tests.e2e.bed.kubernetes_api import Api
from tests.e2e.bed.servers import Server
from tests.e2e.bed.tools import include, program, run
from tests.e2e.processes import free_port

VERSION: Final = "v1.36.3"
SOURCES: Final = Path(__file__).with_name("kubernetes")
STAGES: Final = SOURCES / "stages.yaml"
PARTS: Final = (
    "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl", "kwok",
)  # fmt: skip
USERS: Final = ("admin", "system:kube-controller-manager", "system:kube-scheduler", "kwok")
CONTROLLERS: Final = (
    "deployment-controller", "replicaset-controller", "statefulset-controller", "daemonset-controller",
    "garbage-collector-controller", "namespace-controller", "job-controller", "cronjob-controller",
    "endpoints-controller", "endpointslice-controller", "ttl-after-finished-controller",
    "pod-garbage-collector-controller", "disruption-controller", "serviceaccount-controller",
    "serviceaccount-token-controller", "root-ca-certificate-publisher-controller",
)  # fmt: skip
NODE: Final = "bed-node"
BUILD_SECONDS: Final = 3000.0
START_SECONDS: Final = 60.0


def binary() -> Artefact:
    """The control plane in one file, and its links."""
    files = [SOURCES / "go.mod", SOURCES / "go.sum", SOURCES / "cmd" / "kubebed" / "main.go"]
    major, minor, _ = VERSION.removeprefix("v").split(".")
    # Without these the API server calls itself v0.0.0.
    version = "k8s.io/component-base/version.git"
    flags = (
        f"-s -w -X {version}Version={VERSION} -X {version}Major={major} -X {version}Minor={minor}"
    )

    def compile_it(directory: Path) -> None:
        run(
            [program("go"), "build", "-mod=readonly", "-buildvcs=false", "-trimpath", "-ldflags", flags,
             "-o", directory / "kubebed", "./cmd/kubebed"],
            BUILD_SECONDS,
            directory=SOURCES,
            CGO_ENABLED="0",
        )  # fmt: skip
        for part in PARTS:
            (directory / part).symlink_to("kubebed")

    return Artefact(
        "kubernetes", [*(file.read_bytes() for file in files), flags.encode()], compile_it
    )


class Kubernetes:
    """One control plane. State, keys, ports and tokens survive `kill_api_server` and `stop`.

    Args:
        controllers: also controllers, scheduler and a fake node; without them nothing becomes of a
            ReplicaSet, and what was owned stays.
        definitions: CustomResourceDefinitions, installed before the controllers start: the garbage
            collector looks for new kinds only twice a minute.

    Attributes:
        kubeconfig: of a cluster administrator.
    """

    def __init__(
        self,
        directory: Path,
        *,
        controllers: bool = True,
        definitions: Sequence[dict[str, Any]] = (),
    ) -> None:
        include("kubernetes")
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.kubeconfig = directory / "admin.kubeconfig"
        self._controllers = controllers
        self._definitions = definitions
        self._ca = directory / "api.crt"
        self._port, self._etcd_port, self._peer_port = free_port(), free_port(), free_port()
        token = self._secrets()
        self.api = Api(self.address, token, self._ca)
        self._etcd = self._server("etcd", self._etcd_flags())
        self._api_server = self._server("kube-apiserver", self._api_server_flags())
        self._others = self._around() if controllers else []

    @property
    def address(self) -> str:
        """URL of the API server."""
        return f"https://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start everything (again) and wait until a Deployment gets a ready pod."""
        self._etcd.start()
        self.start_api_server()
        install(self.api, self._definitions)
        if not self._controllers:
            return
        for server in self._others:
            server.start()
        self.api.apply(_node())
        # A pod is refused until its namespace has this.
        self._until(
            lambda: self.api.found("/api/v1/namespaces/default/serviceaccounts/default"),
            "making service accounts",
        )
        self._probe()

    def stop(self) -> None:
        """Orderly, last started first."""
        for server in [*reversed(self._others), self._api_server, self._etcd]:
            server.stop()

    def kill(self) -> None:
        """kill -9 of everything."""
        for server in [*reversed(self._others), self._api_server, self._etcd]:
            server.kill()

    def kill_api_server(self) -> None:
        """kill -9; etcd goes on."""
        self._api_server.kill()

    def start_api_server(self) -> None:
        """Start it (again) and wait until it says that it is ready."""
        self._api_server.start()
        self._api_server.until(self.api.ready, "ready", START_SECONDS)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        # Nobody reads this state again, so nothing needs to be saved.
        self.kill()
        self.api.close()

    def _probe(self) -> None:
        """A look at the state would lie after a restart: the node is Ready since last time."""
        name = f"bed-probe-{secrets.token_hex(4)}"
        path = f"/apis/apps/v1/namespaces/default/deployments/{name}"
        self.api.apply(_deployment(name))
        self._until(
            lambda: self.api.get(path).get("status", {}).get("readyReplicas") == 1,
            "running the pod of a Deployment",
        )
        self.api.delete(path)

    def _until(self, ready: Any, what: str) -> None:
        controllers = self._others[0]
        try:
            controllers.until(ready, what, START_SECONDS)
        except BedError as error:
            tails = [f"--- {server.name}\n{server.tail(10)}" for server in self._others[1:]]
            raise BedError("\n".join([str(error), *tails])) from error

    def _server(self, name: str, flags: Sequence[str]) -> Server:
        # kwok makes a directory in its home.
        environment = {"HOME": str(self.directory)}
        return Server(
            name,
            [binary().get() / name, *flags],
            directory=self.directory,
            environment=environment,
        )

    def _around(self) -> list[Server]:
        """Controllers, scheduler, nodes."""
        quick = ("--kube-api-qps", "300", "--kube-api-burst", "600")
        own = ("--leader-elect=false", "--bind-address", "127.0.0.1", "--secure-port", "0", *quick)
        return [
            self._server("kube-controller-manager", [
                *self._as("system:kube-controller-manager"), *own,
                "--service-account-private-key-file", "sa.key", "--root-ca-file", str(self._ca),
                # Without it they run as a user that may do almost nothing, and say nothing of it.
                "--use-service-account-credentials=true",
                "--profiling=false", "--controllers", ",".join(CONTROLLERS),
            ]),
            self._server("kube-scheduler", [*self._as("system:kube-scheduler"), *own]),
            self._server("kwok", [
                *self._as("kwok"), "--manage-all-nodes=true", "--node-ip", "127.0.0.1",
                "--cidr", "10.200.0.0/16", "--config", str(STAGES),
                # With leases a restart waits until those of before have ended.
                "--node-lease-duration-seconds", "0",
            ]),
        ]  # fmt: skip

    def _as(self, user: str) -> tuple[str, str]:
        return "--kubeconfig", str(self.directory / f"{user.removeprefix('system:')}.kubeconfig")

    def _etcd_flags(self) -> Sequence[str]:
        client, peer = (f"http://127.0.0.1:{port}" for port in (self._etcd_port, self._peer_port))
        return (
            "--data-dir", "etcd", "--name", "bed",
            "--listen-client-urls", client, "--advertise-client-urls", client,
            "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
            "--initial-cluster", f"bed={peer}", "--unsafe-no-fsync", "--log-level", "warn",
        )  # fmt: skip

    def _api_server_flags(self) -> Sequence[str]:
        return (
            "--etcd-servers", f"http://127.0.0.1:{self._etcd_port}",
            "--bind-address", "127.0.0.1", "--advertise-address", "127.0.0.1",
            "--secure-port", str(self._port), "--endpoint-reconciler-type", "none",
            "--tls-cert-file", str(self._ca), "--tls-private-key-file", "api.key",
            "--token-auth-file", "tokens.csv", "--authorization-mode", "RBAC",
            "--service-account-issuer", "https://kubernetes.default.svc",
            "--service-account-key-file", "sa.pub", "--service-account-signing-key-file", "sa.key",
            "--service-cluster-ip-range", "10.96.0.0/16",
            # It taints each new node, and the controller that would take that away does not run here.
            "--disable-admission-plugins", "TaintNodesByCondition",
            "--allow-privileged", "--profiling=false", "--cert-dir", "certificates",
        )  # fmt: skip

    def _secrets(self) -> str:
        """Make keys, tokens and kubeconfigs; the token of the administrator."""
        self_signed(self._ca)
        signing_key(self.directory / "sa.key", self.directory / "sa.pub")
        tokens = {user: secrets.token_urlsafe(24) for user in USERS}
        lines = []
        for user, token in tokens.items():
            groups = ',"system:masters"' if user in ("admin", "kwok") else ""
            lines.append(f"{token},{user},{user}{groups}\n")
            Path(self._as(user)[1]).write_text(yaml.safe_dump(self._config(user, token)))
        (self.directory / "tokens.csv").write_text("".join(lines))
        return tokens["admin"]

    def _config(self, user: str, token: str) -> dict[str, Any]:
        cluster = {"server": self.address, "certificate-authority": str(self._ca)}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "bed",
            "clusters": [{"name": "bed", "cluster": cluster}],
            "users": [{"name": user, "user": {"token": token}}],
            "contexts": [
                {"name": "bed", "context": {"cluster": "bed", "user": user, "namespace": "default"}}
            ],
        }


def _node() -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}}


def _deployment(name: str) -> dict[str, Any]:
    labels = {"app": name}
    container = {"name": "main", "image": "probe"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }
