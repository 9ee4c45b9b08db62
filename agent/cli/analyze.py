"""`serinus analyze`: run an analysis from the shell, without a cluster, and watch the verdict form."""

import asyncio
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer
import yaml

from agent.api.analysis import AnalysisRun, Metric
from agent.api.meta import Object, Ref
from agent.cli.sources import files_in, logs_on_stderr, text_of
from agent.errors import Refused, SerinusError

MAX_SECRET_BYTES: Final = 1024 * 1024
_USAGE: Final = 2


def analyze(
    files: Annotated[
        list[str], typer.Argument(help="templates (YAML files, directories, or - for stdin)")
    ],
    template: Annotated[
        str, typer.Option(help="name of the template, where there are several")
    ] = "",
    rollout: Annotated[
        str, typer.Option(help="manifest of a Rollout: run what one of its steps would run")
    ] = "",
    step: Annotated[
        int | None,
        typer.Option(help="step of the Rollout, from 1; without it the background analysis", min=1),
    ] = None,
    arg: Annotated[
        list[str] | None, typer.Option("--arg", help="name=value; may be repeated")
    ] = None,
    arg_from: Annotated[
        list[str] | None, typer.Option(help="YAML file with names and values of arguments")
    ] = None,
    secret: Annotated[
        list[str] | None,
        typer.Option(help="name/key=FILE, for arguments from Secrets; may be repeated"),
    ] = None,
    prometheus: Annotated[
        str, typer.Option(help="address of Prometheus, whatever the metrics name")
    ] = "",
    once: Annotated[bool, typer.Option("--once", help="measure each metric one time")] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="measure until Ctrl-C, or until a limit is exceeded")
    ] = False,
    count: Annotated[int | None, typer.Option(help="instead of the metrics' own", min=1)] = None,
    interval: Annotated[str, typer.Option(help="instead of the metrics' own, such as 5s")] = "",
    compat: Annotated[
        Literal["", "safe", "argo"],
        typer.Option(help="verdicts that are safe (the default), or Argo's to the bit"),
    ] = "",
    output: Annotated[
        Literal["text", "json"], typer.Option("--format", help="json: one object a line")
    ] = "text",
) -> None:
    """Run an AnalysisTemplate against a live Prometheus (or another provider) and show the verdict as it forms.

    No cluster is needed: the engine's own driver measures and judges. On a terminal a table follows the run,
    elsewhere each measurement is a line. Ctrl-C ends the run in order, with the verdict so far.

    Exit code: 0 Successful, 1 Failed, 3 Inconclusive, 4 Error; 2: the command cannot be carried out.

    Examples:

      serinus analyze success-rate.yaml --prometheus http://127.0.0.1:9090 --arg service=shop-canary --once

      serinus analyze templates/ --template success-rate --watch --interval 5s --arg-from args.yaml

      serinus analyze templates/ --rollout rollout.yaml --step 3

      serinus analyze template.yaml --secret api/token=token.txt --compat argo --format json
    """
    from agent.cli.analyze_text import EXIT

    try:
        if once and (watch or count is not None):
            raise Refused("goes with neither --watch nor --count", field="--once")
        if watch and count is not None:
            raise Refused("does not go with --count", field="--watch")
        run = _run_of(
            files,
            template=template,
            rollout=rollout,
            step=step,
            given={**_from_files(arg_from or ()), **_pairs(arg or ())},
            changes={
                "once": once,
                "watch": watch,
                "count": count,
                "interval": interval,
                "prometheus": prometheus,
                "compat": compat,
            },
        )
        with logs_on_stderr():
            ended = asyncio.run(_analysed(run, secret or (), as_json=output == "json"))
    except SerinusError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(_USAGE) from error
    raise typer.Exit(EXIT.get(ended.status.phase, EXIT["Error"]))


