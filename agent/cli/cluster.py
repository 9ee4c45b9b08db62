"""`serinus cluster`: a Kubernetes API in one process, and the two things one does with any cluster."""

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
import typer
import yaml

from agent.cli.sources import LOCAL_KUBECONFIG, Connected, text_of
from agent.clock import SystemClock
from agent.errors import SerinusError

app = typer.Typer(
    help="A local cluster without Kubernetes, and apply and get for any cluster.",
    no_args_is_help=True,
)

T = TypeVar("T")

Kubeconfig = Annotated[
    Path | None,
    typer.Option(help="cluster to talk to; default: $KUBECONFIG, else ./local.kubeconfig"),
]
Namespace = Annotated[str, typer.Option("--namespace", "-n", help="namespace")]


@app.command()
def up(
    port: Annotated[int, typer.Option(help="port on loopback; 0: a free one", min=0)] = 0,
    data: Annotated[
        Path | None, typer.Option(help="directory that keeps the objects across restarts")
    ] = None,
    kubeconfig: Annotated[
        Path, typer.Option(help="file to write for kubectl and serinus (mode 0600)")
    ] = LOCAL_KUBECONFIG,
    ready_seconds: Annotated[
        float, typer.Option(help="from a pod's creation until it is ready", min=0)
    ] = 1.0,
    termination_seconds: Annotated[
        float, typer.Option(help="from a pod's deletion until it is gone", min=0)
    ] = 0.0,
    never_ready: Annotated[
        list[str] | None,
        typer.Option(help="pattern of images whose pods never become ready; may be repeated"),
    ] = None,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error")] = "info",
) -> None:
    """Run a cluster in this process until SIGTERM or Ctrl-C: API server, ReplicaSets, simulated pods.

    Examples:

      serinus cluster up

      serinus cluster up --port 16443 --data /tmp/shop --never-ready 'shop:broken*'

      kubectl --kubeconfig local.kubeconfig get rollouts -A
    """
    from agent.cluster.local.server import Options
    from agent.telemetry.logs import configure

    configure(level=log_level, format="console")
    options = Options(
        port=port,
        data=data,
        kubeconfig=kubeconfig,
        ready_seconds=ready_seconds,
        never_ready=tuple(never_ready or ()),
        termination_seconds=termination_seconds,
    )
    _run(lambda: _serve(options, kubeconfig))


@app.command()
def apply(
    files: Annotated[
        list[str], typer.Option("--filename", "-f", help="YAML file, - for stdin; may be repeated")
    ],
    kubeconfig: Kubeconfig = None,
    namespace: Namespace = "default",
) -> None:
    """Create the objects of manifests, or merge them into those that are there.

    Examples:

      serinus cluster apply -f rollout.yaml -f service.yaml

      cat *.yaml | serinus cluster apply -n shop -f -
    """
    from agent.cluster.manifests import apply as apply_one
    from agent.cluster.manifests import parse

    async def work() -> None:
        manifests = [
            manifest
            for file in files
            for manifest in parse(text_of(file), source=file, namespace=namespace)
        ]
        async with Connected(kubeconfig) as cluster:
            for manifest in manifests:
                typer.echo(f"{manifest} {await apply_one(cluster, manifest)}")

    _run(work)


@app.command()
def get(
    kind: Annotated[str, typer.Argument(help="kind, plural or short name: Rollout, rollouts, ro")],
    name: Annotated[str, typer.Argument(help="one object; all without it")] = "",
    kubeconfig: Kubeconfig = None,
    namespace: Namespace = "default",
    all_namespaces: Annotated[
        bool, typer.Option("--all-namespaces", "-A", help="of all namespaces")
    ] = False,
    selector: Annotated[str, typer.Option("--selector", "-l", help="label selector")] = "",
    output: Annotated[
        Literal["table", "yaml", "json"], typer.Option("--output", "-o", help="format")
    ] = "table",
) -> None:
    """Show objects.

    Examples:

      serinus cluster get rollouts -A

      serinus cluster get vs shop -o yaml

      serinus cluster get pods -l app=shop
    """
    from agent.cli.cluster_table import table
    from agent.cluster.kinds import kind_named

    async def work() -> None:
        wanted = kind_named(kind)
        async with Connected(kubeconfig) as cluster:
            if name:
                found = [await cluster.get(wanted, namespace, name)]
            else:
                scope = None if all_namespaces else namespace
                found = list((await cluster.list(wanted, scope, labels=selector)).items)
        if output == "table":
            text = table(found, now=SystemClock().now(), namespaces=all_namespaces)
            typer.echo(text or f"no {wanted.plural} found", err=not text)
            return
        body = found[0] if name else {"apiVersion": "v1", "kind": "List", "items": found}
        if output == "json":
            typer.echo(msgspec.json.format(msgspec.json.encode(body), indent=2).decode())
        else:
            typer.echo(yaml.safe_dump(body, sort_keys=False, allow_unicode=True), nl=False)

    _run(work)


async def _serve(options: Any, kubeconfig: Path) -> None:
    from agent.cluster.local.server import local_cluster_running

    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked.set)
    async with local_cluster_running(options, SystemClock()) as running:
        typer.echo(f"cluster at {running.server}")
        typer.echo(f"kubeconfig {kubeconfig}")
        sys.stdout.flush()
        stop = asyncio.create_task(asked.wait(), name="signal")
        await asyncio.wait({stop, running.stopped}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        await asyncio.gather(stop, return_exceptions=True)
        if running.stopped.done():
            running.stopped.result()
    typer.echo("stopped")


def _run(work: Callable[[], Awaitable[T]]) -> T:
    """Run to the end; an expected failure is one line and exit code 1."""

    async def body() -> T:
        return await work()

    try:
        return asyncio.run(body())
    except SerinusError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error
