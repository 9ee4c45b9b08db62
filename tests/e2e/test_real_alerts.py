"""Which alert stops which rollout (docs/alerts.md), on the whole way: Alertmanager, its webhook, Kafka, API server.

One agent drives all of them; each case has a rollout of its own that stands at 20 % for as long as it takes.
"""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
import pytest
import pytest_asyncio

from agent.api.meta import Object
from agent.api.names import ABORT_ON, FREEZE, ON_ALERT
from agent.api.times import parse_time
from agent.bus.topics import DEAD_LETTER_SUFFIX, INBOX, URGENT
from agent.cluster.port import KINDS
from agent.events.recorded import FRESH_SECONDS
from tests.e2e.alerts import Alert, alert, fire, resolve
from tests.e2e.bed.run import Run
from tests.e2e.canary import Canary
from tests.e2e.manifests import indefinite, renamed
from tests.e2e.processes import until
from tests.e2e.real import fresh_namespace
from tests.e2e.real_stage import RealStage, shared_staged

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(150),
    pytest.mark.asyncio(loop_scope="module"),
]


class Case(msgspec.Struct, frozen=True):
    """An alert, and what becomes of the rollout it is about.

    Attributes:
        labels: `$` is the rollout's name, `@new` and `@stable` the hashes of its revisions.
        annotations: of the Rollout.
        ago: seconds since the alert began.
        reason: a part of why it is ignored.
    """

    fate: str
    labels: dict[str, str]
    annotations: dict[str, str] = {}
    ago: float = 0.0
    reason: str = ""


CRITICAL: Final = {"destination_service_name": "$", "severity": "critical"}
WARNING: Final = {"destination_service_name": "$", "severity": "warning"}
PINNED: Final = "rollouts_pod_template_hash"

CASES: Final = {
    "names the rollout": Case("aborted", {"rollout": "$", "severity": "warning"}),
    "is accepted by the rollout's matchers": Case(
        "aborted", {"team": "pay-eu"}, {ABORT_ON: 'team=~"pay.*", severity!="critical"'}),
    "names its Service": Case("aborted", CRITICAL),
    "names its Service, below critical": Case("held", WARNING),
    "fired before it took traffic": Case("held", {"rollout": "$"}, ago=600),
    "is pinned to the new version": Case("aborted", {"rollout": "$", PINNED: "@new"}),
    "is pinned to stable": Case(
        "untouched", {"rollout": "$", PINNED: "@stable"}, reason="pinned to the stable revision"),
    "is pinned to another version": Case(
        "untouched", {"rollout": "$", PINNED: "0000000000"}, reason="pinned to another revision"),
    "is to be ignored": Case(
        "untouched", {"rollout": "$"}, {ON_ALERT: "ignore"}, reason=f"annotation {ON_ALERT}"),
    "is to hold": Case("held", {"rollout": "$"}, {ON_ALERT: "hold"}),
    "is to abort": Case("aborted", WARNING, {ON_ALERT: "abort"}),
}  # fmt: skip
EXPOSED: Final = (
    "one-of-two",
    "other-of-two",
    "level",
    "again",
    *(f"case-{n}" for n in range(len(CASES))),
)
QUIET: Final = ("late", "frozen")
AT_ONCE: Final = 6


