"""Alert to weight 0, hop by hop; and a storm of them."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from aiokafka import AIOKafkaConsumer

from agent.api.times import format_time_ms, parse_time
from agent.cluster.port import KINDS
from tests.bench import raw
from tests.bench.numbers import Report, percentile
from tests.bench.stage import NAMESPACE, Stage
from tests.e2e.loopback import loopback
from tests.e2e.processes import until

PACE_SECONDS: Final = 0.25
LABEL: Final = "rollout"


def alert(name: str) -> dict[str, Any]:
    """An alert that names its rollout, as Prometheus sends it."""
    return {
        "labels": {"alertname": "CanaryBad", "severity": "critical", LABEL: f"{NAMESPACE}/{name}"},
        "annotations": {"summary": "too many errors"},
        "startsAt": format_time_ms(datetime.now(UTC)),
    }


def firing(names: Iterable[str]) -> list[dict[str, Any]]:
    """Alerts as Alertmanager tells of them."""
    return [
        {
            **alert(name),
            "status": "firing",
            "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "",
            "fingerprint": f"{abs(hash(name)):016x}"[-16:],
        }
        for name in names
    ]


async def post(stage: Stage, *alerts: dict[str, Any]) -> None:
    """Post them in one webhook, as Alertmanager does."""
    body = {
        "version": "4",
        "groupKey": "{}",
        "status": alerts[0]["status"],
        "receiver": "serinus",
        "groupLabels": {},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "",
        "truncatedAlerts": 0,
        "alerts": alerts,
    }
    headers = {"Content-Type": "application/json"}
    answer = await stage.http.post(
        "/webhooks/alertmanager", content=msgspec.json.encode(body), headers=headers
    )
    answer.raise_for_status()


class Kafka:
    """When the urgent topic gave this client the alert of each rollout."""

    def __init__(self) -> None:
        self.at: dict[str, float] = {}

    async def follow(self, consumer: AIOKafkaConsumer) -> None:
        """Until cancelled."""
        async for record in consumer:
            data = msgspec.json.decode(record.value or b"{}").get("data") or {}
            name = str((data.get("labels") or {}).get(LABEL, "")).rpartition("/")[2]
            self.at.setdefault(name, time.time())


@asynccontextmanager
async def listening(address: str) -> AsyncIterator[Kafka]:
    """To the urgent topic; to nothing without a broker."""
    kafka = Kafka()
    if not address:
        yield kafka
        return
    consumer = AIOKafkaConsumer("serinus.urgent", bootstrap_servers=address)
    await consumer.start()
    task = asyncio.create_task(kafka.follow(consumer))
    try:
        yield kafka
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await consumer.stop()


async def one_by_one(stage: Stage, names: list[str], title: str, *, through: str = "") -> Report:
    """Each alert alone, posted at the door or (`through`) at a real Alertmanager."""
    report = Report(title)
    hop = await raw.kafka_ms(stage.servers.kafka, len(names)) if stage.servers.kafka else []
    patches = await raw.two_patches_ms(stage.cluster, len(names))
    floor = percentile(hop, 50) if hop else 0.0
    floor += percentile(patches, 50)
    sent: dict[str, float] = {}
    async with listening(stage.servers.kafka) as kafka, loopback() as http:
        for name in names:
            sent[name] = time.time()
            if through:
                answer = await http.post(
                    f"{through}/api/v2/alerts", content=msgspec.json.encode([alert(name)]),
                    headers={"Content-Type": "application/json"},
                )  # fmt: skip
                answer.raise_for_status()
            else:
                await post(stage, *firing([name]))
            await stage.until(lambda name=name: name in stage.seen.down, f"{name} is down")  # type: ignore[misc]  # bound now
            await asyncio.sleep(PACE_SECONDS)
        await stage.until(lambda: len(_timings(stage, names)) == len(names), "all is told")
        told = _timings(stage, names)

        def since(start: dict[str, float], end: dict[str, float]) -> list[float]:
            return [1000 * (end[name] - start[name]) for name in names if name in end]

        received = {name: told[name]["receivedAt"] for name in names}
        written = {name: told[name]["routeWrittenAt"] for name in names}
        if hop:
            report.add("raw: Kafka produce → consume", "ms", *hop)
        report.add("raw: two PATCHes", "ms", *patches)
        report.add("sent → received by the sink", "ms", *since(sent, received))
        if kafka.at:
            report.add("received → on Kafka, read by another", "ms", *since(received, kafka.at))
        report.add("received → intent seen by a watch", "ms", *since(received, stage.seen.aborted))
        report.add("received → route written", "ms", *since(received, written), baseline=floor)
        report.add("received → weight 0 seen by a watch", "ms", *since(received, stage.seen.down), baseline=floor)  # fmt: skip
        report.add("sent → weight 0 seen by a watch", "ms", *since(sent, stage.seen.down), baseline=floor)  # fmt: skip
    return report


async def by_command_line(stage: Stage, names: list[str], title: str) -> Report:
    """What `kubectl argo rollouts abort` writes, one after the other: seen by the watch, driven by the lane."""
    report = Report(title)
    patches = await raw.two_patches_ms(stage.cluster, len(names))
    sent: dict[str, float] = {}
    for name in names:
        sent[name] = time.time()
        await stage.cluster.merge_patch(
            KINDS["Rollout"], NAMESPACE, name, {"status": {"abort": True}}, status=True
        )
        await stage.until(lambda name=name: name in stage.seen.down, f"{name} is down")  # type: ignore[misc]  # bound now
        await asyncio.sleep(PACE_SECONDS)
    took = [1000 * (stage.seen.down[name] - sent[name]) for name in names]
    report.add("raw: two PATCHes", "ms", *patches)
    report.add("abort patched → weight 0 seen by a watch", "ms", *took, baseline=percentile(patches, 50))  # fmt: skip
    return report


async def storm(stage: Stage, names: list[str], title: str, *, how: str) -> Report:
    """All at once: one webhook with all alerts, a webhook each, or the command line's patch of each."""
    report = Report(title)
    patches = await raw.two_patches_ms(stage.cluster, 20)
    began = time.time()
    alerts = firing(names)
    calls: list[Awaitable[object]] = []
    if how == "one webhook":
        calls = [post(stage, *alerts)]
    elif how == "webhooks":
        calls = [post(stage, each) for each in alerts]
    else:
        for name in names:
            patch = {"status": {"abort": True}}
            calls.append(
                stage.cluster.merge_patch(KINDS["Rollout"], NAMESPACE, name, patch, status=True)
            )
    await asyncio.gather(*calls)
    answered = time.time()
    await stage.until(lambda: all(name in stage.seen.down for name in names), "all are down")
    took = [stage.seen.down[name] - began for name in names]
    if how != "patches":
        await _resolve(stage, alerts)
    alone = percentile(patches, 50) / 1000
    report.add("raw: two PATCHes", "ms", *patches)
    report.add("sent → all answered", "s", answered - began)
    report.add("sent → weight 0 seen by a watch, each", "s", *took)
    report.add("sent → the last weight 0", "s", max(took), baseline=alone * len(names))
    report.notes.append("ratio: to two PATCHes of each, one after the other")
    return report


async def _resolve(stage: Stage, alerts: list[dict[str, Any]]) -> None:
    """End the alerts: one that fires would hold the next version of its rollout."""
    await post(stage, *({**each, "status": "resolved"} for each in alerts))

    async def none_fires() -> bool:
        noted = await stage.cluster.get(KINDS["ConfigMap"], NAMESPACE, "serinus-alerts")
        return "CanaryBad" not in str(noted["data"])

    await until(none_fires, "no alert fires", deadline_seconds=60, context=stage.agent)


def _timings(stage: Stage, names: list[str]) -> dict[str, dict[str, float]]:
    """What the announced rollbacks say of themselves, as seconds of time.time()."""
    found: dict[str, dict[str, float]] = {}
    for event in stage.collector.of_type("rolledback"):
        name = event["data"]["name"]
        if name in names:
            timings = event["data"]["timings"]
            found[name] = {
                field: parse_time(text).timestamp()
                for field, text in timings.items()
                if field.endswith("At") and text
            }
    return found
