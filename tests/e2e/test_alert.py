"""The shipped processes: the page's canary, and what takes a bad version off."""

from pathlib import Path

import msgspec
import pytest

from agent.cluster.port import KINDS
from tests.e2e.manifests import NAME, annotated, page
from tests.e2e.processes import until
from tests.e2e.stage import BOT_TOKEN, NAMESPACE, TOKEN, StandInStage, firing, staged

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(150)]
DATA = Path(__file__).parent / "data"


async def _exposed(
    stage: StandInStage, *, image: str = "canary-demo:v2", **annotations: str
) -> None:
    """v1 is deployed, the new version is at its first weight."""
    await stage.start_agent()
    await stage.apply(*annotated(page(stage.prometheus.url, speed=20), **annotations))
    await stage.until_promoted()
    await stage.set_image(image)
    await stage.until_weight(10)
    await stage.until_announced("started", "weight", "paused")


@pytest.mark.parametrize("version", ["0.25", "0.34"])
async def test_a_captured_alertmanager_webhook_takes_the_canary_off(
    tmp_path: Path, version: str
) -> None:
    async with staged(tmp_path) as stage:
        await _exposed(stage, **{"abort-on": 'app="checkout"'})
        answer = await stage.alert(firing(DATA / f"alertmanager-firing-{version}.json"))
        assert answer.status_code == 202
        await stage.until_weight(0, deadline_seconds=5)
        status = await stage.until_phase("Degraded")
        assert status["abort"] is True
        assert "CanaryBad" in status["message"]
        assert status["message"].startswith(
            "RolloutAborted: Rollout aborted update to revision 2: alert CanaryBad"
        )
        await stage.until_announced("aborted", "rolledback")
        (aborted,) = stage.collector.of_type("aborted")
        (rolled_back,) = stage.collector.of_type("rolledback")
        for event in (aborted, rolled_back):
            data = event["data"]
            assert data["cause"]["kind"] == "alert"
            assert data["cause"]["evidence"]["labels"]["alertname"] == "CanaryBad"
            assert (data["new"]["images"], data["old"]["images"]) == (
                ["canary-demo:v2"],
                ["canary-demo:v1"],
            )
            assert event["correlationid"] == aborted["correlationid"]
        timings = rolled_back["data"]["timings"]
        order = [timings[name] for name in ("receivedAt", "decidedAt", "routeWrittenAt")]
        assert order == sorted(order)
        assert rolled_back["data"]["weights"] == {"before": 10}
        await _one_live_message_and_one_alarm(stage)
        await _nothing_secret_is_told(stage)
        assert await stage.agent.terminate() == 0


async def _one_live_message_and_one_alarm(stage: StandInStage) -> None:
    async def settled() -> bool:
        alarms = [m for m in stage.telegram.messages if "Rollback" in m.text]
        live = [m for m in stage.telegram.messages if "Rollback" not in m.text]
        return (
            len(alarms) == 1 and len(live) == 1 and live[0].edits > 0 and "Degraded" in live[0].text
        )

    await until(
        settled,
        f"one live message and one alarm in\n{stage.telegram.transcript()}",
        context=stage.agent,
    )
    (alarm,) = [m for m in stage.telegram.messages if "Rollback" in m.text]
    assert "CanaryBad" in alarm.text


async def _nothing_secret_is_told(stage: StandInStage) -> None:
    said = stage.agent.output() + "".join(body.decode() for body in stage.collector.bodies)
    for secret in (TOKEN, BOT_TOKEN):
        assert secret not in said


async def test_a_prometheus_that_turns_bad_takes_the_canary_off_without_an_alert(
    tmp_path: Path,
) -> None:
    async with staged(tmp_path) as stage:
        stage.prometheus.value = 0.99
        await stage.start_agent()
        await stage.apply(*page(stage.prometheus.url, speed=60))
        await stage.until_promoted()
        assert not stage.prometheus.queries, "nothing is measured on the first deploy"
        stage.prometheus.value = 0.31
        await stage.set_image("canary-demo:v2")
        status = await stage.until_phase("Degraded")
        assert (
            'Metric "success-rate" assessed Failed due to failed (1) > failureLimit (0)'
            in status["message"]
        )
        await stage.until_weight(0)
        await stage.until_announced("aborted", "rolledback", "analysis")
        (aborted,) = stage.collector.of_type("aborted")
        evidence = aborted["data"]["cause"]["evidence"]["metrics"]["success-rate"]
        assert evidence["values"] == ["[0.31]"]
        assert NAME in stage.prometheus.queries[-1], "the argument stands in the query"


