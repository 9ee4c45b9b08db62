"""`serinus lint`: what is wrong with manifests, before anything is applied."""

import asyncio
import contextlib
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

import agent
from agent.api.meta import Object, Ref
from agent.cli.sources import Connected, files_in
from agent.errors import NotFound, SerinusError
from agent.lint.finding import LEVELS, Finding, Level, worst

if TYPE_CHECKING:
    from agent.lint.world import World

MAX_TOTAL_BYTES: Final = 64 * 1024 * 1024
_USAGE: Final = 2


def lint(
    files: Annotated[
        list[str] | None,
        typer.Argument(help="manifests, directories, or - for stdin", show_default=False),
    ] = None,
    recursive: Annotated[
        bool, typer.Option("--recursive", "-R", help="directories below directories, too")
    ] = False,
    live: Annotated[
        bool, typer.Option("--live", help="look up what the manifests name in the cluster")
    ] = False,
    kubeconfig: Annotated[
        Path | None,
        typer.Option(help="cluster of --live; default: $KUBECONFIG, else ./local.kubeconfig"),
    ] = None,
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", help="of objects that name none")
    ] = "default",
    output: Annotated[
        Literal["text", "json", "github", "sarif"], typer.Option("--format", help="of the findings")
    ] = "text",
    fail_on: Annotated[
        Literal["error", "warning"], typer.Option(help="least level that gives exit code 1")
    ] = "error",
    ignore: Annotated[
        list[str] | None,
        typer.Option(help="codes to pass over, with commas between; may be repeated"),
    ] = None,
    explain: Annotated[
        str, typer.Option(help="what a code means, and the fix; `all` for every one")
    ] = "",
) -> None:
    """Check manifests: what Argo Rollouts and Serinus would refuse, and what does not do what it seems to.

    Looks at Rollouts, analysis templates and runs, VirtualServices, DestinationRules, Gateway API routes and
    Services together; other kinds are passed over. Errors are what an engine refuses; warnings are what
    it accepts and you would regret. A comment `# serinus-lint: ignore=SRN104` lets a code pass at its line (or
    the next), at the head of a document in all of it.

    Exit code 0: nothing at or above --fail-on; 1: findings; 2: the command cannot be carried out.

    Examples:

      serinus lint deploy/

      kustomize build overlays/prod | serinus lint -

      serinus lint rollout.yaml --live -n shop --fail-on warning

      serinus lint -R manifests/ --format sarif > lint.sarif

      serinus lint --explain SRN212
    """
    from agent.lint.checks import CODES

    if explain:
        _explain(explain)
        return
    if not files:
        raise typer.BadParameter("name a file, a directory, or - for stdin", param_hint="FILES")
    ignored = frozenset(
        code.strip() for text in ignore or () for code in text.split(",") if code.strip()
    )
    unknown = sorted(ignored - set(CODES))
    if unknown:
        raise typer.BadParameter(f"{', '.join(unknown)}: no such code", param_hint="--ignore")
    try:
        found, objects = _lint(
            files_in(files, recursive=recursive),
            namespace=namespace,
            live=live,
            kubeconfig=kubeconfig,
            ignore=ignored,
        )
    except SerinusError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(_USAGE) from error
    _print(found, objects, output)
    least: Level | None = worst(found)
    if least is not None and LEVELS.index(least) >= LEVELS.index(fail_on):
        raise typer.Exit(1)


def _lint(
    files: Sequence[str],
    *,
    namespace: str,
    live: bool,
    kubeconfig: Path | None,
    ignore: frozenset[str],
) -> tuple[tuple[Finding, ...], int]:
    """The findings, and the number of objects that were looked at."""
    from agent.analysis.providers.registry import providers
    from agent.http import Http
    from agent.lint.checks import linted
    from agent.lint.source import read
    from agent.lint.world import World
    from agent.router_plugins import installed_routers

    # A provider only says here what it thinks of its settings; that there is no address is said apart.
    known = providers(Http(), {"prometheus_address": "http://prometheus"})
    sources = [read(text, name) for name, text in _texts(files)]
    routers = installed_routers()
    world = World(sources, providers=known, namespace=namespace, routers=routers)
    if live:
        cluster = asyncio.run(_from_cluster(world, kubeconfig))
        world = World(
            sources,
            providers=known,
            namespace=namespace,
            cluster=cluster,
            is_complete=True,
            routers=routers,
        )
    return linted(world, ignore=ignore), len(world.items)


