"""`serinus cluster` as its user sees it."""

import asyncio
import os
import signal
import stat
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from typer.testing import CliRunner

from agent.cli.cluster import app
from agent.cli.cluster_table import table
from agent.clock import SystemClock
from agent.cluster.kubernetes import connect
from agent.cluster.local.server import Options, local_cluster_running
from agent.cluster.port import KINDS
from agent.errors import Invalid, NotFound

MANIFESTS = """
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec: {containers: [{name: main, image: "shop:v1"}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop}
spec:
  hosts: [shop]
  http:
  - name: primary
    route:
    - {destination: {host: shop}, weight: 90}
    - {destination: {host: canary}, weight: 10}
"""


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Iterator[Path]:
    """A cluster on a loop in another thread, for commands that bring their own loop."""
    ready, stop = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def live() -> None:
        options = Options(kubeconfig=tmp_path / "k", ready_seconds=0)
        async with local_cluster_running(options, SystemClock()):
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(live()))
    thread.start()
    assert ready.wait(10)
    yield tmp_path / "k"
    loop.call_soon_threadsafe(stop.set)
    thread.join(10)
    assert not thread.is_alive()
    loop.close()


def serinus(*arguments: str | Path, text: str = "") -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], input=text)
    return result.exit_code, result.output


def test_apply_and_get_are_enough_to_work_by_hand(kubeconfig: Path, tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(MANIFESTS)
    end = ("--kubeconfig", kubeconfig)
    code, said = serinus("apply", "-f", tmp_path / "m.yaml", *end)
    assert (code, said.split()) == (
        0,
        ["replicaset.apps/shop", "created", "virtualservice.networking.istio.io/shop", "created"],
    )
    code, said = serinus("apply", "-f", "-", *end, text=MANIFESTS)
    assert (code, said.count("unchanged")) == (0, 2)
    code, said = serinus("get", "vs", *end)
    assert (code, said.splitlines()[1].split()[:3]) == (0, ["shop", "primary:", "90/10"])
    code, said = serinus("get", "vs", "shop", "-o", "yaml", *end)
    assert yaml.safe_load(said)["spec"]["hosts"] == ["shop"]
    code, said = serinus("get", "pods", "-A", "-l", "app=shop", "-o", "json", *end)
    assert len(msgspec.json.decode(said)["items"]) == 2
    code, said = serinus("get", "pods", "-n", "elsewhere", *end)
    assert (code, said) == (0, "no pods found\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["get", "castle"], "'castle' is not a known kind", id="an unknown kind"),
        pytest.param(["get", "cm", "none"], "not found", id="an unknown object"),
        pytest.param(["apply", "-f", "none.yaml"], "none.yaml", id="no file"),
        pytest.param(["apply", "-f", "-"], "not YAML", id="no YAML"),
    ],
)
def test_what_goes_wrong_is_said_in_a_line(
    kubeconfig: Path, arguments: list[str], words: str
) -> None:
    code, said = serinus(*arguments, "--kubeconfig", kubeconfig, text="a: [")
    assert code in (1, 2)
    assert words in said
    assert "Traceback" not in said


def test_without_a_cluster_the_kubeconfig_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KUBECONFIG", raising=False)
    code, said = serinus("get", "pods")
    assert (code, "local.kubeconfig" in said) == (1, True)


@pytest.mark.parametrize("command", [[], ["up"], ["apply"], ["get"]])
def test_help_has_examples(command: list[str]) -> None:
    code, said = serinus(*command, "--help")
    assert code == 0
    assert "serinus cluster" in said or not command


async def test_the_token_and_the_objects_survive_a_restart_of_the_cluster(tmp_path: Path) -> None:
    options = Options(data=tmp_path / "data", kubeconfig=tmp_path / "k")
    async with local_cluster_running(options, SystemClock()) as first:
        token = first.token
        await first.store.create(KINDS["ConfigMap"], {"metadata": {"name": "kept"}})
        with pytest.raises(Invalid, match="in use"):
            async with local_cluster_running(options, SystemClock()):
                pass
    async with local_cluster_running(options, SystemClock()) as second:
        assert second.token == token
        assert await second.store.get(KINDS["ConfigMap"], "default", "kept")
        with pytest.raises(NotFound):
            await second.store.get(KINDS["ConfigMap"], "default", "other")
    for secret in (tmp_path / "data" / "token", tmp_path / "k"):
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600


@asynccontextmanager
async def up(tmp_path: Path, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "from agent.cli import main; main()", "cluster", "up",
        "--kubeconfig", str(tmp_path / "k"), "--data", str(tmp_path / "data"), *arguments,
        stdout=asyncio.subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_the_command_serves_until_sigterm_and_keeps_what_it_answered_after_kill_9(
    tmp_path: Path,
) -> None:
    async def said(process: asyncio.subprocess.Process) -> str:
        assert process.stdout is not None
        async with asyncio.timeout(20):
            return (await process.stdout.readline()).decode()

    async with up(tmp_path) as process:
        assert (await said(process)).startswith("cluster at http://127.0.0.1:")
        await said(process)
        cluster = await connect(SystemClock(), kubeconfig=tmp_path / "k")
        await cluster.create(KINDS["ConfigMap"], {"metadata": {"name": "kept"}})
        await cluster.aclose()
        process.kill()
        await process.wait()
    async with up(tmp_path) as process:
        await said(process)
        await said(process)
        cluster = await connect(SystemClock(), kubeconfig=tmp_path / "k")
        assert await cluster.get(KINDS["ConfigMap"], "default", "kept")

        begun = asyncio.Event()

        async def follow() -> None:
            async for _ in cluster.watch(KINDS["ConfigMap"], resource_version="0"):
                begun.set()

        following = asyncio.create_task(follow())
        async with asyncio.timeout(10):
            await begun.wait()
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(10):
            assert await process.wait() == 0
            await following
        await cluster.aclose()


def test_a_table_shows_what_matters_for_a_kind() -> None:
    now = datetime(2026, 5, 1, 12, tzinfo=UTC)
    rollout: dict[str, Any] = {
        "kind": "Rollout",
        "metadata": {
            "name": "shop",
            "namespace": "default",
            "creationTimestamp": "2026-05-01T09:00:00Z",
        },
        "spec": {"replicas": 3, "strategy": {"canary": {"steps": [{}, {}]}}},
        "status": {
            "phase": "Paused",
            "message": "CanaryPauseStep",
            "currentStepIndex": 1,
            "readyReplicas": 3,
            "canary": {"weights": {"canary": {"weight": 10}}},
        },
    }
    lines = table([rollout], now=now, namespaces=True).splitlines()
    assert lines[0].split() == [
        "NAMESPACE", "NAME", "PHASE", "STEP", "WEIGHT", "DESIRED", "READY", "MESSAGE", "AGE",
    ]  # fmt: skip
    assert lines[1].split() == [
        "default", "shop", "Paused", "1/2", "10", "3", "3", "CanaryPauseStep", "3h",
    ]  # fmt: skip
    assert table([], now=now, namespaces=False) == ""
    bare = {"kind": "Secret", "metadata": {"name": "x"}}
    assert table([bare], now=now, namespaces=True).splitlines()[1].split() == ["x"]
