"""The page's story on the real parts: traffic through Envoy, Prometheus' rule on Envoy's counters, Alertmanager's
webhook, Kafka, the API server. The page's steps, query and routes as they stand."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
import pytest_asyncio

from agent.api.times import parse_time
from agent.bus.topics import URGENT
from agent.clock import SystemClock
from agent.demo import manifests
from agent.demo.load import Load
from agent.demo.manifests import Setup
from agent.demo.mesh import Mesh, Names, mesh_running
from agent.demo.prometheus import ALERT, prometheus_running
from agent.demo.translate import Endpoint
from agent.demo.upstream import Upstream
from tests.e2e.announcements import promoted
from tests.e2e.bed.run import Run
from tests.e2e.bed.tools import include
from tests.e2e.canary import NAME
from tests.e2e.figures import Figure
from tests.e2e.processes import until
from tests.e2e.real_stage import RealStage, shared_staged

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(180),
    pytest.mark.asyncio(loop_scope="module"),
]
SPEED: Final = 60.0
"""What the page's pauses and intervals are divided by where a good version goes out."""
BAD_SHARE: Final = 0.9
RATE: Final = 200.0
PROXY_SECONDS: Final = 10.0


class Story:
    """The stage with data plane and users."""

    def __init__(
        self, stage: RealStage, mesh: Mesh, load: Load, steps: list[dict[str, Any]]
    ) -> None:
        self.stage = stage
        self.mesh = mesh
        self.load = load
        self.steps = steps

    async def until_weight(self, weight: int) -> datetime:
        """Wait until it is in force in Envoy; since when."""
        return (await self.mesh.until_weight(weight, within_seconds=PROXY_SECONDS)).at

    async def until_served(self, calls: int) -> None:
        """Wait until users made so many more calls."""
        await self.load.until_total(self.load.tally().total + calls, within_seconds=PROXY_SECONDS)


@asynccontextmanager
async def told(directory: Path, bed: Run) -> AsyncIterator[Story]:
    """The first version serves everybody."""
    for part in ("prometheus", "alertmanager"):
        include(part)
    async with AsyncExitStack() as stack:
        stage = await stack.enter_async_context(shared_staged(directory, bed))
        versions = [Upstream("v1"), Upstream("v2"), Upstream("v3", failing=BAD_SHARE)]
        for upstream in versions:
            await stack.enter_async_context(upstream.running())
        made = manifests.complete(Setup(name=NAME, namespace=stage.namespace))
        await stage.apply(made.service, made.destination_rule, made.virtual_service)
        application = {
            f"{NAME}:{each.version}": Endpoint(each.host, each.port, each.version)
            for each in versions
        }
        mesh, envoy = await stack.enter_async_context(
            mesh_running(
                stage.cluster, SystemClock(), Names(stage.namespace, NAME, NAME), application
            )
        )
        alertmanager = await stack.enter_async_context(stage.alerting())
        stage.configure(alerts={"alertmanager": alertmanager})
        await stage.start_agent()
        prometheus = await stack.enter_async_context(
            prometheus_running(
                admin_url=envoy.admin_url,
                rollout=f"{stage.namespace}/{NAME}",
                alertmanager_url=alertmanager,
            )
        )
        setup = Setup(name=NAME, namespace=stage.namespace, prometheus=prometheus.url)
        template, _ = manifests.hasten(manifests.complete(setup).analysis_template, SPEED)
        rollout, _ = manifests.hasten(made.rollout, SPEED)
        await stage.apply(template, rollout)
        await stage.until_promoted()
        await stage.until_announced("completed")
        load = Load(envoy.host, envoy.port, authority=NAME, rate=RATE)
        story = Story(stage, mesh, load, made.rollout["spec"]["strategy"]["canary"]["steps"])
        await story.until_weight(0)
        async with load.generating():
            await story.until_served(50)
            yield story


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def story(tmp_path_factory: pytest.TempPathFactory, bed: Run) -> AsyncIterator[Story]:
    async with told(tmp_path_factory.mktemp("story"), bed) as story:
        yield story