def _run_of(
    files: Sequence[str],
    *,
    template: str,
    rollout: str,
    step: int | None,
    given: Mapping[str, str],
    changes: Mapping[str, Any],
) -> Object:
    """The AnalysisRun that is meant. Raises Refused."""
    from agent.cli import analyze_plan as plan

    templates = plan.templates_in(_objects(files_in(list(files))))
    if rollout:
        if template:
            raise Refused(
                "does not go with --rollout, which names its templates", field="--template"
            )
        found = [obj for ref, obj in _objects([rollout]).items() if ref.kind == "Rollout"]
        if len(found) != 1:
            raise Refused(f"has {len(found)} Rollouts, not one", field=rollout)
        chosen = plan.of_rollout(found[0], step)
        templates = {
            (ref._replace(namespace=chosen[0].metadata.namespace) if ref.namespace else ref): obj
            for ref, obj in templates.items()
        }
    elif step is not None:
        raise Refused("needs --rollout", field="--step")
    else:
        chosen = plan.of_template(templates, template)
    return plan.run_of(*chosen, templates, given, plan.Changes(**changes))


def _objects(files: Sequence[str]) -> dict[Ref, Object]:
    from agent.cluster.manifests import parse

    found = {}
    for file in files:
        for kind, obj in parse(text_of(file), source=file, others=True):
            meta = obj["metadata"]
            found[Ref(kind.kind, meta.get("namespace", ""), meta["name"])] = obj
    return found


def _pairs(texts: Sequence[str]) -> dict[str, str]:
    from agent.cli.analyze_plan import pairs

    return pairs(texts, "--arg")


def _from_files(files: Sequence[str]) -> dict[str, str]:
    """Arguments from YAML mappings. Raises Refused."""
    found: dict[str, str] = {}
    for file in files:
        try:
            body = yaml.safe_load(text_of(file))
        except yaml.YAMLError as error:
            raise Refused(f"not YAML: {error}", field=file) from error
        if not isinstance(body, dict):
            raise Refused("must be a mapping of names to values", field=file)
        for name, value in body.items():
            shown = str(value).lower() if isinstance(value, bool) else str(value)
            found[str(name)] = shown
    return found


def _secrets(texts: Sequence[str]) -> dict[tuple[str, str], bytes]:
    """Contents of files by name and key of the Secret; one newline at the end is the editor's."""
    from agent.cli.analyze_plan import pairs

    found = {}
    for place, file in pairs(texts, "--secret").items():
        name, slash, key = place.partition("/")
        if not slash or not name or not key:
            raise Refused(f"{place!r} is not name/key=FILE", field="--secret")
        try:
            with Path(file).open("rb") as opened:
                content = opened.read(MAX_SECRET_BYTES + 1)
        except OSError as error:
            raise Refused(str(error), field="--secret") from error
        if len(content) > MAX_SECRET_BYTES:
            raise Refused(f"{file} is larger than {MAX_SECRET_BYTES} bytes", field="--secret")
        found[name, key] = content.removesuffix(b"\n")
    return found


async def _analysed(run: Object, secret: Sequence[str], *, as_json: bool) -> AnalysisRun:
    from agent.analysis.providers.registry import providers
    from agent.cli.analyze_plan import resolved, secrets_of
    from agent.cli.analyze_run import analysed
    from agent.cli.analyze_view import Lines, Table, View
    from agent.clock import SystemClock
    from agent.http import Http

    secrets = secrets_of(run, _secrets(secret))
    metrics: dict[str, Metric] = {metric.name: metric for metric in resolved(run)}
    known = [name for metric in metrics.values() for name in metric.provider or {}]
    if "job" in known:
        raise Refused("a Job runs in a cluster; create an AnalysisRun there", field="provider.job")
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    view: View = (
        Table(metrics) if sys.stdout.isatty() and not as_json else Lines(metrics, as_json=as_json)
    )
    http = Http()
    try:
        with view:
            ended = await analysed(
                run, secrets, providers(http, {}), SystemClock(), seen=view.show, stop=stop
            )
            view.end(ended)
    finally:
        await http.aclose()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
    return ended
