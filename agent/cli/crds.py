"""`serinus crds`: the CustomResourceDefinitions of the kinds that we drive."""

from pathlib import Path
from typing import Annotated

import typer
import yaml

from agent.api.crds import DEFINITIONS, Definition, manifest

HEADER = "# Made by `serinus crds --out deploy/crds` from agent/api; change the types there.\n"


def crds(
    out: Annotated[
        Path | None, typer.Option(help="write one file a kind into this directory")
    ] = None,
) -> None:
    """Print the CustomResourceDefinitions of Rollout, AnalysisRun, templates and Experiment.

    A cluster that has Argo Rollouts installed has them already: keep those.

    Examples:

      serinus crds | kubectl apply --server-side -f -

      serinus crds --out deploy/crds
    """
    if out is None:
        typer.echo("---\n".join(text(definition) for definition in DEFINITIONS), nl=False)
        return
    out.mkdir(parents=True, exist_ok=True)
    for definition in DEFINITIONS:
        (out / f"{definition.plural}.yaml").write_text(HEADER + text(definition))
    typer.echo(f"{len(DEFINITIONS)} definitions in {out}")


def text(definition: Definition) -> str:
    """A definition as YAML; every part written out, since kubectl takes no references."""
    return yaml.dump(manifest(definition), Dumper=_Plain, sort_keys=False, width=110)


class _Plain(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002  # the base's signature
        return True
