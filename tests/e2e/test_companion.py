"""The shipped companion on a real API server, with the role that is shipped and no other; and two engines.

An agent that drives plays Argo's controller: what it stores is the same.
"""

import asyncio
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from agent.api.names import TELEGRAM_MESSAGE
from agent.api.times import format_time
from agent.cluster.kubernetes import KubernetesCluster
from agent.cluster.port import KINDS
from agent.engine.notes import noted
from agent.errors import Forbidden
from tests.e2e.bed.run import Run
from tests.e2e.loopback import loopback
from tests.e2e.manifests import NAME, indefinite, renamed
from tests.e2e.processes import Process, free_port, until
from tests.e2e.real import connected
from tests.e2e.roles import COMPANION, with_role
from tests.e2e.stage import StandInStage, firing, staged_on

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]
DATA: Final = Path(__file__).parent / "data"


def configured(stage: StandInStage, name: str, **sections: dict[str, Any]) -> Path:
    """The stage's settings with other sections, in a file of its own."""
    config = msgspec.yaml.decode((stage.directory / "serinus.yaml").read_bytes())
    for section, values in sections.items():
        config[section] = {**config.get(section, {}), **values}
    path = stage.directory / f"{name}.yaml"
    path.write_bytes(msgspec.yaml.encode(config))
    return path


def an_engine(stage: StandInStage) -> Process:
    """What drives: without an outlet and without a chat."""
    path = configured(
        stage, "engine", sink={"port": free_port(), "tokens": []}, telegram={"chat_id": ""},
        outlet={"url": ""}, ownership={"kind": "none"}, engine={"argo_leases": []},
    )  # fmt: skip
    return Process("engine", "-m", "agent", "--config", str(path), directory=stage.directory)


@asynccontextmanager
async def ending(stage: StandInStage) -> AsyncIterator[None]:
    """End the agent, whatever happens inside."""
    try:
        yield
    finally:
        if stage.agent.running:
            stage.agent.kill()
            await stage.agent.wait()


@asynccontextmanager
async def beside(bed: Run, directory: Path) -> AsyncIterator[tuple[StandInStage, Process]]:
    """A companion with the shipped role (the stage's agent) and an engine; the first version is deployed."""
    async with (
        staged_on(bed.part("kubernetes")["kubeconfig"], directory) as stage,
        with_role(bed, stage, COMPANION) as kubeconfig,
    ):
        path = configured(
            stage, "companion", cluster={"kubeconfig": str(kubeconfig)},
            engine={"mode": "companion"},
        )  # fmt: skip
        stage.agent = Process(
            "companion", "-m", "agent", "--config", str(path), directory=directory
        )
        async with an_engine(stage) as engine, ending(stage):
            await stage.start_agent()
            await stage.apply(*renamed(indefinite(), stage.namespace))
            await stage.until_promoted()
            await stage.until_announced("completed")
            yield stage, engine


def contents(stage: StandInStage) -> Counter[str]:
    """How often each transition was announced, by id; no id has two contents (I5)."""
    bodies: dict[str, bytes] = {}
    for event, body in zip(stage.collector.events, stage.collector.bodies, strict=True):
        assert bodies.setdefault(event["id"], body) == body, f"id {event['id']} has two contents"
    return Counter(msgspec.json.decode(body)["type"].split(".")[-2] for body in bodies.values())


async def test_an_alert_takes_the_canary_off_and_the_events_are_complete_over_kill_9(
    tmp_path: Path, bed: Run
) -> None:
    async with beside(bed, tmp_path) as (stage, engine):
        await stage.set_image("canary-demo:v2")
        await stage.until_announced("started")
        # Of a message that nobody has noted, the next process cannot know.
        await until(lambda: _is_noted(stage), "the live message is noted", context=stage.agent)
        stage.agent.kill()
        await stage.agent.wait()
        await stage.until_weight(20)
        await stage.until_phase("Paused")
        await stage.start_agent()
        await stage.until_announced("weight", "step", "paused")
        alert = firing(DATA / "alertmanager-firing-0.34.json", rollout=f"{stage.namespace}/{NAME}")
        assert (await stage.alert(alert)).status_code == 202
        assert (await stage.status())["abort"] is True, "stored before it is answered"
        stage.agent.kill()
        await stage.agent.wait()
        await stage.until_weight(0)
        await stage.until_phase("Degraded")
        await stage.start_agent()
        await stage.until_announced("aborted", "rolledback")
        await until(lambda: _nothing_waits(stage), "nothing waits", context=stage.agent)
        told = contents(stage)
        assert told == {
            "completed": 1, "started": 1, "weight": 2, "step": 1, "paused": 1, "aborted": 1, "rolledback": 1,
        }  # fmt: skip
        (aborted,) = stage.collector.of_type("aborted")
        assert aborted["data"]["cause"]["evidence"]["labels"]["alertname"] == "CanaryBad"
        assert aborted["data"]["new"]["images"] == ["canary-demo:v2"]
        await until(lambda: _is_shown(stage), "one live message", context=stage.agent)
        assert '"rollout.taken_off"' not in stage.agent.output(), "the engine did that"
        assert "cache.kind_missing" not in stage.agent.output(), (
            "the role shows all that it looks at"
        )
        assert await stage.agent.terminate() == 0
        assert await engine.terminate() == 0


