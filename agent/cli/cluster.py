"""`serinus cluster`: a Kubernetes API on this machine, and simple ways to use it."""

import asyncio
import secrets
import signal
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer
import yaml

from agent.api.meta import Object
from agent.clock import SystemClock
from agent.cluster.kubernetes import KubernetesCluster, connect
from agent.cluster.local.kubeconfig import write_kubeconfig
from agent.cluster.local.rest import Facade
from agent.cluster.local.snapshot import Snapshot
from agent.cluster.local.store import LocalCluster
from agent.cluster.local.workloads import Workloads
from agent.cluster.port import KINDS, Kind
from agent.errors import AlreadyExists, SerinusError
from agent.http_server import serving

app = typer.Typer(
    help="A local cluster (API server and simulated pods in one process), and how to talk to it.",
    no_args_is_help=True,
)
DEFAULT_KUBECONFIG: Final = Path("serinus-local.kubeconfig")
Kubeconfig = Annotated[Path, typer.Option(help="kubeconfig of the cluster")]


@app.command()
def up(
    port: Annotated[
        int, typer.Option(help="port on 127.0.0.1; 0: a free one", min=0, max=65535)
    ] = 0,
    data: Annotated[
        Path | None, typer.Option(help="keep the objects in this directory; without it in memory")
    ] = None,
    kubeconfig: Annotated[
        Path, typer.Option(help="where to write the kubeconfig")
    ] = DEFAULT_KUBECONFIG,
    ready_seconds: Annotated[
        float, typer.Option(help="from a pod's creation to Ready", min=0)
    ] = 1.0,
    never_ready: Annotated[
        list[str] | None,
        typer.Option(help="pattern of images whose pods never become ready; may be repeated"),
    ] = None,
) -> None:
    """Run a local cluster until SIGTERM or Ctrl-C.

    Examples:

      serinus cluster up --kubeconfig local.kubeconfig

      serinus cluster up --data .cluster --ready-seconds 5 --never-ready '*:broken'

      serinus cluster apply -f manifests.yaml && serinus run --kubeconfig serinus-local.kubeconfig
    """
    _exit(asyncio.run(_guarded(_up(port, data, kubeconfig, ready_seconds, never_ready or []))))


@app.command()
def apply(
    file: Annotated[
        list[Path], typer.Option("--file", "-f", help="YAML or JSON, several documents are fine")
    ],
    kubeconfig: Kubeconfig = DEFAULT_KUBECONFIG,
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", help="for objects that name none")
    ] = "default",
) -> None:
    """Create objects, or merge them into those that exist.

    Example:

      serinus cluster apply -f rollout.yaml -f virtual-service.yaml
    """

    async def work(cluster: KubernetesCluster) -> int:
        for obj in _documents(file):
            kind = _kind_of(obj)
            meta = obj.setdefault("metadata", {})
            if kind.namespaced:
                meta.setdefault("namespace", namespace)
            try:
                await cluster.create(kind, obj)
                done = "created"
            except AlreadyExists:
                await cluster.merge_patch(kind, meta.get("namespace", ""), meta["name"], obj)
                done = "configured"
            typer.echo(f"{kind.kind.lower()}/{meta['name']} {done}")
        return 0

    _exit(asyncio.run(_guarded(_with_cluster(kubeconfig, work))))


@app.command()
def get(
    kind: Annotated[str, typer.Argument(help="kind or plural, such as rollout or virtualservices")],
    name: Annotated[str, typer.Argument(help="one object; all without it")] = "",
    namespace: Annotated[str, typer.Option("--namespace", "-n")] = "default",
    output: Annotated[str, typer.Option("--output", "-o", help="table, yaml or json")] = "table",
    kubeconfig: Kubeconfig = DEFAULT_KUBECONFIG,
) -> None:
    """Show objects.

    Examples:

      serinus cluster get rollouts

      serinus cluster get virtualservice demo -o yaml
    """

    async def work(cluster: KubernetesCluster) -> int:
        found = _find_kind(kind)
        items = (
            (await cluster.get(found, namespace, name),)
            if name
            else (await cluster.list(found, namespace)).items
        )
        typer.echo(_shown(items, output, single=bool(name)))
        return 0

    _exit(asyncio.run(_guarded(_with_cluster(kubeconfig, work))))


async def _up(
    port: int, data: Path | None, kubeconfig: Path, ready_seconds: float, never_ready: list[str]
) -> int:
    clock, stop = SystemClock(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    store = LocalCluster(clock, snapshot=Snapshot(data) if data else None)
    workloads = Workloads(store, clock, ready_seconds=ready_seconds, never_ready=never_ready)
    token = secrets.token_urlsafe(24)
    facade = Facade(store, token=token)
    async with (
        asyncio.TaskGroup() as group,
        serving(facade.app, host="127.0.0.1", port=port) as bound,
    ):
        pods = group.create_task(workloads.run(), name="workloads")
        server = f"http://127.0.0.1:{bound}"
        write_kubeconfig(kubeconfig, server=server, token=token)
        typer.echo(f"cluster ready at {server}\nkubeconfig: {kubeconfig}")
        await stop.wait()
        facade.close()
        pods.cancel()
    await store.aclose()
    return 0


async def _with_cluster(
    kubeconfig: Path, work: Callable[[KubernetesCluster], Awaitable[int]]
) -> int:
    cluster = await connect(SystemClock(), kubeconfig=kubeconfig)
    try:
        return await work(cluster)
    finally:
        await cluster.aclose()


async def _guarded(work: Awaitable[int]) -> int:
    """Exit code 1, with the reason, for what can be explained."""
    try:
        return await work
    except (SerinusError, OSError, yaml.YAMLError) as error:
        typer.echo(f"error: {error}", err=True)
        return 1


def _exit(code: int) -> None:
    raise typer.Exit(code)


def _documents(files: list[Path]) -> Iterator[Object]:
    for path in files:
        for document in yaml.safe_load_all(path.read_text()):
            if document:
                yield document


def _kind_of(obj: Object) -> Kind:
    return _find_kind(str(obj.get("kind", "")))


def _find_kind(name: str) -> Kind:
    wanted = name.lower()
    for kind in KINDS.values():
        if wanted in (kind.kind.lower(), kind.plural):
            return kind
    known = ", ".join(sorted(KINDS))
    raise typer.BadParameter(f"{name!r} is not served; known are {known}")


def _shown(items: tuple[Object, ...], output: str, *, single: bool) -> str:
    value: Any = items[0] if single else list(items)
    if output == "json":
        return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    if output == "yaml":
        return yaml.safe_dump(value, sort_keys=False).rstrip()
    if output != "table":
        raise typer.BadParameter("must be table, yaml or json", param_hint="--output")
    rows = [("NAMESPACE", "NAME", "STATUS")]
    for item in items:
        status = item.get("status") or {}
        text = str(status.get("phase") or "")
        if status.get("message"):
            text += f": {status['message']}"
        rows.append((item["metadata"].get("namespace", ""), item["metadata"]["name"], text))
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    return "\n".join(
        f"{row[0]:{widths[0]}}  {row[1]:{widths[1]}}  {row[2]}".rstrip() for row in rows
    )