class Shop:
    """Many canaries, one agent, one Alertmanager."""

    def __init__(self, stage: RealStage, frozen: str) -> None:
        self.stage = stage
        self.frozen = frozen
        self.canaries = {name: stage.canary(name) for name in (*EXPOSED, *QUIET)}
        self.canaries["frozen"].namespace = frozen

    async def prepare(self) -> None:
        """All of them side by side, but not all at once."""
        room = asyncio.Semaphore(AT_ONCE)

        async def one(name: str) -> None:
            async with room:
                await self.deploy(name)
                if name in EXPOSED:
                    await self.expose(name)

        async with asyncio.TaskGroup() as group:
            for name in self.canaries:
                group.create_task(one(name), name=name)

    async def deploy(self, name: str) -> None:
        """Its first version."""
        canary = self.canaries[name]
        case = next((c for n, c in enumerate(CASES.values()) if name == f"case-{n}"), None)
        await canary.apply(*_small(canary, case.annotations if case else {}))
        await canary.until_promoted(deadline_seconds=90)

    async def expose(self, name: str) -> None:
        """Its second version takes traffic."""
        canary = self.canaries[name]
        await canary.set_image(f"{name}:v2")
        await canary.until_weight(20, deadline_seconds=90)
        await canary.until_phase("Paused", deadline_seconds=90)

    async def fire(self, name: str, labels: dict[str, str], *, ago: float = 0.0) -> Alert:
        """An alert that only these labels tell from others."""
        canary = self.canaries[name]
        status = await canary.status()
        places = {
            "$": name,
            "@new": status.get("currentPodHash", ""),
            "@stable": status.get("stableRS", ""),
        }
        filled = {key: places.get(value, value) for key, value in labels.items()}
        made = alert(ago, alertname=f"Alert-{name}", namespace=canary.namespace, **filled)
        await fire(self.stage.alertmanager, made)
        return made

    async def resolve(self, *alerts: Alert) -> None:
        await resolve(self.stage.alertmanager, *alerts)

    async def until_ignored(self, name: str, reason: str) -> None:
        """Wait until the agent says that it ignored an alert about this rollout, and why."""
        key = f"{self.canaries[name].namespace}/{name}"

        async def said() -> bool:
            return any(
                line["action"] == "ignore" and line["rollout"] == key and reason in line["reason"]
                for line in self.stage.said("alert.applied")
            )

        await until(said, f"ignored because it {reason}", context=self.stage.agent)

    async def until_consumed(self, status: str, labels: dict[str, str]) -> None:
        """Wait until the event of an alert is on Kafka, and all that is there was carried out."""
        kafka = self.stage.kafka

        async def done() -> bool:
            records = await kafka.records(kafka.name(URGENT))
            events = [msgspec.json.decode(record.value or b"") for record in records]
            return any(
                event["type"] == f"dev.serinus.alert.{status}.v1"
                and event["data"]["labels"] == labels
                for event in events
            ) and await kafka.committed(URGENT) == len(records)

        await until(done, f"the alert's {status} is consumed", context=self.stage.agent)


def _small(canary: Canary, annotations: dict[str, str]) -> list[Object]:
    """The page's objects with one pod, and a pause that waits for a person."""
    found = []
    for obj in renamed(indefinite(), canary.namespace, canary.name):
        if obj["kind"] == "Rollout":
            metadata = {**obj["metadata"], "annotations": annotations}
            found.append({**obj, "metadata": metadata, "spec": {**obj["spec"], "replicas": 1}})
        else:
            found.append(obj)
    return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(tmp_path_factory: pytest.TempPathFactory, bed: Run) -> AsyncIterator[Shop]:
    directory = tmp_path_factory.mktemp("alerts")
    async with (
        shared_staged(directory, bed) as stage,
        fresh_namespace(stage.cluster) as frozen,
        stage.alerting() as alertmanager,
    ):
        kubeconfig = stage.settings["cluster"]["kubeconfig"]
        stage.configure(
            cluster={"kubeconfig": kubeconfig, "namespaces": [stage.namespace, frozen]},
            alerts={"alertmanager": alertmanager},
            # What a rollout waits for is told at this level.
            log={"level": "debug"},
            telegram=None,
        )
        await stage.start_agent()
        shop = Shop(stage, frozen)
        await shop.prepare()
        yield shop


@pytest.mark.parametrize("number", range(len(CASES)), ids=list(CASES))
async def test_an_alert_that(number: int, shop: Shop) -> None:
    name, case = f"case-{number}", list(CASES.values())[number]
    canary = shop.canaries[name]
    await shop.fire(name, case.labels, ago=case.ago)
    if case.fate == "aborted":
        await canary.until_weight(0)
        assert (await canary.until_phase("Degraded"))["abort"] is True
        await canary.until_announced("aborted", "rolledback")
        return
    if case.fate == "held":
        await canary.until_held()
        await canary.until_announced("held")
    else:
        await shop.until_ignored(name, case.reason)
        assert not await canary.held()
    assert await canary.weight() == 20
    assert not (await canary.status()).get("abort")
    assert canary.told.of_type("aborted", name) == []


async def test_an_alert_that_could_mean_two_rollouts_holds_both_until_it_is_over(
    shop: Shop,
) -> None:
    canaries = [shop.canaries[name] for name in ("one-of-two", "other-of-two")]
    labels = {"service": "one-of-two", "destination_workload": "other-of-two"}
    fired = await shop.fire("one-of-two", {**labels, "severity": "critical"})
    for canary in canaries:
        await canary.until_held()
        await canary.until_announced("held")
        (held,) = canary.told.of_type("held", canary.name)
        assert "matches more than one rollout" in held["data"]["cause"]["evidence"]["reason"]
    await shop.resolve(fired)
    for canary in canaries:
        await canary.until_announced("released")
        assert not await canary.held()
        assert await canary.weight() == 20
        assert canary.told.of_type("aborted", canary.name) == []


