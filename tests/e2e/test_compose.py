"""What docker-compose.yml starts, as processes beside the real servers: its comment's story, command by command."""

import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from agent.clock import SystemClock
from agent.cluster.kubernetes import KubernetesCluster, connect
from agent.cluster.port import KINDS
from tests.contract.objects import a_name
from tests.e2e.bed.alertmanager import Alertmanager
from tests.e2e.bed.run import Run
from tests.e2e.bed.tools import run as run_program
from tests.e2e.loopback import loopback
from tests.e2e.processes import ROOT, Process, free_port, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]
TOKEN = "compose-token"
EXAMPLE = ROOT / "deploy/examples/canary.yaml"
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())


def here(text: str, places: Mapping[str, str]) -> str:
    """The text with what only exists in containers replaced; each of it must occur."""
    for there, place in places.items():
        assert there in text, f"{there} is not in the file any more"
        text = text.replace(there, place)
    return text


def filled_in(path: str, target: Path, places: Mapping[str, str]) -> Path:
    target.write_text(here((ROOT / path).read_text(), places))
    return target


@asynccontextmanager
async def composed(directory: Path, bootstrap: str) -> AsyncIterator[tuple[Path, Alertmanager]]:
    """The services up and the agent ready; yields the kubeconfig, and Alertmanager."""
    port, token = free_port(), directory / "token"
    token.write_text(TOKEN)
    alertmanager = Alertmanager(directory / "alertmanager", token=TOKEN)
    filled_in(
        "deploy/compose/alertmanager.yml",
        alertmanager.config,
        {"http://cluster:8080": f"http://127.0.0.1:{port}", "/run/secrets/serinus-token": str(token)},
    )  # fmt: skip
    settings = filled_in(
        "deploy/compose/serinus.yaml",
        directory / "serinus.yaml",
        {
            "0.0.0.0": "127.0.0.1",
            "port: 8080": f"port: {port}",
            "/run/secrets/serinus-token": str(token),
            "/var/lib/serinus": str(directory),
            "kafka:9092": bootstrap,
            "http://alertmanager:9093": alertmanager.url,
        },
    )
    command = [
        here(word, {"/var/lib/serinus": str(directory)}) if "/var/lib" in word else word
        for word in COMPOSE["services"]["cluster"]["command"]
    ]
    command[command.index("--port=16443")] = "--port=0"
    name = a_name()
    cluster = Process("cluster", "-m", "agent.cli", *command, directory=directory)
    agent = Process(
        "agent", "-m", "agent", "--config", str(settings),
        directory=directory, environment={"SERINUS_BUS__PREFIX": name, "SERINUS_BUS__GROUP": name},
    )  # fmt: skip

    async def there() -> bool:
        return (directory / "local.kubeconfig").exists() and "cluster at" in cluster.output()

    async def ready() -> bool:
        try:
            async with loopback(timeout=2) as http:
                return (await http.get(f"http://127.0.0.1:{port}/readyz")).status_code == 200
        except httpx.HTTPError:
            return False

    async with cluster:
        await until(there, "the cluster is there", context=cluster)
        alertmanager.start()
        try:
            async with agent:
                await until(ready, "the agent is ready", deadline_seconds=40, context=agent)
                yield directory / "local.kubeconfig", alertmanager
        finally:
            alertmanager.server.stop()


async def test_the_story_of_the_comment(tmp_path: Path, bed: Run) -> None:
    async with composed(tmp_path, bed.part("kafka")["bootstrap"]) as (kubeconfig, alertmanager):
        cluster = await connect(SystemClock(), kubeconfig=kubeconfig)
        try:
            apply(kubeconfig, EXAMPLE.read_text())
            await until(lambda: phase(cluster, "Healthy"), "the first version is out")
            apply(kubeconfig, EXAMPLE.read_text().replace("shop:v1", "shop:v2"))
            await until(lambda: weighs(cluster, 10), "the canary has its first weight")
            amtool(alertmanager.url)
            await until(lambda: weighs(cluster, 0), "the alert took it off")
            await until(lambda: phase(cluster, "Degraded"), "the rollout says so")
            rollout = await cluster.get(KINDS["Rollout"], "demo", "shop")
            assert "CanaryBroken" in rollout["status"]["message"]
        finally:
            await cluster.aclose()


def test_the_configurations_are_good_to_their_programs(tmp_path: Path, bed: Run) -> None:
    bed.part("prometheus")
    bed.part("alertmanager")
    token = tmp_path / "token"
    token.write_text(TOKEN)
    rules = tmp_path / "rules.yml"
    shutil.copy(ROOT / "deploy/prometheus/rules.yml", rules)
    secret = {"/run/secrets/serinus-token": str(token)}
    prometheus = filled_in(
        "deploy/compose/prometheus.yml",
        tmp_path / "prometheus.yml",
        {**secret, "/etc/prometheus/rules.yml": str(rules)},
    )
    said = run_program(["promtool", "check", "config", prometheus], 20)
    assert "1 rule files found" in said
    receiver = filled_in("deploy/compose/alertmanager.yml", tmp_path / "alertmanager.yml", secret)
    run_program(["amtool", "check-config", receiver], 20)


def apply(kubeconfig: Path, manifests: str) -> None:
    subprocess.run(
        [
            sys.executable,
            "-m",
            "agent.cli",
            "cluster",
            "apply",
            "-f",
            "-",
            "--kubeconfig",
            kubeconfig,
        ],
        cwd=ROOT,
        input=manifests,
        text=True,
        check=True,
        timeout=30,
        stdout=subprocess.DEVNULL,
    )


def amtool(url: str) -> None:
    """The comment's command, for this Alertmanager."""
    comment = "".join(
        line[3:] for line in (ROOT / "docker-compose.yml").read_text().splitlines(keepends=True)
        if line.startswith("#  ")
    )  # fmt: skip
    found = re.search(r"amtool \S+ \\\n\s*(alert add .*)", comment)
    assert found is not None
    run_program(["amtool", f"--alertmanager.url={url}", *found[1].split()], 20)


async def phase(cluster: KubernetesCluster, wanted: str) -> bool:
    rollout = await cluster.get(KINDS["Rollout"], "demo", "shop")
    status = rollout.get("status") or {}
    observed = status.get("observedGeneration") == str(rollout["metadata"]["generation"])
    return observed and status.get("phase") == wanted


async def weighs(cluster: KubernetesCluster, weight: int) -> bool:
    service = await cluster.get(KINDS["VirtualService"], "demo", "shop")
    stable, canary = service["spec"]["http"][0]["route"]
    assert stable["weight"] + canary["weight"] == 100
    return bool(canary["weight"] == weight)
