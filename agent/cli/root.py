"""The root of the command line."""

from pathlib import Path
from typing import Annotated

import typer

import agent
from agent.cli import cluster, events, kafka
from agent.cli.analyze import analyze
from agent.cli.crds import crds
from agent.cli.lint import lint
from agent.cli.plan import plan
from agent.errors import Refused, SerinusError

app = typer.Typer(
    name="serinus",
    help="Event-driven progressive delivery for the Argo Rollouts API.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.add_typer(cluster.app, name="cluster")
app.add_typer(events.app, name="events")
app.add_typer(kafka.app, name="kafka")
settings_app = typer.Typer(
    help="Settings: what there is, and what is in force.", no_args_is_help=True
)
app.add_typer(settings_app, name="settings")
app.command()(plan)
app.command()(lint)
app.command()(analyze)
app.command()(crds)


@app.command()
def run(
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="settings file (YAML)")
    ] = None,
    kubeconfig: Annotated[
        Path | None, typer.Option(help="cluster to drive; overrides cluster.kubeconfig")
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="port of the HTTP door; overrides sink.port", min=0)
    ] = None,
    companion: Annotated[
        bool,
        typer.Option(
            "--companion",
            help="leave the driving to a running Argo Rollouts controller; overrides engine.mode",
        ),
    ] = False,
) -> None:
    """Run the agent until SIGTERM or Ctrl-C.

    Several may run against one cluster: a Lease elects the one that drives (with Kafka they share the work), and
    all of them answer the doors.

    Without --companion it drives, unless an Argo Rollouts controller lives: then it does what a companion does
    until that one is gone, and says so in /readyz, the log and an event.

    Examples:

      serinus run --config serinus.yaml

      serinus run --kubeconfig ~/.kube/config --port 8080

      serinus run --companion --config serinus.yaml

      SERINUS_LOG__FORMAT=console serinus run --kubeconfig local.kubeconfig

      SERINUS_OWNERSHIP__NAMESPACE=ops serinus run --kubeconfig ~/.kube/config
    """
    from agent.serve import overrides, run_agent

    raise typer.Exit(
        run_agent(config, overrides(kubeconfig=kubeconfig, port=port, companion=companion))
    )


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(agent.__version__)


@settings_app.command("explain")
def explain() -> None:
    """All settings with their defaults and meanings."""
    from agent.settings import explain as text

    typer.echo(text(), nl=False)


@settings_app.command("check")
def check(
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="settings file (YAML)")
    ] = None,
) -> None:
    """Read the settings as `serinus run` would, and say what is wrong."""
    from agent.settings import load

    try:
        load(config)
    except (Refused, SerinusError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    typer.echo("ok")
