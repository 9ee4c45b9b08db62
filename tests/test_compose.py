"""docker-compose.yml and the image, as far as they can be held against the product without a container engine.

tests/e2e/test_compose.py runs what it starts, as processes.
"""

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from agent.cli.root import app
from agent.cluster.manifests import parse
from agent.settings import load

ROOT = Path(__file__).parent.parent
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
SETTINGS = ROOT / "deploy/compose/serinus.yaml"


def test_images_of_others_are_pinned() -> None:
    for name, service in SERVICES.items():
        assert "build" in service or re.search(r":v?\d+\.\d+\.\d+$", service["image"]), name


def test_doors_open_to_this_machine_only() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_what_is_mounted_is_there() -> None:
    mounts = [mount for service in SERVICES.values() for mount in service.get("volumes", ())]
    files = [mount.split(":")[0] for mount in mounts if mount.startswith("./")]
    assert files
    assert all((ROOT / file).is_file() for file in files)
    volumes = {mount.split(":")[0] for mount in mounts if not mount.startswith("./")}
    assert volumes == set(COMPOSE["volumes"])


def test_the_stages_of_the_image_are_those_that_are_built() -> None:
    text = (ROOT / "deploy/image/Dockerfile").read_text()
    stages = set(re.findall(r"^FROM \S+ AS (\w+)$", text, re.MULTILINE))
    assert {service["build"]["target"] for service in OURS.values()} <= stages
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for source in re.findall(r"^COPY (\S+) ", text, re.MULTILINE):
        assert any(f"!{source}".startswith(line) for line in ignored if line.startswith("!"))
        assert (ROOT / source).exists()


def test_the_cluster_starts_with_options_that_it_has() -> None:
    done = CliRunner().invoke(app, [*SERVICES["cluster"]["command"], "--help"])
    assert done.exit_code == 0, done.output


def test_the_commands_of_the_comment_are_commands() -> None:
    """The lines that a person copies: of ours, each is one that the command line takes."""
    lines = re.findall(r"^#   (.*)$", (ROOT / "docker-compose.yml").read_text(), re.MULTILINE)
    ours = [line.split("serinus ", 1)[1] for line in lines if re.search(r"(^|\| )serinus ", line)]
    assert len(ours) == 3
    for line in ours:
        done = CliRunner().invoke(app, [*shlex.split(line.split(" < ")[0]), "--help"])
        assert done.exit_code == 0, (line, done.output)


def test_the_settings_are_settings_and_name_services() -> None:
    settings = load(SETTINGS, {})
    assert settings.sink.tokens, "the door listens for others, so it must ask who comes"
    addresses = [*settings.bus.brokers, settings.alerts.alertmanager, settings.prometheus.address]
    hosts = {address.removeprefix("http://").split(":")[0] for address in addresses}
    assert hosts <= set(SERVICES)
    assert settings.cluster.kubeconfig in " ".join(SERVICES["cluster"]["command"])
    secret = settings.sink.tokens[0].file
    assert secret == f"/run/secrets/{SERVICES['serinus']['secrets'][0]}"


def test_alerts_find_the_door() -> None:
    config = yaml.safe_load((ROOT / "deploy/compose/alertmanager.yml").read_text())
    (receiver,) = config["receivers"]
    (webhook,) = receiver["webhook_configs"]
    # The agent is in the network of the cluster.
    assert SERVICES["serinus"]["network_mode"] == "service:cluster"
    port = load(SETTINGS, {}).sink.port
    assert webhook["url"] == f"http://cluster:{port}/webhooks/alertmanager"


def test_the_example_is_made_of_objects() -> None:
    path = ROOT / "deploy/examples/canary.yaml"
    made = parse(path.read_text(), source=path.name, namespace="default")
    assert [str(manifest).split()[0].split("/")[0].lower() for manifest in made]


@pytest.mark.parametrize("name", ["agent", "cli"])
def test_the_image_has_the_versions_that_are_tested(name: str) -> None:
    tested = _pins(ROOT / "requirements.lock")
    image = _pins(ROOT / f"deploy/image/{name}.lock")
    assert image.items() <= tested.items(), "run `make lock`"
    assert ("typer" in image) == (name == "cli")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {re.split(r"[^a-z0-9-]", need)[0] for need in project["dependencies"]}
    assert needed <= set(image), "run `make lock`"


def _pins(path: Path) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", path.read_text(), re.MULTILINE))