async def test_a_good_version_goes_out_and_no_request_fails(story: Story, figure: Figure) -> None:
    stage, before, calls = story.stage, len(story.mesh.history), story.load.tally()
    known = stage.told.told_once()
    await stage.set_image(f"{NAME}:v2")
    await stage.until_announced("promoted", deadline_seconds=90)
    await stage.until_promoted()
    await story.until_weight(0)
    await stage.until_quiet()
    await story.until_served(50)
    in_force = list(dict.fromkeys(entry.weight for entry in story.mesh.history[before:]))
    assert [weight for weight in in_force if weight] == [10, 30, 50, 100]
    tally = story.load.tally().since(calls)
    assert tally.failed_by_switch == 0, tally
    assert min(tally.of_version("v1")[0], tally.of_version("v2")[0]) > 50, tally
    assert stage.told.told_once() - known == promoted(story.steps)
    figure(f"{tally.total} requests, {tally.failed_by_switch} failed by the switch")


async def test_a_bad_version_is_taken_off_by_the_rule_on_its_answers(
    story: Story, figure: Figure
) -> None:
    stage, calls = story.stage, story.load.tally()
    container = (await stage.rollout())["spec"]["template"]["spec"]["containers"][0]
    # The page's own pauses: it is the alert that is fast, not the analysis after them.
    await stage.patch(
        {
            "spec": {
                "template": {"spec": {"containers": [{**container, "image": f"{NAME}:v3"}]}},
                "strategy": {"canary": {"steps": story.steps}},
            }
        }
    )
    await story.until_weight(10)
    await stage.until_phase("Degraded")
    taken_off = await story.until_weight(0)
    assert await stage.weight() == 0
    await stage.until_announced("aborted", "rolledback")
    await stage.until_quiet()
    (aborted,) = stage.told.of_type("aborted")
    (rolled_back,) = stage.told.of_type("rolledback")
    assert rolled_back["data"]["weights"] == {"before": 10}
    for event in (aborted, rolled_back):
        await _shows_its_evidence(stage, event)
    _hops_are_in_order(rolled_back["data"]["timings"], taken_off, figure)
    await _is_told_to_the_chat(stage)
    await story.until_served(50)
    tally = story.load.tally().since(calls)
    assert tally.failed_by_switch == 0, tally
    answered, failed = tally.of_version("v3")
    figure(f"{failed} of {tally.total} calls were answered by 5xx before v3 was off")
    assert 0 < failed <= answered


async def _shows_its_evidence(stage: RealStage, event: dict[str, Any]) -> None:
    cause = event["data"]["cause"]
    labels = cause["evidence"]["labels"]
    assert (cause["kind"], labels["alertname"]) == ("alert", ALERT)
    assert labels["rollout"] == f"{stage.namespace}/{NAME}"
    assert "of the canary's answers are 5xx (v3)" in cause["evidence"]["annotations"]["summary"]
    assert event["data"]["new"]["images"] == [f"{NAME}:v3"]
    # The alert itself went over Kafka, under the id that the rollback names as its cause.
    records = await stage.kafka.records(stage.kafka.name(URGENT))
    sent = {msgspec.json.decode(record.value or b"{}")["id"] for record in records}
    assert event["causationid"] in sent


def _hops_are_in_order(timings: dict[str, str], taken_off: datetime, figure: Figure) -> None:
    names = ("causeStartedAt", "receivedAt", "decidedAt", "routeWrittenAt")
    hops = [parse_time(timings[name]) for name in names]
    # Envoy has the weight a moment after the API server had it, and may before the agent was answered.
    assert hops == sorted(hops)
    assert taken_off > hops[2]
    started = hops[0]
    figure(
        "after the alert's startsAt: "
        + ", ".join(
            f"{what} {(at - started).total_seconds() * 1000:.0f} ms"
            for what, at in zip(
                ("received", "decided", "route written", "weight 0 in Envoy"),
                (*hops[1:], taken_off),
                strict=True,
            )
        )
    )


async def _is_told_to_the_chat(stage: RealStage) -> None:
    async def told() -> bool:
        alarms = [message for message in stage.telegram.messages if "Rollback" in message.text]
        return len(alarms) == 1 and ALERT in alarms[0].text

    await until(told, "one alarm in the chat", context=stage.agent)