async def test_no_data_is_not_healthy(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        stage.prometheus.value = None
        await stage.start_agent()
        await stage.apply(*page(stage.prometheus.url, speed=60))
        await stage.until_promoted()
        await stage.set_image("canary-demo:v2")

        async def measured() -> bool:
            runs = (await stage.cluster.list(KINDS["AnalysisRun"], NAMESPACE)).items
            results = [
                r for run in runs for r in (run.get("status") or {}).get("metricResults") or ()
            ]
            return any(result.get("error", 0) > 0 for result in results)

        await until(measured, "an Error is recorded", context=stage.agent)
        assert await stage.weight() == 10
        assert (await stage.status())["stableRS"] != (await stage.status())["currentPodHash"]


async def test_a_good_version_goes_to_all(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        await stage.start_agent()
        await stage.apply(*page(stage.prometheus.url, speed=60))
        await stage.until_promoted()
        await stage.set_image("canary-demo:v2")
        await stage.until_announced("promoted", deadline_seconds=60)
        await stage.until_promoted()
        await stage.until_quiet()
        weights = [e["data"]["weights"].get("after", 0) for e in stage.collector.of_type("weight")]
        assert weights == [10, 30, 50, 100, 0]
        assert stage.collector.of_type("aborted") == []


async def test_bad_requests_get_their_reason_and_harm_nothing(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        await _exposed(stage, **{"abort-on": 'app="checkout"'})
        alert = msgspec.json.encode(firing(DATA / "alertmanager-firing-0.34.json"))
        door = "/webhooks/alertmanager"
        cases = [
            (await stage.post(door, b"<html>"), 400, "not an Alertmanager webhook"),
            (await stage.post(door, b'{"alerts": [{"status": "firing"}]}'), 400, "labels"),
            (await stage.post(door, alert + b" " * (2 * 1024 * 1024)), 413, "longer than"),
            (await stage.post(door, alert, token="wrong"), 401, "token"),
            (
                await stage.post("/", b"{}", **{"Content-Type": "application/cloudevents+json"}),
                400,
                "id",
            ),
        ]
        for answer, code, words in cases:
            assert (answer.status_code, words in answer.text) == (code, True), answer.text
        assert await stage.weight() == 10
        assert not (await stage.status()).get("abort")
        await stage.alert(firing(DATA / "alertmanager-firing-0.34.json"))
        await stage.until_weight(0, deadline_seconds=5)


async def test_the_same_alert_twice_is_one_abort_and_resolved_does_not_undo_it(
    tmp_path: Path,
) -> None:
    async with staged(tmp_path) as stage:
        await _exposed(stage, **{"abort-on": 'app="checkout"'})
        alert = firing(DATA / "alertmanager-firing-0.34.json")
        assert (await stage.alert(alert)).status_code == 202
        assert (await stage.alert(alert)).status_code == 202
        await stage.until_weight(0, deadline_seconds=5)
        await stage.until_announced("aborted", "rolledback")
        resolved = {
            **alert,
            "status": "resolved",
            "alerts": [{**a, "status": "resolved"} for a in alert["alerts"]],
        }
        assert (await stage.alert(resolved)).status_code == 202
        await stage.until_quiet()
        assert len(stage.collector.of_type("aborted")) == 1
        status = await stage.status()
        assert (status["abort"], status["phase"], await stage.weight()) == (True, "Degraded", 0)


async def test_an_alert_of_another_revision_is_ignored(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        await _exposed(stage)
        alert = firing(
            DATA / "alertmanager-firing-0.34.json",
            rollout=f"{NAMESPACE}/{NAME}",
            rollouts_pod_template_hash="somethingold",
        )
        assert (await stage.alert(alert)).status_code == 202
        assert not (await stage.status()).get("abort")
        assert await stage.weight() == 10


async def test_an_alert_from_before_exposure_holds_until_it_is_resolved(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        await _exposed(stage, **{"abort-on": 'app="checkout"'})
        captured = msgspec.json.decode((DATA / "alertmanager-firing-0.34.json").read_bytes())
        assert (await stage.alert(captured)).status_code == 202  # it began long ago

        async def held() -> bool:
            reasons = [
                item["reason"] for item in (await stage.status()).get("pauseConditions") or ()
            ]
            return "AlertHold" in reasons

        await until(held, "the alert holds", context=stage.agent)
        await stage.until_announced("held")
        resolved = {**captured, "alerts": [{**a, "status": "resolved"} for a in captured["alerts"]]}
        assert (await stage.alert(resolved)).status_code == 202
        await stage.until_announced("released")
        assert await stage.weight() == 10