async def _nothing_waits(stage: StandInStage) -> bool:
    found = await stage.cluster.get(KINDS["ConfigMap"], stage.namespace, "serinus-marks")
    return '"waiting"' not in str(found["data"])


async def _is_noted(stage: StandInStage) -> bool:
    return bool(noted(await stage.rollout(), TELEGRAM_MESSAGE))


async def _is_shown(stage: StandInStage) -> bool:
    """The chat survives the deaths by the message id among the notes; an alarm that waited does not."""
    (live,) = [m for m in stage.telegram.messages if "Rollback" not in m.text]
    return "Degraded" in live.text


async def test_a_hold_pauses_until_its_alert_is_resolved(tmp_path: Path, bed: Run) -> None:
    async with beside(bed, tmp_path) as (stage, _engine):
        await stage.set_image("canary-demo:v2")
        await stage.until_announced("paused")
        captured = msgspec.json.decode((DATA / "alertmanager-firing-0.34.json").read_bytes())
        old = {"startsAt": "2020-01-01T00:00:00Z"}
        named = {"rollout": f"{stage.namespace}/{NAME}"}
        body = {**captured, "alerts": [{**a, **old, "labels": {**a["labels"], **named}} for a in captured["alerts"]]}  # fmt: skip
        assert (await stage.alert(body)).status_code == 202
        assert (await stage.rollout())["spec"]["paused"] is True
        await stage.until_announced("held")
        resolved = {**body, "alerts": [{**a, "status": "resolved"} for a in body["alerts"]]}
        assert (await stage.alert(resolved)).status_code == 202
        assert (await stage.rollout())["spec"]["paused"] is False
        await stage.until_announced("released")
        managers = {
            entry["manager"]
            for entry in (await stage.rollout())["metadata"]["managedFields"]
            if "f:paused" in (entry["fieldsV1"].get("f:spec") or {})
        }
        assert managers == {"serinus"}


async def test_the_shipped_role_allows_nothing_more(tmp_path: Path, bed: Run) -> None:
    async with (
        staged_on(bed.part("kubernetes")["kubeconfig"], tmp_path) as stage,
        with_role(bed, stage, COMPANION) as kubeconfig,
        connected(kubeconfig) as client,
    ):
        await stage.apply(*renamed(indefinite(), stage.namespace))
        await _forbidden(stage.namespace, client)
        rollout = (await client.list(KINDS["Rollout"], stage.namespace)).items[0]
        assert rollout["metadata"]["name"] == NAME


async def _forbidden(namespace: str, client: KubernetesCluster) -> None:
    """Everything that driving needs and accompanying does not, and what nobody needs."""
    note: dict[str, Any] = {"metadata": {"annotations": {"x": "y"}}}
    config = {"metadata": {"name": "other", "namespace": namespace}, "data": {}}
    tries: dict[str, Awaitable[object]] = {
        "a ReplicaSet": client.merge_patch(KINDS["ReplicaSet"], namespace, "any", note),
        "a route": client.merge_patch(KINDS["VirtualService"], namespace, NAME, note),
        "a subset": client.merge_patch(KINDS["DestinationRule"], namespace, NAME, note),
        "a Service": client.merge_patch(KINDS["Service"], namespace, NAME, note),
        "a verdict": client.merge_patch(KINDS["AnalysisRun"], namespace, "any", note),
        "a run": client.create(KINDS["AnalysisRun"], {"metadata": {"name": "a", "namespace": namespace}}),
        "a Deployment": client.merge_patch(KINDS["Deployment"], namespace, "any", note),
        "an Event": client.create(KINDS["Event"], {"metadata": {"name": "a", "namespace": namespace}}),
        "a new Rollout": client.create(KINDS["Rollout"], {"metadata": {"name": "a", "namespace": namespace}}),
        "a Rollout's end": client.delete(KINDS["Rollout"], namespace, NAME),
        "a Lease": client.create(KINDS["Lease"], {"metadata": {"name": "a", "namespace": namespace}}),
        "Secrets": client.list(KINDS["Secret"], namespace),
        "Pods": client.list(KINDS["Pod"], namespace),
        "all ConfigMaps": client.list(KINDS["ConfigMap"], namespace),
        "another ConfigMap": client.get(KINDS["ConfigMap"], namespace, "kube-root-ca.crt"),
        "another namespace": client.create(
            KINDS["ConfigMap"], {**config, "metadata": {"name": "other", "namespace": "default"}}
        ),
    }  # fmt: skip
    outcomes = await asyncio.gather(*tries.values(), return_exceptions=True)
    allowed = [
        f"{what}: {outcome!r}"
        for what, outcome in zip(tries, outcomes, strict=True)
        if not isinstance(outcome, Forbidden)
    ]
    assert allowed == []