def _texts(files: Iterable[str]) -> Iterable[tuple[str, str]]:
    """The files with their texts; of one that is too long only so much that it is seen to be."""
    from agent.lint.source import MAX_BYTES

    total = 0
    for file in dict.fromkeys(files):
        try:
            if file == "-":
                text = sys.stdin.read(MAX_BYTES + 1)
            else:
                with Path(file).open(encoding="utf-8") as opened:
                    text = opened.read(MAX_BYTES + 1)
        except (OSError, UnicodeDecodeError) as error:
            raise typer.BadParameter(f"{file}: {error}") from error
        total += len(text)
        if total > MAX_TOTAL_BYTES:
            raise typer.BadParameter(f"more than {MAX_TOTAL_BYTES} characters in all")
        yield file, text


async def _from_cluster(world: "World", kubeconfig: Path | None) -> Mapping[Ref, Object]:
    """What the manifests' Rollouts name, the other Rollouts, and all objects that speak for hosts."""
    from agent.cluster.port import KINDS
    from agent.engine.observe import MAX_TEMPLATES, named_by, template_refs
    from agent.rollout.preview import references
    from agent.traffic.hosts import HOST_KINDS

    found: dict[Ref, Object] = {}
    async with Connected(kubeconfig) as cluster:
        for kind in ("Rollout", *HOST_KINDS):
            with contextlib.suppress(NotFound):
                for obj in (await cluster.list(KINDS[kind], None)).items:
                    meta = obj["metadata"]
                    found[Ref(kind, meta.get("namespace", ""), meta["name"])] = obj
        waiting = [
            ref
            for item in world.of(
                "Rollout", "Experiment", "AnalysisTemplate", "ClusterAnalysisTemplate"
            )
            for ref in (
                *(named_by(item.obj) if item.ref.kind == "Rollout" else ()),
                *template_refs(item.obj.get("spec"), item.ref.namespace),
                *(references(item.obj, world.routers) if item.ref.kind == "Rollout" else ()),
            )
        ]
        seen = set(found) | set(world.objects)
        for ref in waiting:
            if ref in seen or ref.kind not in KINDS or len(seen) > MAX_TEMPLATES + len(found):
                continue
            seen.add(ref)
            with contextlib.suppress(NotFound):
                found[ref] = await cluster.get(KINDS[ref.kind], ref.namespace, ref.name)
                waiting += template_refs(found[ref].get("spec"), ref.namespace)
    return found


def _explain(name: str) -> None:
    from agent.lint.checks import CODES
    from agent.lint.formats import explained

    wanted = list(CODES) if name == "all" else [name.upper()]
    unknown = [code for code in wanted if code not in CODES]
    if unknown:
        raise typer.BadParameter(
            f"{name}: no such code; `--explain all` lists them", param_hint="--explain"
        )
    typer.echo("\n\n".join(explained(CODES[code]) for code in sorted(wanted)))


def _print(found: Sequence[Finding], objects: int, output: str) -> None:
    from agent.lint.formats import as_github, as_json, as_sarif

    if output == "json":
        typer.echo(as_json(found, objects))
    elif output == "github":
        typer.echo(as_github(found), nl=bool(found))
    elif output == "sarif":
        typer.echo(as_sarif(found, agent.__version__))
    else:
        _print_text(found, objects)


def _print_text(found: Sequence[Finding], objects: int) -> None:
    from rich.console import Console
    from rich.text import Text

    from agent.lint.formats import counts

    console = Console(highlight=False, soft_wrap=True)
    for finding in found:
        colour = "red" if finding.level == "error" else "yellow"
        line = Text.assemble(
            (finding.place, "bold"),
            ": ",
            (finding.level, f"bold {colour}"),
            " ",
            (finding.code, "cyan"),
            f" {finding.message}",
        )
        console.print(line)
        about = f" [{finding.object}]" if finding.object else ""
        console.print(Text(f"    fix: {finding.fix}{about}", style="dim"))
    number = counts(found)
    console.print(
        f"{_many(number['errors'], 'error')}, {_many(number['warnings'], 'warning')}"
        f" in {_many(objects, 'object')}"
    )


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
