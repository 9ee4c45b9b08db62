"""`serinus events`: the vocabulary on the bus."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from agent.errors import Refused
from agent.events.registry import INCOMING, TYPES, schema

app = typer.Typer(help="Event types and their JSON Schemas.", no_args_is_help=True)


@app.command("types")
def types() -> None:
    """All event types, one a line, with their direction."""
    for name in TYPES:
        typer.echo(f"{'in ' if name in INCOMING else 'out'}  {name}")


@app.command("schema")
def print_schema(
    type_: Annotated[str, typer.Option("--type", help="one event type; all without it")] = "",
    out: Annotated[
        Path | None, typer.Option(help="write one file a type into this directory")
    ] = None,
) -> None:
    """JSON Schemas of the events' data.

    Examples:

      serinus events schema --type dev.serinus.rollout.aborted.v1

      serinus events schema --out schemas/
    """
    try:
        schemas = {name: schema(name) for name in ([type_] if type_ else TYPES)}
    except Refused as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    if out is None:
        value = schemas[type_] if type_ else schemas
        typer.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())
        return
    out.mkdir(parents=True, exist_ok=True)
    for name, value in schemas.items():
        (out / f"{name}.json").write_bytes(
            msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"
        )
    typer.echo(f"{len(schemas)} schemas in {out}")
