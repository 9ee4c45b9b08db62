"""`serinus plan`: what each step of a rollout will change in each route object, without touching anything."""

import asyncio
import contextlib
import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
import typer
import yaml

from agent.api.meta import Key, Object, Ref
from agent.cli.sources import Connected, files_in, text_of
from agent.errors import NotFound, Refused, SerinusError
from agent.rollout.preview import Preview, Stage, preview, references
from agent.router_plugins import installed_routers
from agent.traffic.hosts import HOST_KINDS
from agent.traffic.types import RouteChange, Router

_TITLES: Final = {
    "begin": "begin: the canary's names come over",
    "promote": "promotion: all traffic on the new version",
    "finish": "after the promotion",
    "abort": "an abort at the end of the steps",
}


def plan(
    files: Annotated[
        list[str],
        typer.Option(
            "--filename", "-f", help="manifest, directory, or - for stdin; may be repeated"
        ),
    ],
    live: Annotated[
        bool, typer.Option("--live", help="route objects, and who shares them, from the cluster")
    ] = False,
    kubeconfig: Annotated[
        Path | None,
        typer.Option(help="cluster of --live; default: $KUBECONFIG, else ./local.kubeconfig"),
    ] = None,
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", help="of objects that name none")
    ] = "default",
    output: Annotated[
        Literal["text", "json"], typer.Option("--output", "-o", help="format")
    ] = "text",
) -> None:
    """Print what each step of the Rollouts in the manifests will change in each route object, as a diff.

    Nothing is written anywhere. With --live the route objects are read from the cluster, else from the
    manifests. Exit code 0: every Rollout can be driven; 1: at least one is refused (or the cluster does not
    answer); 2: the manifests cannot be read.

    Examples:

      serinus plan -f rollout.yaml -f virtualservice.yaml

      serinus plan -f deploy/ --live -n shop

      kustomize build overlays/prod | serinus plan -f - -o json
    """
    try:
        routers = installed_routers()
        objects = _read(files, namespace)
        previews = asyncio.run(_previews(objects, routers, live=live, kubeconfig=kubeconfig))
    except Refused as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    except SerinusError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error
    if output == "json":
        body = msgspec.json.encode([_as_json(item) for item in previews])
        typer.echo(msgspec.json.format(body, indent=2).decode())
    else:
        typer.echo("\n".join(line for item in previews for line in _as_text(item)))
    if any(item.is_refused for item in previews):
        raise typer.Exit(1)


def _read(files: list[str], namespace: str) -> dict[Ref, Object]:
    """The objects of the manifests, by address. Raises Refused without any Rollout."""
    from agent.cluster.manifests import parse

    found: dict[Ref, Object] = {}
    for file in files_in(files):
        for kind, obj in parse(text_of(file), source=file, namespace=namespace, others=True):
            found[Ref(kind.kind, *Key.of(obj))] = obj
    if not any(ref.kind == "Rollout" for ref in found):
        raise Refused("no Rollout in the manifests: name its file with -f", field=", ".join(files))
    return found


async def _previews(
    objects: dict[Ref, Object],
    routers: Mapping[str, Router],
    *,
    live: bool,
    kubeconfig: Path | None,
) -> list[Preview]:
    """One for each Rollout of the manifests, in their order."""
    ours = [obj for ref, obj in objects.items() if ref.kind == "Rollout"]
    rollouts, routes = ours, objects
    if live:
        rollouts, routes = await _from_cluster(ours, routers, kubeconfig)
    by_key = {Key.of(obj): obj for obj in rollouts}
    made = []
    for obj in ours:
        mine = by_key.get(Key.of(obj), obj)
        rivals = [other for key, other in by_key.items() if key != Key.of(obj)]
        spoken = {
            ref: item
            for ref, item in routes.items()
            if ref.kind in HOST_KINDS or ref in references(mine, routers)
        }
        made.append(preview(mine, spoken, rivals, routers))
    return made


async def _from_cluster(
    ours: list[Object], routers: Mapping[str, Router], kubeconfig: Path | None
) -> tuple[list[Object], dict[Ref, Object]]:
    """The cluster's Rollouts with the manifests' specs over them, and its route objects."""
    from agent.cluster.port import KINDS

    routes: dict[Ref, Object] = {}
    async with Connected(kubeconfig) as cluster:
        known = {Key.of(obj): obj for obj in (await cluster.list(KINDS["Rollout"], None)).items}
        for obj in ours:
            status = known.get(Key.of(obj), {}).get("status")
            known[Key.of(obj)] = {**obj, "status": status} if status else obj
        for kind in HOST_KINDS:
            with contextlib.suppress(NotFound):
                for item in (await cluster.list(KINDS[kind], None)).items:
                    routes[Ref(kind, *Key.of(item))] = item
        for obj in ours:
            for ref in references(obj, routers):
                if ref not in routes:
                    with contextlib.suppress(NotFound):
                        routes[ref] = await cluster.get(KINDS[ref.kind], ref.namespace, ref.name)
    return list(known.values()), routes


def _as_text(item: Preview) -> Iterator[str]:
    yield f"Rollout {item.key}"
    for error in item.errors:
        yield f"  refused: {error.field}: {error.detail}"
    if not item.router and not item.errors:
        yield "  no router: the share of the traffic follows from the number of pods; no route changes"
    for stage in item.stages:
        title = (
            f"step {(stage.index or 0) + 1}: {stage.text}"
            if stage.kind == "step"
            else _TITLES[stage.kind]
        )
        if stage.kind != "step" and stage.text:
            title = f"{title}: {stage.text}"
        if not stage.text and not stage.changes and stage.refusal is None:
            continue
        yield ""
        yield f"  {title} (canary weight {stage.weight})"
        if stage.refusal is not None:
            yield f"    refused: {stage.refusal.field}: {stage.refusal.detail}"
        if not stage.changes and stage.refusal is None:
            yield "    no route object changes"
        for change in stage.changes:
            yield f"    {change.direction}: {change.reason}"
            for line in _diff(change):
                yield f"    {line}"
    yield ""


def _diff(change: RouteChange) -> Iterator[str]:
    """The two states of an object as a unified diff of their YAML."""
    before, after = (_yaml(obj).splitlines() for obj in (change.before, change.after))
    name = f"{change.ref.kind}/{change.ref.namespace}/{change.ref.name}"
    yield from difflib.unified_diff(before, after, name, name, lineterm="")


def _yaml(obj: Object) -> str:
    kept = {name: value for name, value in obj.items() if name != "status"}
    return yaml.safe_dump(kept, sort_keys=False, allow_unicode=True)


def _as_json(item: Preview) -> dict[str, Any]:
    return {
        "namespace": item.key.namespace,
        "name": item.key.name,
        "router": item.router,
        "refused": item.is_refused,
        "errors": [{"field": error.field, "detail": error.detail} for error in item.errors],
        "stages": [_stage(stage) for stage in item.stages],
    }


def _stage(stage: Stage) -> dict[str, Any]:
    made: dict[str, Any] = {"kind": stage.kind, "weight": stage.weight}
    if stage.index is not None:
        made["index"] = stage.index
    if stage.text:
        made["text"] = stage.text
    if stage.refusal is not None:
        made["refusal"] = {"field": stage.refusal.field, "detail": stage.refusal.detail}
    made["changes"] = [
        {
            "kind": change.ref.kind,
            "namespace": change.ref.namespace,
            "name": change.ref.name,
            "direction": change.direction,
            "reason": change.reason,
            "patch": list(change.patch),
        }
        for change in stage.changes
    ]
    return made
