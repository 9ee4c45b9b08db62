"""Options of the command line are settings, and stronger than the file."""

from pathlib import Path

from typer.testing import CliRunner

from agent.cli.root import app
from agent.serve import overrides
from agent.settings import load


def test_options_overrule_the_file(tmp_path: Path) -> None:
    path = tmp_path / "serinus.yaml"
    path.write_text("engine: {mode: drive}\nsink: {port: 1}\n")
    chosen = overrides(kubeconfig=Path("/k"), port=9, companion=True)
    settings = load(path, chosen)
    assert settings.engine.mode == "companion"
    assert (settings.sink.port, settings.cluster.kubeconfig) == (9, "/k")
    assert load(path, overrides()).engine.mode == "drive"


def test_the_help_of_run_shows_how_to_accompany() -> None:
    said = CliRunner().invoke(app, ["run", "--help"]).output
    assert "serinus run --companion --config serinus.yaml" in said