# Two engines.


@asynccontextmanager
async def would_drive(bed: Run, directory: Path) -> AsyncIterator[StandInStage]:
    """An agent that is set to drive, and is soon satisfied that nobody else does."""
    async with staged_on(bed.part("kubernetes")["kubeconfig"], directory) as stage:
        path = configured(
            stage, "drive", telegram={"chat_id": ""}, ownership={"kind": "none"},
            engine={"argo_quiet_seconds": 5},
        )  # fmt: skip
        stage.agent = Process("drive", "-m", "agent", "--config", str(path), directory=directory)
        async with ending(stage):
            yield stage


async def note(stage: StandInStage) -> str:
    """What readiness says about the engine; "" when it drives."""
    async with loopback(timeout=2) as http:
        answer = await http.get(f"{stage.url}/readyz")
    assert answer.status_code == 200, "alerts must come in, whoever drives"
    notes: dict[str, str] = answer.json().get("notes") or {}
    return notes.get("engine", "")


async def hold_lease(stage: StandInStage) -> None:
    """Take the Lease as Argo's leader does."""
    spec = {"holderIdentity": "argo-0", "leaseDurationSeconds": 15}
    metadata = {"name": "argo-rollouts-controller-lock", "namespace": stage.namespace}
    await stage.cluster.create(KINDS["Lease"], {"metadata": metadata, "spec": spec})


async def renew(stage: StandInStage) -> None:
    """Hold the Lease as Argo's leader does, until cancelled."""
    place = (KINDS["Lease"], stage.namespace, "argo-rollouts-controller-lock")
    while True:
        now = format_time(datetime.now(UTC)).replace("Z", ".000000Z")
        await stage.cluster.merge_patch(*place, {"spec": {"renewTime": now}})
        await asyncio.sleep(1)


async def test_with_another_leader_nothing_is_driven_until_it_is_gone(
    tmp_path: Path, bed: Run
) -> None:
    async with would_drive(bed, tmp_path) as stage:
        await hold_lease(stage)
        leader = asyncio.create_task(renew(stage))
        await stage.start_agent()

        async def named() -> bool:
            return "argo-rollouts-controller-lock is held by argo-0" in await note(stage)

        await until(named, "readiness names it", context=stage.agent)
        await stage.apply(*renamed(indefinite(), stage.namespace))
        await until(lambda: _told_mode(stage, "companion"), "the event", context=stage.agent)

        async def marked() -> bool:
            listing = await stage.cluster.list(KINDS["ConfigMap"], stage.namespace)
            return any(NAME in str(item.get("data")) for item in listing.items)

        await until(marked, "it is looked at", context=stage.agent)
        assert not (await stage.rollout()).get("status"), "not one pass"
        leader.cancel()
        await asyncio.gather(leader, return_exceptions=True)
        await stage.until_promoted()
        await until(lambda: _told_mode(stage, "drive"), "the event", context=stage.agent)
        assert await note(stage) == ""
        assert await stage.agent.terminate() == 0


async def _told_mode(stage: StandInStage, mode: str) -> bool:
    told = [
        e["data"]["mode"] for e in stage.collector.events if e["type"].endswith("agent.mode.v1")
    ]
    return mode in told


async def test_a_status_that_somebody_else_writes_ends_the_driving(
    tmp_path: Path, bed: Run
) -> None:
    async with would_drive(bed, tmp_path) as stage:
        await stage.start_agent()
        await stage.apply(*renamed(indefinite(), stage.namespace))
        await stage.until_promoted()

        async def written(manager: str, status: dict[str, Any]) -> None:
            where = bed.part("kubernetes")
            command = [
                where["kubectl"], "--kubeconfig", where["kubeconfig"], "-n", stage.namespace, "patch", "rollout",
                NAME, "--type=merge", "--subresource=status", f"--field-manager={manager}",
                "-p", msgspec.json.encode({"status": status}).decode(),
            ]  # fmt: skip
            await asyncio.to_thread(
                subprocess.run, command, check=True, capture_output=True, timeout=30
            )

        await written("kubectl-argo-rollouts", {"promoteFull": True})
        await stage.until_promoted()
        assert await note(stage) == "", "a tool that writes an intent is no engine"
        await written("rollouts-controller", {"message": "mine", "phase": "Progressing"})

        async def named() -> bool:
            return "rollouts-controller writes the status of Rollout" in await note(stage)

        await until(named, "readiness names it", context=stage.agent)
        await stage.until_promoted()
        assert await note(stage) == "", "it drives again, once the other one was quiet"