async def test_a_resolved_alert_ends_a_hold_and_never_an_abort(shop: Shop) -> None:
    canary = shop.canaries["level"]
    warning = await shop.fire("level", WARNING)
    await canary.until_held()
    await shop.resolve(warning)
    await canary.until_announced("held", "released")
    assert await canary.weight() == 20
    critical = await shop.fire("level", CRITICAL)
    await canary.until_weight(0)
    await canary.until_phase("Degraded")
    await shop.resolve(critical)
    await shop.until_consumed("resolved", critical.labels)
    await canary.until_quiet()
    status = await canary.status()
    assert (status["abort"], status["phase"], await canary.weight()) == (True, "Degraded", 0)


async def test_an_alert_that_comes_off_kafka_again_after_its_end_does_nothing(shop: Shop) -> None:
    """As after the death of who had not committed it."""
    canary, kafka = shop.canaries["again"], shop.stage.kafka
    warning = await shop.fire("again", WARNING)
    await canary.until_held()
    await shop.until_consumed("firing", warning.labels)
    (record,) = [
        record
        for record in await kafka.records(kafka.name(URGENT))
        if b"Alert-again" in (record.value or b"")
    ]
    await shop.resolve(warning)
    await canary.until_announced("held", "released")
    told_at = parse_time(msgspec.json.decode(record.value or b"")["recordedtime"])
    late = told_at + timedelta(seconds=FRESH_SECONDS)

    async def is_old() -> bool:
        return datetime.now(UTC) > late

    await until(is_old, "it is an old word")
    async with kafka.foreign_producer() as producer:
        await producer.send_and_wait(
            kafka.name(URGENT), record.value, key=record.key, headers=list(record.headers)
        )

    async def is_known_as_over() -> bool:
        return bool(shop.stage.said("alert.over"))

    await until(is_known_as_over, "it is known as over", context=shop.stage.agent)
    assert not await canary.held()
    assert len(canary.told.of_type("held", "again")) == 1


async def test_an_alert_that_is_older_than_the_rollout_holds_it_before_any_traffic(
    shop: Shop,
) -> None:
    canary = shop.canaries["late"]
    fired = await shop.fire("late", {"rollout": "$"})
    await shop.until_ignored("late", "no rollout is in progress")
    await canary.set_image("late:v2")
    await canary.until_held()
    assert await canary.weight() == 0
    await shop.resolve(fired)
    await canary.until_weight(20)
    # The first weight that was told came after the hold.
    await canary.until_announced("held", "released", "weight")
    order = [
        event["type"].split(".")[-2] for event in canary.told.events
        if event["data"].get("name") == "late"
    ]  # fmt: skip
    assert order.index("held") < order.index("released") < order.index("weight")


async def test_a_freeze_stops_every_raise_and_no_rollback(shop: Shop) -> None:
    canary, frozen = shop.canaries["frozen"], shop.frozen

    async def freeze(value: str | None) -> None:
        patch: dict[str, Any] = {"metadata": {"annotations": {FREEZE: value}}}
        await canary.cluster.merge_patch(KINDS["Namespace"], "", frozen, patch)

    async def waits_for_the_freeze() -> bool:
        # Its pods are there, so nothing else is in the way.
        status = await canary.status()
        new = status.get("currentPodHash") != status.get("stableRS") and status.get(
            "updatedReplicas"
        )
        said = [
            line["why"]
            for line in shop.stage.said("pass.done")
            if line.get("rollout") == f"{frozen}/frozen"
        ]
        return bool(new) and bool(said) and said[-1].startswith("frozen")

    await freeze("true")
    await canary.set_image("frozen:v2")
    await until(waits_for_the_freeze, "it waits for the freeze", context=shop.stage.agent)
    assert await canary.weight() == 0
    await freeze(None)
    await canary.until_weight(20)
    await canary.until_phase("Paused")
    await freeze("true")
    await shop.fire("frozen", CRITICAL)
    await canary.until_weight(0)
    await canary.until_phase("Degraded")
    await canary.until_announced("aborted", "rolledback")


async def test_all_of_it_was_consumed_and_nothing_was_a_dead_letter(shop: Shop) -> None:
    kafka = shop.stage.kafka

    async def done() -> bool:
        return await kafka.committed(URGENT) == len(await kafka.records(kafka.name(URGENT)))

    await until(done, "every alert is committed", context=shop.stage.agent)
    for topic in (INBOX, URGENT):
        assert await kafka.records(f"{kafka.name(topic)}{DEAD_LETTER_SUFFIX}") == []
    for name in shop.canaries:
        shop.stage.told.told_once(name)
